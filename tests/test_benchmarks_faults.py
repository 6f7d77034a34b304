"""The benchmarks of faults and of overhead: what they count, and what their tables say."""

from __future__ import annotations

import math
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
import trio

from benchmarks import overhead, readme
from benchmarks.driver import open_fleet
from benchmarks.faults import __main__ as faults
from benchmarks.faults import forge, replay, standing
from benchmarks.faults.measures import Span, Wholeness, common, deaths, terms, together
from benchmarks.faults.rows import ROWS, Row, between_halves, lasting
from benchmarks.faults.stage import Stage
from benchmarks.peers import Absent, Peer, find_peer

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
    row = {"scenario": "stand", "peer": "swim", "nodes": 8, "run": 0}
    short = row | {"seconds": 2, "dead": ["n0-1"], "verdicts": 7, "spread": NEVER, "back": NEVER}
    long = row | {"seconds": 30, "dead": ["victim"], "verdicts": 7, "spread": SPREAD, "back": SPREAD}
    standing.print_tables([short, long])
    cells = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()
    ]
    assert ["swim, 8 nodes, 2 s", "0 of 7", "", "", "", "1"] in cells
    assert ["swim, 8 nodes, 30 s", "7 of 7", "14.90", "15.10", "15.10", "0"] in cells


def test_a_row_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        faults.parse(["earthquake"])
    assert "there is no row 'earthquake'; there are: reject, " in capsys.readouterr().err


async def test_a_pause_is_no_death_and_what_is_paused_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "AFTERMATH_SECONDS", 0.1)
    async with open_fleet() as fleet:
        seed = await fleet.start(swim(), "seed", profile="local")
        await fleet.until_bound(seed)
        victim = await fleet.start(swim(), "victim", join=[seed.address], profile="local")
        with trio.fail_after(30):
            await fleet.until_all_see(["seed", "victim"], math.inf)
            row = await standing._paused(fleet, victim, ["seed"], 0)
    assert row["dead"] == []
    assert row["spread"]["seen"] == 0
    assert row["back"]["of"] == 0


def swim() -> Peer:
    peer = find_peer("swim")
    assert not isinstance(peer, Absent)
    return peer


def test_another_checkout_is_a_peer_of_its_own(tmp_path: Path) -> None:
    other = find_peer(f"swim@{tmp_path}")
    assert not isinstance(other, Absent)
    assert other.kind == "swim unknown"
    assert other.command[:4] == ("env", "-C", str(tmp_path), f"PYTHONPATH={tmp_path}")
    assert other.command[4:] == swim().command


# --- what the lines of the nodes tell


def line(t: float, node: str, event: str, **more: Any) -> dict[str, Any]:
    return {"t": t, "node": node, "event": event, **more}


def test_deaths_count_unless_they_were_due() -> None:
    lines = [
        line(1.0, "a", "dead", member="b", reason="silence"),
        line(3.0, "a", "dead", member="b", reason="told"),
        line(4.0, "a", "dead", member="c", reason="process-gone"),
        line(5.0, "b", "suspect", member="a"),
    ]
    assert deaths(lines, 2.0, due=["c"]) == [("a", "b", "told")]


def test_no_process_acts_that_stands_still_or_is_gone() -> None:
    lines = [
        line(0.0, "a", "leading", on=True),
        line(9.0, "a", "leading", on=False),
        line(5.0, "b", "leading", on=True),
        line(7.0, "b", "bound"),
    ]
    gaps = [Span("a", 3.0, 6.0), Span("b", 6.5, 7.0)]
    found = terms(lines, gaps, until=20.0)
    assert sorted(found) == [Span("a", 0.0, 3.0), Span("a", 6.0, 9.0), Span("b", 5.0, 6.5)]
    assert together(found) == [(6.0, 6.5)]
    assert terms([line(0.0, "a", "leading", on=True)], [Span("a", 1.0, math.inf)], 20.0) == [
        Span("a", 0.0, 1.0)
    ]


def test_three_at_once_are_counted_once() -> None:
    spans = [Span("a", 0.0, 5.0), Span("b", 1.0, 4.0), Span("c", 3.0, 8.0), Span("a", 9.0, 10.0)]
    assert together(spans) == [(1.0, 5.0)]
    assert common(together(spans), [(4.5, 20.0), (0.0, 2.0)]) == 1.0
    assert common(together(spans), [(5.0, 20.0)]) == 0.0


async def test_a_cluster_is_whole_while_all_see_all_and_follow_one() -> None:
    async with open_fleet() as fleet:
        agent: Any = None
        whole = Wholeness(fleet, ["a", "b"])
        assert whole.since is None
        happened: list[tuple[str, str, dict[str, Any]]] = [
            ("a", "join", {"member": "b", "tags": {}}),
            ("b", "join", {"member": "a", "tags": {}}),
            ("a", "leader", {"leader": "a"}),
            ("b", "leader", {"leader": "a"}),
        ]
        for t, (node, event, more) in enumerate(happened):
            fleet._take(agent, line(t, node, event, **more))
            assert (whole.since is not None) == (t in (1, 3))
        assert whole.since == 3
        whole.names.add("c")
        whole.look(4.0)
        assert whole.since is None
        for other in ("a", "b"):
            fleet._take(agent, line(5.0, other, "join", member="c", tags={}))
            fleet._take(agent, line(6.0, "c", "join", member=other, tags={}))
        fleet._take(agent, line(7.0, "c", "leader", leader="a"))
        assert whole.since == 7.0
        fleet._take(agent, line(8.0, "a", "dead", member="c"))
        assert whole.since is None


# --- what is promised, and what is not


def outcome(row: str, seconds: float = 0.0, **more: Any) -> dict[str, Any]:
    good = {
        "deaths": 0,
        "wrong": 0,
        "leaders": 0,
        "interrupted": 0,
        "two_leaders_s": 0.0,
        "two_leaders_connected_s": 0.0,
        "stalled_s": 0.0,
    }
    about = {"row": row, "seconds": seconds, "nodes": 5, "run": 0, "peer": "swim", "whole_s": 0.0}
    return good | about | more


@pytest.mark.parametrize(
    ("found", "misses"),
    [
        (outcome("reject-udp", 60), []),
        (outcome("reject-udp", 60, deaths=4, wrong=4), ["4 deaths"]),
        (outcome("reject-udp", 60, leaders=2), ["2 leaders"]),
        (outcome("reject", 1.5, deaths=4, wrong=4), ["4 deaths"]),
        (outcome("reject", 5, deaths=4, leaders=1), []),
        (outcome("reject", 5, deaths=4, wrong=1), ["1 deaths"]),
        (outcome("reject", 5, whole_s=61.2), ["whole 61.20, not 5 s"]),
        (outcome("reject", 5, whole_s=None), ["whole never, not 5 s"]),
        (outcome("cut", 60, two_leaders_s=58.0), []),
        (outcome("cut", 60, two_leaders_s=58.0, two_leaders_connected_s=2.0), ["two leaders for 2.0 s"]),
        (outcome("flap", 3, whole_s=9.0), []),
        (outcome("no-udp", 60, joined_s=0.3, killed_s=0.1), []),
        (outcome("no-udp", 60, joined_s=2, killed_s=3), ["joined 2.00, not 1 s", "killed 3.00, not 0.5 s"]),
        (outcome("kill", leaders=1, killed_s=0.02), []),
    ],
)  # fmt: skip
def test_what_falls_short_of_the_promise(found: dict[str, Any], misses: list[str]) -> None:
    assert faults.misses(found) == misses


def test_a_line_of_the_table_is_over_all_runs() -> None:
    some = [
        outcome("reject-udp", 5),
        outcome("reject-udp", 5, deaths=4, wrong=4, whole_s=2.5, stalled_s=0.25),
    ]
    some.append({"row": "reject-udp", "seconds": 5, "failed": "not all seen"})
    found = faults.cells(ROWS["reject-udp"], 5, some)
    assert found == ("0-4", "0", "0", "1.25 (0.000-2.50)", "", "0.2", "2 of 3: 4 deaths")


def test_forged_messages_are_what_a_kernel_takes_for_a_refusal() -> None:
    """56 bytes: two headers, and what each of them quotes."""
    packet = forge.forged(("127.0.0.1", 7946), ("127.0.0.2", 7946))
    assert len(packet) == 56
    assert forge._checksum(packet[:20]) == forge._checksum(packet[20:]) == 0
    assert packet[12:20] == socket.inet_aton("127.0.0.2") + socket.inet_aton("127.0.0.1")
    assert packet[20:22] == b"\x03\x03"
    quoted = packet[28:]
    assert quoted[12:20] == socket.inet_aton("127.0.0.1") + socket.inet_aton("127.0.0.2")
    assert struct.unpack("!HH", quoted[20:24]) == (7946, 7946)


def test_a_datagram_that_is_sent_again_is_the_same_but_for_its_sender() -> None:
    a, b, c = (("10.0.0.1", 7946), ("10.0.0.2", 7946), ("10.0.0.3", 7946))
    assert replay.udp(replay.datagram(a, b, b"sealed")) == (a, b, b"sealed")
    again = replay.datagram(c, b, b"sealed")
    assert replay.udp(again) == (c, b, b"sealed")
    assert replay.udp(again[:6] + b"\x20\x00" + again[8:]) is None, "the first part of a larger one"
    assert replay.udp(forge.forged(a, b)) is None


async def test_two_processes_of_one_name_are_told_apart() -> None:
    async with open_fleet() as fleet:
        first = await fleet.start(swim(), "one", profile="local")
        second = await fleet.start(swim(), "one", profile="local", known_as="other")
        with trio.fail_after(60):
            await fleet.until_bound(first, second)
        assert (first.name, second.name) == ("one", "other")
        assert fleet.views["one"] == fleet.views["other"] == {}


# --- with real processes


async def test_a_row_finds_a_planted_fault(may_build_networks: None) -> None:
    """Where silence must not be a death by what is promised, and it is one."""
    planted = Row("planted", "", between_halves("drop"), whole=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ROWS, "planted", planted)
        patch.setattr("benchmarks.faults.__main__.SETTLED_SECONDS", 1.0)
        with trio.fail_after(90):
            found = await faults.suffer(faults.Trial(planted, 8.0, 4, 0), swim())
        short = faults.misses(found)
    assert found["deaths"] >= 4
    assert found["dead"] == ["n0", "n1", "n2", "n3"]
    assert found["wrong"] == found["deaths"]
    assert found["two_leaders_s"] > 1.0
    assert found["two_leaders_connected_s"] < 5.0
    assert short[0] == f"{found['deaths']} deaths"
    assert found["whole_s"] is not None
    assert any("dead n0 silence" in told for told in found["history"])


async def test_a_row_without_a_fault_finds_none(may_build_networks: None) -> None:

    def nothing(stage: Stage) -> None:
        pass

    calm = Row("calm", "", lasting(nothing))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ROWS, "calm", calm)
        with trio.fail_after(90):
            found = await faults.suffer(faults.Trial(calm, 0.5, 4, 1), swim())
        assert faults.misses(found) == []
    assert found["whole_s"] == 0.0
    assert "history" not in found


def test_the_readme_tells_the_worst_of_all_runs() -> None:
    results = [
        outcome("reject-udp", 1),
        outcome("reject-udp", 1.5, deaths=2, wrong=2),
        outcome("reject", 5, deaths=8, whole_s=2.5),
        outcome("reject", 5, peer="memberlist", leaders=0, whole_s=None),
        outcome("kill", whole_s=0.5, leaders=1),
    ]
    table = readme.faults(results).splitlines()
    assert [line.split(" | ")[1:] for line in table[2:]] == [
        ["0", "0", "2.5 s", "0", "never in 1 of 1 |"],
        ["2", "0", "at once", "-", "- |"],
        ["0", "1", "0.5 s", "-", "- |"],
    ]
    assert "incoming UDP, 1 and 1.5 s |" in table[3]
