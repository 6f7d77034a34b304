"""A few schedules in every run of the tests; many: `python -m tests.leases`."""

from __future__ import annotations

import pytest

from swim.protocol.leases.grantor import Grantor
from swim.protocol.leases.holder import Holder
from tests.leases.__main__ import main
from tests.leases.model import Finding, play
from tests.leases.whole import play_whole


@pytest.mark.parametrize("seed", range(6))
def test_no_two_holders_by_decree(seed: int) -> None:
    assert play(seed).grants > 10


@pytest.mark.parametrize("seed", range(3))
def test_no_two_holders_of_whole_nodes(seed: int) -> None:
    assert play_whole(seed, seconds=20.0).grants > 5


def test_the_same_seed_is_the_same_schedule() -> None:
    first, second = play(3), play(3)
    assert (first.grants, first.highest) == (second.grants, second.highest)


# --- planted faults are found


def play_some(count: int) -> None:
    for seed in range(count):
        play(seed)


def _no_pause(grantor: Grantor, term: bytes, now: float) -> None:
    grantor.end()
    grantor.term = term


def _one_token(grantor: Grantor, name: str, now: float) -> None:
    grantor._counter = 0
    _pump(grantor, name, now)


_pump = Grantor._pump


@pytest.mark.parametrize(
    ("part", "method", "wrong"),
    [(Grantor, "begin", _no_pause), (Grantor, "_pump", _one_token)],
    ids=["no pause at the start of a term", "the same token twice"],
)
def test_a_planted_fault_is_found(
    monkeypatch: pytest.MonkeyPatch, part: type, method: str, wrong: object
) -> None:
    monkeypatch.setattr(part, method, wrong)
    with pytest.raises(Finding):
        play_some(10)


def test_a_lease_that_is_counted_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    count = Holder._count
    monkeypatch.setattr(Holder, "_count", lambda self, state, sent, now: count(self, state, now + 1.0, now))
    with pytest.raises(Finding, match="is held by"):
        play_some(10)


_GRANTED_TOO_LATE = 500_611
"""A schedule whose leader is granted no round for ten seconds, while the network doubles packets."""


def test_grants_that_come_too_late_are_not_asked_for_again_at_once() -> None:
    assert play(_GRANTED_TOO_LATE).messages < 5_000


def test_an_exchange_that_feeds_itself_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Holder, "_tell_later", lambda self, state, now: self._tell(state.id, now))
    with pytest.raises(Finding, match="20001 messages"):
        play(_GRANTED_TOO_LATE)


def test_a_finding_is_told_with_what_replays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Grantor, "begin", _no_pause)
    assert main(["--seeds", "0:2"]) == 1
    assert "replay: python -m tests.leases --seeds 0" in capsys.readouterr().out
