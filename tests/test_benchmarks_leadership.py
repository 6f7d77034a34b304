"""How the benchmark of leadership counts: tenures, overlaps, tokens; what it does without other systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.leadership import servers
from benchmarks.leadership.__main__ import parse, rows, slices
from benchmarks.leadership.meddler import repeated
from benchmarks.leadership.scenarios import CUTS
from benchmarks.leadership.tenures import Tenures, gap, overlaps, seconds_together, tokens_rise


def tenures(*lines: tuple[float, str, str, str]) -> Tenures:
    """Lines of (time, node, "on", "off", "tick" or "bound", token)."""
    found = Tenures()
    for t, node, what, token in lines:
        leading = what in ("on", "off")
        event = "leading" if leading else what
        found.take({"t": t, "node": node, "event": event, "on": what == "on", "token": token})
    return found


def test_one_after_the_other() -> None:
    found = tenures(
        (1.0, "a", "on", "1"), (1.1, "a", "tick", "1"), (1.2, "a", "tick", "1"), (1.3, "a", "off", "1"),
        (1.4, "b", "on", "2"), (1.5, "b", "tick", "2"),
    ).all  # fmt: skip
    assert [(each.node, each.on, each.off, each.last) for each in found] == [
        ("a", 1.0, 1.3, 1.2),
        ("b", 1.4, None, 1.5),
    ]
    assert overlaps(found) == 0
    assert tokens_rise(found)


def test_ticks_of_two_at_once_are_counted() -> None:
    found = tenures(
        (1.0, "a", "on", "2"), (1.1, "a", "tick", "2"),
        (1.15, "b", "on", "1"), (1.2, "a", "tick", "2"), (1.3, "b", "tick", "1"), (1.4, "a", "tick", "2"),
    ).all  # fmt: skip
    assert overlaps(found) == 2  # a's at 1.2 and b's at 1.3: nobody knows how long b went on after that
    assert not tokens_rise(found)


def test_one_that_was_frozen_meanwhile_did_not_overlap_but_for_what_it_did_then() -> None:
    lines = [(1.0, "a", "on", "1"), (2.0, "b", "on", "2"), (3.0, "b", "tick", "2"), (4.0, "b", "off", "2")]
    assert overlaps(tenures(*lines, (5.0, "a", "off", "1")).all) == 0
    late = tenures(
        (1.0, "a", "on", "1"), (2.0, "b", "on", "2"), (2.5, "a", "tick", "1"), (3.0, "b", "tick", "2")
    )
    assert overlaps(late.all) == 1


def test_a_process_that_was_killed_and_started_again() -> None:
    found = tenures(
        (1.0, "a", "on", "1"), (2.0, "a", "bound", ""), (3.0, "a", "on", "2"), (3.1, "a", "tick", "2")
    )
    assert [each.ticks for each in found.all] == [[], [3.1]]
    assert found.all[0].off is None


def test_the_longest_time_in_which_nobody_acted_and_that_of_two_at_once() -> None:
    one_by_one = tenures((1.0, "a", "on", "1"), (1.5, "a", "tick", "1"), (4.0, "b", "on", "2")).all
    assert (gap(one_by_one), seconds_together(one_by_one)) == (2.5, 0.0)
    both = [(2.0, "a", "on", "1"), (3.0, "b", "on", "2"), (5.0, "a", "tick", "1"), (6.0, "b", "tick", "2")]
    assert (gap(tenures(*both).all), seconds_together(tenures(*both).all)) == (2.0, 2.0)
    assert gap([]) == 0.0


def test_a_meddler_repeats_what_it_sees_from_other_addresses() -> None:
    one, other, third = (b"\x0a\x53\0" + bytes([number]) for number in (1, 2, 3))
    header = b"\x45\0\0\x20\0\1\x40\0\x40\x11\xab\xcd"
    datagram = b"\0\1\0\2\0\x0c\xab\xcd" + b"text"
    packet = header + one + other + datagram
    back, again = b"\0\2\0\1\0\x0c\0\0text", b"\0\1\0\2\0\x0c\0\0text"
    begin = header[:10] + b"\0\0"
    assert list(repeated(packet, "reflect", one, [])) == [begin + other + one + back]
    assert list(repeated(packet, "multiply", other, [one, third])) == [begin + third + other + again]
    assert list(repeated(packet, "reflect", other, [])) == []
    assert list(repeated(packet, "multiply", one, [third])) == []
    assert list(repeated(packet[:9] + b"\x06" + packet[10:], "reflect", one, [])) == []


def test_the_table_takes_all_runs_together() -> None:
    runs = [
        {"to_the_next": 0.1, "overlap": 0, "stayed": True, "tokens_rise": True},
        {"to_the_next": 0.3, "overlap": 2, "stayed": False, "tokens_rise": True},
    ]
    assert list(rows({"kill, derived": runs, "nothing": []})) == [
        ["kill, derived", "2", "0.200 (0.100-0.300)", "", "2", "0", "1/2", "2/2"]
    ]


def test_every_cut_can_be_asked_for() -> None:
    assert parse(["--only", "part", "--cuts", *CUTS]).cuts == list(CUTS)
    assert parse(["--quick"]).only == ["kill", "leave"]


def test_the_record_says_which_command_measured_what(tmp_path: Path) -> None:
    args = parse(["--only", "kill", "--json", str(tmp_path / "record.json")])
    before = [{"command": "one", "measured": ["a", "b"]}, {"command": "two", "measured": ["c"]}]
    parts = slices(args, ["b", "c"], before)
    assert [part["measured"] for part in parts] == [["a"], ["b", "c"]]
    assert "--only kill" in parts[1]["command"]


@pytest.mark.parametrize("kind", ["zookeeper", "etcd", "pysyncobj"])
def test_what_is_not_installed_is_named(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(servers, "_ZOOKEEPER_JAR", tmp_path / "absent.jar")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    assert "install" in str(servers.why_not(kind))
