"""Our own trio layer under random schedules of faults; bugs that were planted are found, and replayed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from swim.protocol.leases.books import Session
from swim.protocol.leases.grantor import Grantor
from swim.testing import Fault, World, for_each_seed
from swim.testing.plugin import world as world_fixture
from swim.testing.strategies import schedules
from swim.wire.leases import LeaseEntry
from tests.testing.crew import FAULTS, FAULTS_S, NAMES, Crew, scenario

world = world_fixture


@pytest.mark.long
def test_random_schedules() -> None:
    for_each_seed(scenario, 2)


@pytest.mark.parametrize("seed", [281, 425, 481, 574])
def test_messages_arrive_also_at_a_machine_that_was_lost_and_is_back(seed: int) -> None:
    """In these schedules it was back before it was missed, and nothing sent to it arrived any more."""
    with World(seed) as world:
        scenario(world)


@settings(max_examples=2)
@given(faults=schedules(NAMES, FAULTS_S, FAULTS))
def test_schedules_of_hypothesis(faults: list[Fault]) -> None:
    with World(1) as world:
        scenario(world, faults)


def release_what_was_released_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: a release that comes for the second time frees what the next holder has."""
    names: dict[tuple[bytes, int], str] = {}
    release = Grantor._release

    def again(self: Grantor, session: Session, entry: LeaseEntry, now: float) -> None:
        use, place = session.uses.get(entry.id), (session.process, entry.id)
        release(self, session, entry, now)
        if use is not None:
            names[place] = use.name
        elif place in names:
            for other in list(self.books.holders(names[place])):
                self._over(other, now)

    monkeypatch.setattr(Grantor, "_release", again)


@pytest.mark.parametrize("bug", ["goes on after its lease", "answered by another process", "released twice"])
def test_a_planted_bug_is_found_and_replayed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(world: World) -> None:
        seen.append(world.seed)
        scenario(world, bug=bug)

    if bug == "released twice":
        release_what_was_released_before(monkeypatch)
    seen: list[int] = []
    with pytest.raises((AssertionError, ExceptionGroup)) as caught:
        for_each_seed(planted, 200)
    found = seen[-1]
    note = next(note for note in caught.value.__notes__ if note.startswith("seed "))
    assert note == (
        f"seed {found}; to replay it: SWIM_SEED={found} pytest "
        f"'tests/testing/test_schedules.py::test_a_planted_bug_is_found_and_replayed[{bug}]'"
    )
    seen.clear()
    monkeypatch.setenv("SWIM_SEED", str(found))
    with pytest.raises(type(caught.value)):
        for_each_seed(planted, 200)
    assert seen == [found]


def test_the_fixture(world: World) -> None:
    world.start("a", Crew(world).serve, "a")
    world.start("b", Crew(world).serve, "b")
    world.run_until_converged(30)
