"""A sample of the explorer's schedules, and that its oracles notice what they are for.

More seeds: `python -m tests.explorer --seeds 0:20000 --jobs 2`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from swim.runtime.leading import Leading
from swim.types import Term
from tests.explorer.__main__ import main
from tests.explorer.arena import Arena
from tests.explorer.functions import play
from tests.explorer.oracle import Finding
from tests.explorer.schedules import KINDS, run

SAMPLE = {"weather": range(1, 9), "derived": range(0, 4), "returning_derived": (35,)}
"""Few of those that need no mending: CI has no time for more."""


@pytest.mark.parametrize(("kind", "seed"), [(kind, seed) for kind in SAMPLE for seed in SAMPLE[kind]])
def test_a_schedule(kind: str, seed: int) -> None:
    assert run(seed, kind).kind == kind


def led(count: int = 3, lease: float = 1.0) -> Arena:
    arena = Arena(1, "test", lease=lease, voters=tuple(f"n{i}" for i in range(count)))
    arena.start(arena.voters)
    arena.require_leader()
    return arena


# --- oracles


def test_two_at_once_are_noticed() -> None:
    """A clock that is off by more than 1 % prolongs a lease: no protocol can help."""
    arena = led()
    leader = arena.require_leader()
    arena.set_clock_rate(leader.name, 0.1)
    arena.partition([leader.name])
    with pytest.raises(Finding, match="two at once"):
        arena.run(30.0)


def test_a_function_that_may_still_clean_up_beside_the_next_leader_is_noticed() -> None:
    """By the same clock, only a little too slow."""
    arena = led(lease=3.0)
    leader = arena.require_leader()
    arena.partition([leader.name])
    arena.run_until(lambda: leader.core.term is None, 10.0, step=0.01)
    arena.set_clock_rate(leader.name, 0.01)
    with pytest.raises(Finding, match="clean-up"):
        arena.run(30.0)


@pytest.mark.parametrize("phase", [0.0, 0.1, 0.25, 0.33, 0.6])
def test_clocks_that_are_one_percent_off_in_opposite_directions_let_no_two_act(phase: float) -> None:
    """A leader with a slow clock is cut off from voters with fast ones, at any time between its questions."""
    arena = led(lease=3.0)
    leader = arena.require_leader()
    for name in arena.voters:
        arena.set_clock_rate(name, 0.99 if name == leader.name else 1.01)
    arena.run(7.0 + phase)
    arena.partition([leader.name])
    arena.run_until(lambda: arena.acting() not in ([], [leader]), 10.0, step=0.001)
    assert [node.name for node in arena.acting()] != [leader.name]


def test_a_token_that_falls_is_noticed() -> None:
    """All memory is lost, and all clocks were set back: no protocol can help."""
    arena = led()
    for name in arena.voters:
        arena.crash(name)
        arena.nodes[name].host.clock.shift_wall(-3600.0)
    for name in arena.voters:
        arena.restart(name)
    with pytest.raises(Finding, match="token"):
        arena.run(30.0)


def test_a_cluster_without_a_leader_is_noticed() -> None:
    arena = led()
    for name in arena.voters[1:]:
        arena.crash(name)
    with pytest.raises(Finding, match=r"no leader: after 10 s of calm \[\] act"):
        arena.calm_down(10.0)


def test_a_leader_that_not_all_follow_is_noticed() -> None:
    arena = led(5)
    leader = arena.require_leader()
    arena.partition([next(name for name in arena.voters if name != leader.name)])
    arena.run(10.0)
    with pytest.raises(Finding, match=rf"no leader: after 10 s of calm \['{leader.name}'\] act"):
        arena.calm_down(10.0)


def test_a_leader_that_does_not_stay_is_none() -> None:
    arena = led()

    def hand_on() -> None:
        for node in arena.acting():
            arena.yield_leadership(node.name)

    arena.every(2.0, hand_on)
    with pytest.raises(Finding, match="no leader"):
        arena.calm_down(20.0, stay=4.0)


def test_a_node_that_is_stopped_or_sleeps_counts_until_its_time_is_over() -> None:
    """The term of a process that does not run is judged by its own clock."""
    arena = led()
    leader = arena.require_leader()
    arena.sleep(leader.name, 0.5)
    assert arena.acting() == [leader]
    arena.run(0.4)
    assert leader.paused
    arena.run(0.2)
    assert not leader.paused
    assert not leader.host.lost
    arena.sleep(leader.name, 20.0)
    arena.run(2.0)
    assert leader not in arena.acting()
    arena.run(10.0)
    assert leader not in arena.acting()


# --- functions of a leader
@pytest.mark.parametrize("first", range(0, 30, 10))
def test_functions_run_inside_terms_one_after_the_other_and_none_is_forgotten(first: int) -> None:
    for seed in range(first, first + 10):
        play(seed)


def _does_not_cancel(leading: Leading) -> None:
    leading._term, leading._ends = None, 0.0


def _watches_nothing(leading: Leading) -> bool:
    return False


def _goes_on_at_once(leading: Leading, afterwards: Callable[[], None] | None = None) -> None:
    leading._suspended += 1
    leading.follow()
    if afterwards is not None:
        afterwards()


async def _runs_once(leading: Leading, function: Callable[[Term], Awaitable[object]]) -> object:
    await leading._until(lambda: leading.term is not None)
    with trio.CancelScope() as scope:
        leading._running[scope] = None
        try:
            return await function(leading._term)
        finally:
            del leading._running[scope]
            leading._flush()


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ("_end", _does_not_cancel),
        ("follow", _watches_nothing),
        ("suspend", _goes_on_at_once),
        ("run", _runs_once),
    ],
)
def test_functions_that_are_not_ended_or_forgotten_are_noticed(
    monkeypatch: pytest.MonkeyPatch, method: str, wrong: Callable[..., object]
) -> None:
    monkeypatch.setattr(Leading, method, wrong)
    found = False
    for seed in range(20):
        try:
            play(seed)
        except (Finding, trio.TooSlowError):
            found = True
            break
    assert found


# --- the attacker


def test_the_attacker_reaches_those_that_are_cut_off() -> None:
    arena = led()
    n0, n1 = arena.nodes["n0"], arena.nodes["n1"]
    arena.partition(["n0"])
    arena.run(0.03)
    packet = next(each for each in arena.attacker.kept if each.source == n1.address and not each.stream)
    before = n0.traffic.packets_received
    arena.run(0.05)  # soon it will test its own links, by pinging itself
    assert n0.traffic.packets_received == before
    arena.attacker.send(packet, packet.source, n0.address)
    arena.run(0.02)
    assert n0.traffic.packets_received == before + 1


def test_the_same_seed_is_the_same_schedule() -> None:
    outcomes = [run(3, "weather") for _ in range(2)]
    assert outcomes[0] == outcomes[1]


# --- the command


def test_a_finding_says_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stumble(seed: int, rng: object) -> None:
        raise Finding("two at once", "n0 and n1")

    monkeypatch.setitem(KINDS, "weather", (1, stumble))
    assert main(["--seeds", "5:6", "--only", "weather"]) == 1
    said = capsys.readouterr().out
    assert "seed 5 (weather): Finding: two at once: n0 and n1" in said
    assert "replay: python -m tests.explorer --seeds 5:6 --only weather" in said


def test_what_all_seeds_came_to_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0:2", "--only", "waiting"]) in (0, 1)
    assert "2 seeds, " in capsys.readouterr().out
