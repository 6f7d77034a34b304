"""Who observes whom, and along which paths news flows."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from swim.protocol.view.rings import FOREIGN_MAX, Rings

names = st.text("abcdefgh", min_size=1, max_size=4)
crowds = st.dictionaries(names, st.booleans(), min_size=1, max_size=24)
few = st.dictionaries(names, st.booleans(), min_size=1, max_size=FOREIGN_MAX)
counts = st.integers(1, 8)


def rings_of(crowd: dict[str, bool], count: int = 8) -> Rings:
    rings = Rings(count)
    for name, own in crowd.items():
        rings.add(name, own)
    return rings


@given(crowds, counts)
def test_observers_and_subjects_are_two_views_of_one_relation(crowd: dict[str, bool], count: int) -> None:
    rings = rings_of(crowd, count)
    for name, own in crowd.items():
        if own:
            for other in crowd:
                assert (other in rings.subjects(name)) == (name in rings.observers(other))


@given(few, counts)
def test_everybody_has_an_own_observer_as_soon_as_there_is_one(crowd: dict[str, bool], count: int) -> None:
    rings = rings_of(crowd, count)
    own = {name for name in crowd if crowd[name]}
    for name in crowd:
        observers = rings.observers(name)
        assert set(observers) <= own - {name}
        assert bool(observers) == bool(own - {name})
        assert len(observers) <= count


@given(crowds, counts)
def test_nobody_observes_itself_or_anybody_twice(crowd: dict[str, bool], count: int) -> None:
    rings = rings_of(crowd, count)
    for name in crowd:
        for found in (rings.subjects(name), rings.observers(name)):
            assert name not in found
            assert len(set(found)) == len(found)


@given(crowds, counts)
def test_on_every_ring_each_own_member_has_exactly_one_own_predecessor(
    crowd: dict[str, bool], count: int
) -> None:
    """So that a flood along one ring reaches all."""
    rings = rings_of(crowd, count)
    own = [name for name in crowd if crowd[name]]
    for ring in range(count):
        following = [next(rings.successors(name, ring), None) for name in own]
        if len(own) > 1:
            assert sorted(name for name in following if name is not None) == sorted(own)
        else:
            assert following == [None] * len(own)


@given(few, counts)
def test_on_every_ring_each_foreign_member_gets_the_news_from_exactly_one(
    crowd: dict[str, bool], count: int
) -> None:
    rings = rings_of(crowd, count)
    own = [name for name in crowd if crowd[name]]
    foreign = [name for name in crowd if not crowd[name]]
    for ring in range(count):
        served = [other for name in own for other in rings.foreign_successors(name, ring)]
        assert sorted(served) == (sorted(foreign) if own else [])


@given(crowds, names)
def test_a_member_serves_the_nearest_foreign_ones_up_to_the_next_own(
    crowd: dict[str, bool], name: str
) -> None:
    rings, circle = rings_of(crowd), rings_of(dict.fromkeys(crowd, True))
    for each in (*crowd, name):
        for ring in range(8):
            following = takewhile(lambda other: not crowd[other], circle.successors(each, ring))
            assert rings.foreign_successors(each, ring) == list(following)[:FOREIGN_MAX]


def test_of_a_large_foreign_crowd_each_serves_some_and_is_known_for_it() -> None:
    """Anybody can make up thousands. Real ones see to each other."""
    own = {"a": True, "b": True, "c": True}
    crowd = own | {f"foreign-{number}": False for number in range(3_000)}
    rings = rings_of(crowd)
    for name in own:
        assert all(len(rings.foreign_successors(name, ring)) == FOREIGN_MAX for ring in range(8))
        subjects = rings.subjects(name)
        assert 8 * FOREIGN_MAX * 0.9 <= len(subjects) <= 8 * FOREIGN_MAX + 2
        assert {other for other in crowd if name in rings.observers(other)} == set(subjects)


@given(crowds)
def test_the_successors_on_a_ring_are_all_other_own_members_each_once(crowd: dict[str, bool]) -> None:
    rings = rings_of(crowd)
    for name in crowd:
        for ring in range(8):
            expected = sorted(other for other in crowd if crowd[other] and other != name)
            assert sorted(rings.successors(name, ring)) == expected


@given(crowds, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(crowd: dict[str, bool], rng: random.Random) -> None:
    shuffled = list(crowd.items())
    rng.shuffle(shuffled)
    one, two = rings_of(crowd), rings_of(dict(shuffled))
    for name in crowd:
        assert one.subjects(name) == two.subjects(name)
        assert one.observers(name) == two.observers(name)


@given(crowds, st.sets(names))
def test_removing_undoes_adding(crowd: dict[str, bool], gone: set[str]) -> None:
    rings = rings_of(crowd)
    for name in sorted(gone):
        rings.add(name, True)
    for name in sorted(gone):
        rings.remove(name)
    left = {name: own for name, own in crowd.items() if name not in gone}
    expected = rings_of(left)
    for name in left:
        assert name in rings
        assert rings.subjects(name) == expected.subjects(name)
        assert rings.observers(name) == expected.observers(name)
    assert not any(name in rings for name in gone)


@given(crowds, names)
def test_a_name_that_is_not_on_the_rings_has_its_place_all_the_same(
    crowd: dict[str, bool], name: str
) -> None:
    """A node asks for its own subjects before it has joined, and about members that are gone."""
    rings = rings_of(crowd)
    for found in (rings.subjects(name), rings.observers(name)):
        assert name not in found or name in crowd


def test_the_version_changes_when_somebody_comes_or_goes_and_only_then() -> None:
    rings = Rings(8)
    seen = [rings.version]
    changes: tuple[Callable[[], None], ...] = (
        lambda: rings.add("a", True),
        lambda: rings.add("b", True),
        lambda: rings.add("b", False),  # another kind of member under the same name
        lambda: rings.remove("a"),
    )
    for change in changes:
        change()
        assert rings.version not in seen
        seen.append(rings.version)
    rings.add("b", False)
    rings.remove("a")
    assert rings.version == seen[-1]


def test_observers_change_with_the_rings() -> None:
    rings = rings_of({"a": True, "b": True})
    assert rings.observers("a") == ("b",)
    rings.remove("b")
    assert rings.observers("a") == ()
    rings.add("c", True)
    assert rings.observers("a") == ("c",)


changes = st.lists(st.tuples(st.sampled_from(["own", "foreign", "remove", "look"]), names), max_size=60)


@given(changes, counts)
def test_what_is_remembered_is_what_would_be_found_anew(changes: list[tuple[str, str]], count: int) -> None:
    rings, crowd = Rings(count), dict[str, bool]()
    for verb, name in changes:
        if verb == "remove":
            rings.remove(name)
            crowd.pop(name, None)
        elif verb != "look":
            rings.add(name, verb == "own")
            crowd[name] = verb == "own"
        for each in (name, "a"):
            expected = rings_of(crowd, count)
            assert rings.subjects(each) == expected.subjects(each)
            if verb == "look":
                assert rings.observers(each) == expected.observers(each)


def test_a_newcomer_costs_nothing_until_the_rings_are_looked_at() -> None:
    rings = rings_of({f"node-{number}": True for number in range(200)})
    rings.subjects("node-7")
    for number in range(200, 400):
        rings.add(f"node-{number}", True)
    assert len(rings._newcomers) > 50
    assert len(list(rings.successors("node-7", 0))) == 399
    assert not rings._newcomers


def test_in_a_large_crowd_everybody_has_nearly_as_many_observers_as_there_are_rings() -> None:
    rings = rings_of({f"node-{number}": True for number in range(200)})
    counts = [len(rings.observers(f"node-{number}")) for number in range(200)]
    assert min(counts) >= 5
    assert max(counts) == 8
    assert sum(counts) / 200 > 7.5


def test_one_member_coming_concerns_few_others() -> None:
    crowd = {f"node-{number}": True for number in range(200)}
    rings = rings_of(crowd)
    before = {name: rings.subjects(name) for name in crowd}
    rings.add("newcomer", True)
    changed = [name for name in crowd if rings.subjects(name) != before[name]]
    assert len(changed) <= 8


class TestPick:
    def test_picks_so_many_different_ones_that_are_accepted(self) -> None:
        rings = rings_of({f"node-{number}": True for number in range(50)})
        picked = rings.pick(random.Random(1), 5, lambda name: name != "node-7")
        assert len(set(picked)) == 5
        assert "node-7" not in picked

    def test_gives_up_when_nobody_is_accepted_and_when_nobody_is_there(self) -> None:
        assert rings_of({"a": True}).pick(random.Random(1), 2, lambda name: False) == []
        assert Rings(8).pick(random.Random(1), 2, lambda name: True) == []

    def test_finds_the_only_other_one_of_a_few(self) -> None:
        rings = rings_of({"a": True, "b": True})
        found = [rings.pick(random.Random(seed), 1, lambda name: name != "a") for seed in range(100)]
        assert found.count(["b"]) >= 99

    def test_everybody_is_picked_about_as_often(self) -> None:
        rings = rings_of({f"node-{number}": True for number in range(10)})
        rng = random.Random(1)
        picked = [rings.pick(rng, 1, lambda name: True)[0] for _ in range(2_000)]
        assert all(130 < picked.count(f"node-{number}") < 280 for number in range(10))
