"""The token bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swim.protocol.base.limits import TokenBucket


def test_a_burst_is_allowed_at_once_and_no_more() -> None:
    bucket = TokenBucket(rate=1.0, burst=3)
    assert [bucket.take(0.0) for _ in range(5)] == [True, True, True, False, False]


def test_tokens_come_back_with_time_up_to_the_burst() -> None:
    bucket = TokenBucket(rate=2.0, burst=2)
    assert bucket.take(0.0)
    assert bucket.take(0.0)
    assert not bucket.take(0.4)
    assert bucket.take(0.5)
    assert [bucket.take(1_000.0) for _ in range(3)] == [True, True, False]


def test_wait_says_when_there_is_a_token_again() -> None:
    bucket = TokenBucket(rate=4.0, burst=1)
    assert bucket.wait(0.0) == 0.0
    bucket.take(0.0)
    assert bucket.wait(0.0) == pytest.approx(0.25)
    assert bucket.wait(0.2) == pytest.approx(0.05)
    assert bucket.take(0.25)


@given(
    st.floats(0.1, 100), st.integers(1, 20), st.lists(st.floats(0, 5, allow_subnormal=False), max_size=100)
)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate, burst), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
    assert taken <= burst + now * rate + 1e-6


@given(st.sampled_from([0.5, 1.0, 4.0, 5.0]), st.floats(0, 1e6), st.lists(st.floats(0, 0.5), max_size=20))
def test_a_caller_that_waits_as_told_gets_a_token(rate: float, now: float, pauses: list[float]) -> None:
    """Else a timer set for then would find none, be set for the same instant again, and so for ever."""
    bucket = TokenBucket(rate, 2)
    for pause in pauses:
        now += pause
        if not bucket.take(now):
            then = now + bucket.wait(now)
            assert bucket.take(then)
            now = then
