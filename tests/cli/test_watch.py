"""`swim watch`, and the live table that it shares with `swim agent`."""

from __future__ import annotations

import io
import logging
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from rich.console import Console
from rich.text import Text

from swim.cli.live import LiveTable, LogLines, Row
from swim.cli.looking import Seen
from swim.cli.watch import changes
from tests.cli.agents import PATIENCE, Agent, environment, swim

Start = Callable[..., Agent]


class Watcher:
    """A command whose output is read all the time: from a pipe, or from a terminal of its own."""

    def __init__(self, *arguments: str, terminal: bool) -> None:
        self.text = ""
        read, write = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "swim", *arguments],
            env=environment() | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=write,
        )
        os.close(write)
        self._fd = read
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, 65_536)
            except OSError:  # the other end of the terminal is closed
                break
            if not data:
                break
            self.text += data.decode(errors="replace")

    def until(self, *words: str) -> None:
        """Wait until all of these were printed."""
        deadline = time.monotonic() + PATIENCE
        while missing := [word for word in words if word not in self.text]:
            assert time.monotonic() < deadline, f"{missing} is missing in {self.text!r}"
            time.sleep(0.02)

    def interrupt(self) -> int:
        """Its exit status after Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(PATIENCE)
        self._thread.join(PATIENCE)
        return status

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join(PATIENCE)
        os.close(self._fd)


@contextmanager
def run(*arguments: str, terminal: bool = False) -> Iterator[Watcher]:
    watcher = Watcher(*arguments, terminal=terminal)
    try:
        yield watcher
    finally:
        watcher.close()


def test_lines_where_there_is_no_terminal(start: Start) -> None:
    first = start("a", "--tag", "role=db")
    with run("watch", first.address, "--interval", "0.1") as watcher:
        watcher.until("+ a joined from", "role=db", "* a leads")
        second = start("b", join=first.address)
        watcher.until("+ b joined from")
        second.tell("tags zone=x")
        watcher.until("~ b changed", "zone=x")
        second.tell("leave")
        watcher.until("- b left")
        assert watcher.interrupt() == 0
    assert not first.all("error")
    assert [line["member"] for line in first.all("join")] == ["b"], "the one that watches is no member"


def test_goes_on_through_another_member(start: Start) -> None:
    first = start("a")
    second = start("b", join=first.address)
    second.wait("join", member="a")
    with run("watch", first.address, "--interval", "0.1") as watcher:
        watcher.until("+ b joined")
        first.process.kill()
        watcher.until(f"! asking b ({second.address}) from now on", "x a is dead", "* b leads")


def test_an_old_table_says_that_it_is_old(start: Start) -> None:
    only = start("a")
    with run("watch", only.address, "--interval", "0.1", terminal=True) as watcher:
        watcher.until("1 member, as")
        only.process.kill()
        watcher.until(f"! {only.address}: cannot connect", "no member answers; this was seen at ")
        assert watcher.interrupt() == 0


def test_a_table_on_a_terminal(start: Start) -> None:
    first = start("a", "--tag", "role=db")
    with run("watch", first.address, "--interval", "0.1", terminal=True) as watcher:
        watcher.until(f"1 member, as {first.address} sees them", "NAME", "role=db", "leader")
        start("b", join=first.address)
        watcher.until("2 members, as", "+ b joined")
        assert watcher.interrupt() == 0


def test_nobody_to_watch() -> None:
    done = swim("watch", "127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr == "swim: 127.0.0.1:1: cannot connect: Connection refused; is a node running there?\n"


def test_the_agent_shows_a_table_on_a_terminal(start: Start) -> None:
    first = start("a")
    options = ("agent", "--name", "b", "--bind", "127.0.0.1:0", "--join", first.address, "--profile", "local")
    with run(*options, terminal=True) as watcher:
        watcher.until("2 members, led by a", "PHI", "RTT, ms", "* a leads")
        first.process.kill()
        watcher.until("1 member, led by this node", "x a is dead")
        assert watcher.interrupt() == 0
        assert "- b has left the cluster" in watcher.text


def test_the_title_names_the_member_that_answered(start: Start) -> None:
    first = start("a")
    second = start("b", join=first.address)
    second.wait("join", member="a")
    with run("watch", first.address, "--interval", "0.5", terminal=True) as watcher:
        watcher.until(f"2 members, as {first.address} sees them")
        first.process.kill()
        watcher.until("x a is dead", f"1 member, as {second.address} sees them")
        assert f"1 member, as {first.address}" not in watcher.text


def test_the_table_says_why_nobody_leads() -> None:
    options = ("agent", "--name", "a", "--bind", "127.0.0.1:0", "--voters", "a,b")
    with run(*options, terminal=True) as watcher:
        watcher.until("led by nobody (2 of 2 voters have to grant a lease")
        assert watcher.interrupt() == 0


def test_an_agent_whose_terminal_is_closed_leaves_with_status_0() -> None:
    read, write = pty.openpty()
    command = [sys.executable, "-m", "swim", "agent", "--name", "a", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(
        command,
        env=environment() | {"TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            os.close(write)
            text = b""
            while b"a is a member" not in text:
                text += os.read(read, 65_536)
            os.close(read)
            process.send_signal(signal.SIGHUP)  # as the kernel does for the terminal's own processes
            assert process.wait(PATIENCE) == 0
            assert process.stderr is not None
            assert not process.stderr.read()
        finally:
            process.kill()


def test_the_agent_shows_lines_when_asked_to() -> None:
    with run("agent", "--name", "a", "--bind", "127.0.0.1:0", "--plain", terminal=True) as watcher:
        watcher.until("a is a member")
        assert watcher.interrupt() == 0
        assert "NAME" not in watcher.text


def test_the_agent_serves_metrics() -> None:
    pytest.importorskip("prometheus_client")
    done = swim("agent", "--name", "a", "--bind", "127.0.0.1:0", "--metrics", "192.0.2.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("swim agent: --metrics: cannot serve at 192.0.2.1:9: ")
    done = swim("agent", "--metrics", "nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("swim agent: --metrics: 'nowhere' is not an address")


# --- what changed from one look to the next


def seen(name: str, state: str = "alive", *, id: str = "01", leader: bool = False, **tags: str) -> Seen:
    return Seen(name, "10.0.0.1:7946", state, id, tags, leader)


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        ([], [seen("a")], ["join a"]),
        ([], [seen("a", "dead"), seen("b", "left")], []),
        ([], [seen("a", "suspect")], ["join a", "suspect a"]),
        ([seen("a")], [seen("a")], []),
        ([seen("a")], [seen("a", role="db")], ["update a"]),
        ([seen("a")], [seen("a", id="02")], ["update a"]),
        ([seen("a")], [seen("a", "suspect")], ["suspect a"]),
        ([seen("a", "suspect")], [seen("a")], ["recover a"]),
        ([seen("a", "suspect")], [seen("a", "dead")], ["dead a"]),
        ([seen("a"), seen("b")], [seen("b")], ["dead a"]),
        ([seen("a", "dead"), seen("b")], [seen("b")], []),
        ([seen("a")], [seen("a", "left")], ["leave a"]),
        ([seen("a", "dead")], [seen("a", id="02")], ["join a"]),
        ([seen("a", leader=True)], [seen("a"), seen("b", leader=True)], ["join b", "leader b"]),
        ([seen("a", leader=True)], [seen("a", "dead")], ["dead a", "leader None"]),
    ],
)
def test_changes(before: list[Seen], after: list[Seen], events: list[str]) -> None:
    found = [f"{one['event']} {one.get('member', one.get('leader'))}" for one in changes(before, after)]
    assert found == events


# --- the table


def drawn(
    rows: list[Row], height: int = 30, measured: bool = True, width: int = 100, held: Sequence[str] = ()
) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    table = LiveTable(console, measured=measured)
    table.event("something happened")
    table.show("the title", rows, held)
    with console.capture() as capture:
        console.print(table._frame)
    return capture.get()


def test_phi_and_round_trip_where_they_are_measured() -> None:
    text = drawn([Row("a", "10.0.0.1:7946", "suspect", phi=4.25, round_trip=0.0012), Row("b", "x", "alive")])
    assert "4.2" in text
    assert "1.2" in text
    assert "something happened" in text
    assert "PHI" not in drawn([Row("a", "x", "alive")], measured=False)


@pytest.mark.parametrize("width", [80, 60])
def test_tags_and_figures_give_way_to_names_states_and_the_leader(width: int) -> None:
    tags = {"role": "database", "zone": "eu-central-1b", "version": "2026.11.4"}
    names = ("db-1.eu-central.internal", "db-2.eu-central.internal")
    rows = [
        Row(name, "10.200.100.117:7946", "suspect", leader=n == 0, phi=4.5, round_trip=0.01, tags=tags)
        for n, name in enumerate(names)
    ]
    lines = Text.from_ansi(drawn(rows, width=width)).plain.splitlines()
    assert max(map(len, lines)) <= width
    for name, line in zip(names, lines[3:5], strict=True):
        assert line.split()[0].removesuffix("\N{HORIZONTAL ELLIPSIS}") in name
        assert "10.200.100.117:7946  suspect" in line
    assert "leader  " in lines[3]


def test_what_needs_a_look_is_shown_where_there_is_no_room_for_all() -> None:
    rows = [Row(f"n{i:02}", "x", "alive") for i in range(50)]
    rows += [
        Row("boss", "x", "alive", leader=True),
        Row("ill", "x", "suspect"),
        Row("me", "x", "alive", here=True),
    ]
    text = drawn(rows, height=20, held=["shard/1"])
    assert all(name in text for name in ("boss", "ill", "me"))
    assert "more (`swim members` lists all)" in text
    assert len(text.splitlines()) < 20


def test_the_names_that_the_node_holds_are_in_a_line_of_their_own() -> None:
    rows = [Row("a", "10.0.0.1:7946", "alive", here=True)]
    assert "holds" not in drawn(rows)
    names = [f"shard/{number}" for number in range(64)]
    (line,) = [each for each in drawn(rows, width=60, held=names).splitlines() if "holds" in each]
    assert line.startswith("holds 64: shard/0 shard/1 shard/2")
    assert len(line) <= 60
    assert "\x1b]" not in drawn(rows, held=["a\x1b]0;x\x07"])


def test_what_happened_is_told_to_its_end_and_room_is_left_for_what_the_terminal_echoes() -> None:
    console = Console(file=io.StringIO(), width=80, height=30, force_terminal=True)
    table = LiveTable(console, measured=False)
    table.event("earlier")
    table.event(f"! no way in by {'a' * 20} yet: {'some words ' * 10}give it the key")
    table.event("x" * 100_000)
    lines = drawn_by(table)
    assert max(map(len, lines)) <= 77
    assert any(line.startswith(" " * 12) and line.endswith("give it the key") for line in lines)
    assert 2 <= sum("xxx" in line for line in lines) <= 4, "nobody fills the screen with one line"
    assert lines[-1].endswith("x\N{HORIZONTAL ELLIPSIS}")
    for number in range(5):
        table.event(f"later {number}")
    assert "earlier" not in " ".join(drawn_by(table))
    assert sum("later" in line for line in drawn_by(table)) == 5


def drawn_by(table: LiveTable) -> list[str]:
    with table._console.capture() as capture:
        table._console.print(table._frame)
    return Text.from_ansi(capture.get()).plain.splitlines()


def test_control_characters_of_names_stay_off_the_terminal() -> None:
    assert "\x1b]" not in drawn([Row("a\x1b]0;x\x07", "x", "alive", tags={"k": "\x1b]2;y"})])


def test_warnings_are_shown_among_the_events() -> None:
    console = Console(file=io.StringIO(), width=100, height=30)
    table = LiveTable(console, measured=True)
    handler = LogLines(table)
    logger = logging.Logger("sample")
    logger.addHandler(handler)
    logger.warning("%s: no way in", "a")
    logger.info("not this")
    assert [line.partition("  ")[2] for line, _ in table._events] == ["! a: no way in"]
