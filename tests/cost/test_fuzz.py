"""The cost fuzzer for a quarter of a minute; and that it finds what is expensive."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from swim.protocol import reception
from swim.protocol.gossip import heard
from swim.protocol.membership import updates
from swim.protocol.node import Node
from swim.protocol.view.table import MemberTable
from swim.types import Address
from swim.wire import framing, streams
from tests.cost.fuzz import Arena, confirm, fuzz, ping_cost
from tests.cost.inputs import Input, Inputs

SECONDS = float(os.environ.get("SWIM_COST_SECONDS", "15"))
SLACK = 3.0
"""Not all is slowed down as a ping is, by whatever else a machine does."""


def test_nothing_is_expensive() -> None:
    report = fuzz(1, seconds=SECONDS, slack=SLACK)
    assert report.beyond == [], "\n".join(
        f"{found}: {found.input.data[:99].hex()}" for found in report.beyond
    )


def test_what_a_node_has_dealt_with_does_not_wait_for_the_collector_of_cycles() -> None:
    """That comes rarely, and what waits for it meanwhile lies between what stays: not all of it goes back."""
    arena = Arena(3)
    inputs = Inputs(3, arena.members)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(150):
            arena.take(inputs.next())
            arena.pass_time(0.002)
        arena.pass_time(5.0)
        gc.collect()
        found = {f"{type(each).__module__}: {each!r}" for each in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found


def unbounded_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        framing.PacketReader, "_allow_parts", lambda self, size: setattr(self, "_parts_max", 1 << 30)
    )


def unbounded_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_ODD_NODES_MAX", 1 << 30)


def unbounded_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "_QUESTIONS_MAX", 1 << 30)


def compared_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    add = heard._Moment.add

    def slow(self: Any, event: Any, packed: bytes) -> bool:
        return not any(other == event for other in list(self.known)) and add(self, event, packed)

    monkeypatch.setattr(heard._Moment, "add", slow)


def the_oldest_by_looking_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = MemberTable.__init__
    monkeypatch.setattr(MemberTable, "__init__", lambda self, rings, dead_max: begin(self, rings, 1_024))
    monkeypatch.setattr(updates, "_HEARSAY_SHARE", 0.5)
    monkeypatch.setattr(
        MemberTable, "_longest_dead", lambda self: min(self._dead, key=lambda name: self._records[name].since)
    )


PLANTED: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
    (unbounded_parts, "compound of empty compounds"),
    (unbounded_nonsense, "empty nodes"),
    (unbounded_answers, "compound of Ping"),
    (compared_with_each, "events of one time"),
    (the_oldest_by_looking_at_all, "DEAD nodes"),
]


@pytest.mark.parametrize(("plant", "kind"), PLANTED, ids=lambda value: getattr(value, "__name__", None))
def test_finds_what_is_planted(
    plant: Callable[[pytest.MonkeyPatch], None], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With inputs of the kind that it is about: all kinds come up within a minute.

    Each is tried with the fault and without it in turn, so that both are on the same machine, busy or not;
    and without it twice, so that what only varies is not taken for the fault.
    """

    def cost(item: Input, *, planted: bool) -> float:
        arena = Arena(1)
        with monkeypatch.context() as patch:
            if planted:
                plant(patch)
            return arena.take(item).cost

    inputs = Inputs(9, Arena(1).members)
    found: list[Input] = []
    while len(found) < 25:
        item = inputs.next()
        if kind in item.kind:
            found.append(item)
    found = list({item.data: item for item in found}.values())
    found.sort(key=lambda item: cost(item, planted=False) - cost(item, planted=True))
    least = {item: [inf, inf, inf] for item in found[:3]}
    for number in range(8):
        for item, costs in least.items():
            tries = [cost(item, planted=planted) for planted in (False, True, False)]
            least[item] = [min(pair) for pair in zip(costs, tries, strict=True)]
        if number and any(after > 1.5 * max(before, again) for before, after, again in least.values()):
            return
    pytest.fail(f"not found: {list(least.values())}")


def test_what_is_expensive_only_on_a_node_that_has_seen_much_is_confirmed_on_such_a_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receive, seen = Node.receive_datagram, WeakKeyDictionary[Node, int]()
    many = inf

    def slow(self: Node, data: bytes, source: Address, now: float) -> None:
        seen[self] = seen.get(self, 0) + 1
        if seen[self] > many:
            sum(range(4_000_000))
        receive(self, data, source, now)

    monkeypatch.setattr(Node, "receive_datagram", slow)
    arena = Arena(2)
    ping_cost(arena)
    many = seen[arena.node] + 30
    report = fuzz(2, count=40)
    assert report.beyond
    assert max(found.number for found in report.beyond) > 1, "no fresh node is slow"
    assert confirm(report.beyond[0].input, 1).excess < 1
