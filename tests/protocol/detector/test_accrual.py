"""phi: monotone, and at the threshold when the tolerance is used up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swim.protocol.base.loss import LossEstimate
from swim.protocol.detector.accrual import PHI_DEAD, PHI_SUSPECT, RoundTrip, phi

silences = st.floats(0, 1_000)
tolerances = st.floats(0.1, 60)
losses = st.lists(st.floats(0.005, 0.9), max_size=80)

MANY = [0.005] * 20


def test_no_silence_is_no_ground() -> None:
    assert phi(0.0, 3.0, []) == 0.0
    assert phi(0.0, 3.0, MANY) == pytest.approx(0.0)


def test_silence_without_an_overdue_probe_is_no_ground() -> None:
    assert phi(1_000.0, 3.0, []) == pytest.approx(0.0, abs=1e-6)


@given(tolerances)
def test_dead_is_reached_when_the_tolerance_is_used_up(tolerance: float) -> None:
    assert phi(tolerance, tolerance, MANY) == pytest.approx(PHI_DEAD, abs=0.001)
    assert phi(tolerance * 1.01, tolerance, MANY) > PHI_DEAD
    assert phi(tolerance * 0.9, tolerance, MANY) < PHI_DEAD


@given(tolerances)
def test_suspicion_comes_well_before_death(tolerance: float) -> None:
    suspected = next(
        t / 1000 for t in range(200_000) if phi(tolerance * t / 1000, tolerance, MANY) >= PHI_SUSPECT
    )
    assert suspected < 0.6


@given(silences, silences, tolerances, losses)
def test_more_silence_never_lowers_it(one: float, two: float, tolerance: float, lost: list[float]) -> None:
    shorter, longer = sorted((one, two))
    assert phi(shorter, tolerance, lost) <= phi(longer, tolerance, lost) + 1e-9


@given(silences, tolerances, losses, st.floats(0.005, 0.9))
def test_one_more_lost_probe_never_lowers_it(
    silence: float, tolerance: float, lost: list[float], more: float
) -> None:
    assert phi(silence, tolerance, lost) <= phi(silence, tolerance, [*lost, more]) + 1e-9


@given(silences, tolerances, tolerances, losses)
def test_more_tolerance_never_raises_it(silence: float, one: float, two: float, lost: list[float]) -> None:
    less, more = sorted((one, two))
    assert phi(silence, more, lost) <= phi(silence, less, lost) + 1e-9


@given(silences, tolerances, losses)
def test_it_is_a_plain_number_from_zero_up(silence: float, tolerance: float, lost: list[float]) -> None:
    level = phi(silence, tolerance, lost)
    assert level >= 0
    assert math.isfinite(level)


@given(silences, tolerances, losses)
def test_it_is_never_above_what_either_explanation_allows(
    silence: float, tolerance: float, lost: list[float]
) -> None:
    by_loss = -sum(map(math.log10, lost))
    assert phi(silence, tolerance, lost) <= by_loss + 1e-9
    assert phi(silence, tolerance, lost) <= phi(silence, tolerance, [0.005] * 200) + 1e-6


def test_losses_on_a_bad_path_weigh_less() -> None:
    assert phi(3.0, 3.0, [0.5] * 4) < phi(3.0, 3.0, [0.01] * 4)


def test_silence_before_now_does_not_count() -> None:
    assert phi(-5.0, 3.0, MANY) == pytest.approx(0.0)


class TestLossEstimate:
    def test_begins_with_little(self) -> None:
        assert LossEstimate().share == 0.005

    def test_stays_within_bounds(self) -> None:
        estimate = LossEstimate()
        for _ in range(500):
            estimate.add(True)
        assert estimate.share == 0.9
        for _ in range(500):
            estimate.add(False)
        assert estimate.share == 0.005

    def test_follows_the_share_that_is_lost(self) -> None:
        estimate = LossEstimate()
        for number in range(1_000):
            estimate.add(number % 5 == 0)
        assert 0.1 < estimate.share < 0.35

    def test_the_latest_show_before_the_average_does(self) -> None:
        estimate = LossEstimate()
        for lost in [False] * 20 + [True] * 4:
            estimate.add(lost)
        assert estimate.recently == 0.2
        assert estimate.lately == 0.5


class TestRoundTrip:
    def test_unmeasured_it_waits_ten_times_the_shortest(self) -> None:
        assert RoundTrip().timeout(0.01, 1.0) == 0.1
        assert RoundTrip().timeout(0.5, 1.0) == 1.0

    def test_a_steady_path_is_given_a_quarter_more(self) -> None:
        trip = RoundTrip()
        for _ in range(200):
            trip.add(0.1)
        assert trip.timeout(0.01, 1.0) == pytest.approx(0.125, rel=0.01)

    def test_a_shaky_path_is_given_four_deviations(self) -> None:
        trip = RoundTrip()
        for number in range(200):
            trip.add(0.05 if number % 2 else 0.15)
        assert trip.timeout(0.01, 1.0) > 0.2

    @given(st.lists(st.floats(0, 100), max_size=50))
    def test_stays_within_bounds(self, measured: list[float]) -> None:
        trip = RoundTrip()
        for seconds in measured:
            trip.add(seconds)
        assert 0.01 <= trip.timeout(0.01, 1.0) <= 1.0


class TestRemarkableLosses:
    def test_are_those_of_enough_probes(self) -> None:
        loss = LossEstimate()
        for count in range(1, 21):
            loss.add(True)
            assert loss.remarkable(0.0) is (count >= 16)

    def test_are_not_those_that_the_others_have_as_well(self) -> None:
        loss = LossEstimate()
        for _ in range(20):
            loss.add(True)
        assert loss.remarkable(0.3)
        assert not loss.remarkable(0.4)
