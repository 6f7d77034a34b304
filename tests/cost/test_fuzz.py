"""The cost fuzzer for half a minute; and that it finds what is expensive."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from swim.protocol import heard, membership, reception
from swim.protocol.table import MemberTable
from swim.wire import framing, streams
from tests.cost.fuzz import Arena, confirm, fuzz, ping_cost
from tests.cost.inputs import Input, Inputs

SECONDS = float(os.environ.get("SWIM_COST_SECONDS", "30"))
SLACK = 4.0
"""A machine may be so much slower than the one that the limits are meant for."""


def test_nothing_is_expensive() -> None:
    report = fuzz(1, seconds=SECONDS, slack=SLACK)
    assert report.beyond == [], "\n".join(
        f"{found}: {found.input.data[:99].hex()}" for found in report.beyond
    )


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

    def slow(self: Any, event: Any) -> bool:
        return not any(other == event for other in list(self.contents)) and add(self, event)

    monkeypatch.setattr(heard._Moment, "add", slow)


def the_oldest_by_looking_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "_HEARSAY_SHARE", 0.5)
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
    """With inputs of the kind that it is about: all kinds come up within a minute."""
    arena = Arena(1)
    ping = ping_cost(arena)
    inputs = Inputs(7, arena.members)
    found: list[Input] = []
    while len(found) < 25:
        item = inputs.next()
        if kind in item.kind:
            found.append(item)
    before = max(confirm(item, 1, ping).excess for item in found)
    plant(monkeypatch)
    after = max(confirm(item, 1, ping).excess for item in found)
    assert before < SLACK
    assert after > 1.5 * before
