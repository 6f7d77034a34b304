"""The benchmarks of faults and of overhead: what they count, and what their tables say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

from benchmarks import faults, overhead
from benchmarks.driver import open_fleet
from benchmarks.peers import Absent, find_peer

SPREAD: dict[str, Any] = {"first": 14.9, "half": 15.0, "all": 15.1, "seen": 7, "of": 7, "reasons": {}}
NEVER: dict[str, Any] = {"first": None, "half": None, "all": None, "seen": 0, "of": 7, "reasons": {}}


def stats(t: float, count: int, packets: int, cpu_s: float) -> dict[str, Any]:
    return {
        "t": t,
        "count": count,
        "cpu_s": cpu_s,
        "tx_packets": packets,
        "tx_bytes": 0,
        "stream_tx_bytes": 0,
    }


def test_costs_are_per_node_and_second() -> None:
    before = [stats(0.0, 1, 0, 1.0), stats(5.0, 9, 100, 2.0)]
    after = [stats(10.0, 1, 30, 1.05), stats(15.0, 9, 270, 2.15)]
    cost = overhead.costs(before, after)
    assert cost["packets"] == pytest.approx(200 / 100)
    assert cost["cpu_ms"] == pytest.approx(200 / 100)
    assert cost["cpu_ms_alone"] == pytest.approx(50 / 10)


def test_tables_tell_the_victim_from_others(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"scenario": "pause", "peer": "swim", "nodes": 8, "run": 0}
    short = row | {"seconds": 2, "dead": ["n0-1"], "verdicts": 7, "spread": NEVER, "back": NEVER}
    long = row | {"seconds": 30, "dead": ["victim"], "verdicts": 7, "spread": SPREAD, "back": SPREAD}
    faults.print_tables([short, long])
    cells = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()
    ]
    assert ["swim, 8 nodes, 2 s", "0 of 7", "", "", "", "1"] in cells
    assert ["swim, 8 nodes, 30 s", "7 of 7", "14.90", "15.10", "15.10", "0"] in cells


def test_a_scenario_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        faults.parse(["earthquake"])
    assert "there is no scenario 'earthquake'; there are: silent, pause" in capsys.readouterr().err


async def test_a_pause_is_no_death_and_what_is_paused_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "AFTERMATH_SECONDS", 0.1)
    peer = find_peer("swim")
    assert not isinstance(peer, Absent)
    async with open_fleet() as fleet:
        seed = await fleet.start(peer, "seed", profile="local")
        await fleet.until_bound(seed)
        victim = await fleet.start(peer, "victim", join=[seed.address], profile="local")
        with trio.fail_after(30):
            await fleet.until_all_see(["seed", "victim"], math.inf)
            row = await faults._paused(fleet, victim, ["seed"], 0)
    assert row["dead"] == []
    assert row["spread"]["seen"] == 0
    assert row["back"]["of"] == 0
