"""The benchmark of leases on names, as small as it goes."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks.leases import __main__ as leases
from benchmarks.leases.__main__ import Ownership, Peer, milliseconds
from benchmarks.leases.many import many


def peer(name: str, *lines: tuple[float, str, str]) -> Peer:
    said = [{"t": t, "event": event, "shard": shard} for t, event, shard in lines]
    return Peer(name, None, said)


def test_gaps_and_overlaps_between_owners() -> None:
    a = peer("a", (0.0, "begin", "x"), (5.0, "end", "x"), (0.0, "begin", "y"))
    b = peer("b", (5.2, "begin", "x"), (9.0, "begin", "y"))
    ownership = Ownership({"a": a, "b": b}, killed={"a": 8.0})
    assert [round(gap, 3) for gap in ownership.gaps(0.0)] == [0.2, 1.0]
    assert [round(gap, 3) for gap in ownership.gaps(6.0)] == [1.0]
    assert ownership.gaps(0.0, lambda name: name != "a") == []
    assert (ownership.overlaps(), ownership.counts()) == (0, [2])


def test_two_owners_at_once_are_seen() -> None:
    a, b = peer("a", (0.0, "begin", "x"), (5.0, "end", "x")), peer("b", (4.9, "begin", "x"))
    assert Ownership({"a": a, "b": b}).overlaps() == 1


def test_without_a_scenario_all_are_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    async def measure(args: argparse.Namespace) -> list[object]:
        asked.extend(args.scenarios)
        return []

    monkeypatch.setattr(leases, "measure", measure)
    leases.main(["--json", str(tmp_path / "leases.json")])
    assert asked == ["alone", "turns", "rate", "shards", "many"]
    with pytest.raises(SystemExit):
        leases.main(["nothing"])


def test_milliseconds() -> None:
    assert milliseconds([0.001, 0.002, 0.004]) == {"median_ms": 2.0, "p99_ms": 2.0, "worst_ms": 4.0}


@pytest.mark.parametrize("voters", [(), ("n0", "n1", "n2")], ids=["derived", "voters"])
def test_many_names_are_all_asserted_by_a_new_leader(voters: tuple[str, ...]) -> None:
    row = many(4, 40, voters)
    assert row["led_until_all_asserted_s"] <= 6.0
    assert row["lost"] == 0
    assert row["leader_packets_sent_per_s"] > 0
