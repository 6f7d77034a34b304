"""The chat as people see it: processes in pseudo-terminals, and with pipes."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import termios

import pyte
import pytest

from benchmarks.namespaces import open_network, why_not
from examples.chat_cluster import chat
from examples.chat_cluster.demo import free_ports
from tests.chat_cluster.terminals import CTRL_C, CTRL_D, Room, Seat, storm
from tests.house import ROOT
from tests.test_house import run_python


def display(seat: Seat, rows: int = 24, columns: int = 80) -> list[str]:
    """What stands on the terminal, without the empty lines below."""
    screen = pyte.Screen(columns, rows)
    pyte.ByteStream(screen).feed(seat.output)
    return "\n".join(line.rstrip() for line in screen.display).rstrip().split("\n")


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_leaders_in_mid_burst(seed: int) -> None:
    storm(seed, lines=300)


def test_demo() -> None:
    done = run_python("-m", "examples.chat_cluster", "--demo", seconds=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("-- all four survivors show the same ")
    assert "-- SIGKILL for ann, who leads" in done.stdout
    assert "   * bob leads" in done.stdout
    assert done.stderr == ""


def test_the_help_fits_on_an_ordinary_terminal() -> None:
    assert max(map(len, chat._HELP.splitlines())) < 80


def test_commands() -> None:
    with Room() as room:
        ann, bob = room.enter("ann", "bob")
        bob.type("/tag mood=sunny\r/leader\r/nonsense\r/msg cid hello\r/msg ann psst\r/tag\r")
        room.until(lambda: ann.shows("[bob to you] psst") and bob.shows("say it so: /tag"))
        ann.say("said before cid came")
        room.until(lambda: bob.shows("said before"))
        (cid,) = room.enter("cid")
        room.until(lambda: cid.shows("said before"))
        os.kill(bob.pid, signal.SIGKILL)
        room.until(lambda: cid.shows("bob is gone"))
        for key in ("/who", "/help", "/log"):
            cid.type(f"{key}\r")
        cid.say("hello")
        room.until(lambda: ann.shows("hello") and cid.shows("hello"))
        screen = bob.screen()
        assert "   * ann leads, and numbers the lines" in screen
        assert "   * there is no /nonsense: see /help" in screen
        assert "   * there is no cid here: see /who" in screen
        assert "[to ann] psst" in screen
        screen = cid.screen()
        assert screen[screen.index("   1 ann: said before cid came") - 1] == "   * before you came"
        roster = [line.split() for line in screen if line.startswith("  ") and " joined" in line]
        assert ["ann", "joined", "leads"] in roster
        assert ["cid", "joined"] in roster
        assert any(line.startswith("  bob ") and "gone (" in line for line in screen)
        assert "/tag KEY=VALUE    say something about yourself" in screen
        assert [text for _, _, text in cid.transcript()] == ["said before cid came"] * 2 + ["hello"]
        cid.type("/leave\r")
        room.until(lambda: ann.shows("cid left") and cid.poll() == 0)


def test_tags_and_suspects_are_in_the_roster() -> None:
    with Room() as room:
        ann, bob = room.enter("ann", "bob")
        bob.type("/tag mood=sunny\r/msg ann done\r")
        room.until(lambda: ann.shows("done"))
        ann.type("/who\r")
        room.until(lambda: ann.shows("mood=sunny"))
        os.kill(bob.pid, signal.SIGSTOP)
        room.until(lambda: ann.shows("bob does not answer"))
        ann.type("/who\r")
        room.until(lambda: ann.shows("suspected"))
        ann.say("who waits for whom?")
        room.until(lambda: b"(1 waiting)" in ann.output)
        assert not ann.transcript()
        os.kill(bob.pid, signal.SIGCONT)
        room.until(lambda: ann.shows("1 ann: who waits") and bob.shows("1 ann: who waits"))


def test_who_was_away_catches_up() -> None:
    with Room() as room:
        ann, bob, cid = room.enter("ann", "bob", "cid")
        os.kill(ann.pid, signal.SIGSTOP)  # she leads
        room.until(lambda: bob.shows("ann is gone") and cid.shows("ann is gone"))
        bob.say("ann sleeps")
        room.until(lambda: cid.shows("1 bob: ann sleeps"))
        ann.say("good morning")
        os.kill(ann.pid, signal.SIGCONT)
        room.until(lambda: all(seat.shows("2 ann: good morning") for seat in (ann, bob, cid)))
        assert ann.transcript() == bob.transcript() == cid.transcript()
        assert not ann.shows("meanwhile")


def test_the_line_that_is_typed_is_not_torn() -> None:
    with Room() as room:
        ann, bob = room.enter("ann", "bob")
        bob.type("half a li")
        for number in range(40):
            ann.say(f"line {number}")
        room.until(lambda: bob.shows("line 39") and b"half a li" in bob.output)
        room.until(lambda: display(bob)[-1] == "bob> half a li")
        lines = display(bob)
        assert lines[:-1] == [f"{number:>4} ann: line {number - 1}" for number in range(18, 41)]
        bob.resize(24, 30)
        bob.type("ne, and it is longer than the window")
        room.until(lambda: display(bob, 24, 30)[-1] == "bob> s longer than the window")
        bob.type("\x01X")
        room.until(lambda: display(bob, 24, 30)[-1].startswith("bob> Xhalf a line, and it is"))
        bob.type("\r")
        room.until(lambda: ann.shows("bob: Xhalf a line, and it is longer than the window"))


def test_ctrl_c_forgets_the_line_then_leaves() -> None:
    with Room() as room:
        ann, bob = room.enter("ann", "bob")
        before = termios.tcgetattr(bob.terminal)
        assert not before[3] & termios.ECHO
        bob.type("not to be said")
        room.until(lambda: display(bob)[-1] == "bob> not to be said")
        bob.type(CTRL_C)
        room.until(lambda: display(bob)[-1] == "bob>")
        bob.type("said\r")
        room.until(lambda: bob.shows("bob: said"))
        bob.type(CTRL_C)
        room.until(lambda: bob.poll() == 0 and ann.shows("bob left"))
        assert not ann.shows("not to be said")


def test_what_is_pasted_is_said_line_by_line() -> None:
    with Room() as room:
        ann, bob = room.enter("ann", "bob")
        bob.type("\x1b[200~" + "".join(f"pasted {number}\r" for number in range(500)) + "\x1b[201~" + CTRL_D)
        room.until(lambda: bob.poll() == 0 and ann.shows("pasted 499"))
        assert [text for _, _, text in ann.transcript()] == [f"pasted {number}" for number in range(500)]


@pytest.mark.parametrize(
    ("environment", "colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours(environment: dict[str, str], colours: bool) -> None:
    with Room(**environment) as room:
        (ann,) = room.enter("ann")
        ann.type("hello\n")
        room.until(lambda: b"hello" in ann.output.partition(b"ann: ")[2] or ann.shows("1 ann: hello"))
        assert (b"\x1b[2m" in ann.output) is colours
        assert (b"\x1b" in ann.output) is (environment.get("TERM") != "dumb")
        ann.type(CTRL_D)
        room.until(lambda: ann.poll() == 0)


def test_pipes() -> None:
    """What is piped in is said, and accepted, before it leaves."""
    text = "".join(f"line {number}\n" for number in range(1500))
    command = [sys.executable, "-m", "examples.chat_cluster", "ann", "--port", str(free_ports())]
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("   * you are ann, at 127.0.0.1:")
    assert done.stdout.splitlines()[-1500:] == [f"{n + 1:>4} ann: line {n}" for n in range(1500)]
    assert "\x1b" not in done.stdout


def test_a_nickname_that_is_taken() -> None:
    with Room() as room:
        room.enter("ann")
        other = room.sit("ann")
        room.until(lambda: other.poll() == 1 and b"\n" in other.output)
        assert " ".join(display(other)).startswith("ann: the name 'ann' is taken")


@pytest.mark.parametrize("nick", ["", "two words", "a/b", "x" * 21])
def test_no_nickname(nick: str) -> None:
    done = run_python("-m", "examples.chat_cluster", nick)
    assert done.returncode == 2
    assert "nickname" in done.stderr


def test_join_across_machines() -> None:
    """With --bind and --join, as it is done across machines."""
    port = free_ports()
    with Room() as room:
        ann = room.sit("ann", "--bind", f"127.0.0.1:{port}")
        room.until(lambda: ann.shows("* here:"))
        bob = room.sit("bob", "--bind", f"127.0.0.1:{port + 1}", "--join", f"127.0.0.1:{port}")
        bob.say("hello")
        room.until(lambda: ann.shows("1 bob: hello"))


@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
def test_two_sides_of_a_partition() -> None:
    """Each side goes on alone; when they meet again, each is shown what the other said, and nothing twice."""
    names = ["ann", "bob", "cid", "dan"]
    with open_network(names) as network, Room() as room:
        for name in names:
            options = ["--bind", f"{network.addresses[name]}:7946"]
            if name != "ann":
                options += ["--join", network.addresses["ann"]]
            seat = room.sit(name, *options, on=network.command(name))
            room.until(lambda seat=seat: seat.shows("* here:"))
        seats = list(room.seats.values())
        ann, _, cid, dan = seats
        ann.say("together")
        room.until(lambda: all(seat.shows("1 ann: together") for seat in seats))
        here, there = ("ann", "bob"), ("cid", "dan")
        network.cut([*itertools.product(here, there), *itertools.product(there, here)])
        for one, other in ((ann, cid), (cid, ann)):
            room.until(lambda one=one, other=other: one.shows(f"{other.name} is gone"))
        for seat in seats:
            seat.say(f"{seat.name} on this side")
        room.until(lambda: all(len(seat.transcript()) == 3 for seat in seats))
        network.heal()
        room.until(lambda: all(len(seat.transcript()) == 5 for seat in seats))
        dan.say("together again")
        room.until(lambda: all(seat.shows("6 dan: together again") for seat in seats))
        for seat in seats:
            assert len({line[1:] for line in seat.transcript()}) == 6
            assert seat.screen().count("   * meanwhile, on the other side") == 1
            seat.type("/log\r")
        room.until(lambda: all(len(seat.transcript()) == 12 for seat in seats))
        assert all(seat.transcript()[6:] == ann.transcript()[6:] for seat in seats)
