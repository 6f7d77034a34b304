"""The chat in real pseudo-terminals, typed into by a script.

    python -m tests.chat_cluster.terminals --runs 20

Each run: people type 1,000 lines as fast as their terminals take them. Amid that one joins, one leaves, and
the leader is killed (SIGKILL); in every second run the next leader, too. Then the screens are compared.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import random
import re
import selectors
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from examples.chat_cluster.demo import free_ports
from tests.house import ROOT

__all__ = ["Room", "Seat", "storm"]

PATIENCE = 60.0
"""Seconds for anything that is waited for, on a busy machine."""
LINES = 1_000
CTRL_C, CTRL_D = "\x03", "\x04"
_STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_SHOWN = re.compile(r" *(\d+) (\w+): (.*)")


class Seat:
    """One person at a terminal."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        self.name = name
        self.said: list[str] = []
        self.output = b""
        self.status: int | None = None
        self._lines: list[str] = []
        self._parsed = 0
        self._typed = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(ROOT)
                os.execvpe(command[0], list(command), environment)
            finally:
                os._exit(127)
        self.resize(24, 80)
        os.set_blocking(self.terminal, False)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    # --- typing
    def type(self, keys: str) -> None:
        self._typed += keys.encode()

    def say(self, text: str) -> None:
        self.said.append(text)
        self.type(f"{text}\r")

    # --- reading
    def screen(self) -> list[str]:
        """All lines that were printed above the prompt, without their colours."""
        end = self.output.rfind(b"\n") + 1
        for line in self.output[self._parsed : end].decode("utf-8", "replace").split("\n")[:-1]:
            self._lines.append(_STYLE.sub("", line.rstrip("\r").rpartition("\x1b[K")[2]))
        self._parsed = end
        return self._lines

    def shows(self, text: str) -> bool:
        return any(text in line for line in self.screen())

    def transcript(self) -> list[tuple[int, str, str]]:
        """The numbered lines."""
        found = map(_SHOWN.fullmatch, self.screen())
        return [(int(match[1]), match[2], match[3]) for match in found if match]

    # --- the machinery
    def pump(self) -> None:
        """Take what the terminal has, give it what it can take."""
        with suppress(BlockingIOError):
            if self._typed:
                self._typed = self._typed[os.write(self.terminal, self._typed) :]
        with suppress(OSError):  # EIO: everybody has closed it
            while data := os.read(self.terminal, 65536):
                self.output += data

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it lives."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        self.kill()
        os.close(self.terminal)


class Room:
    """People on one machine. None is left when it is closed."""

    def __init__(self, **environment: str) -> None:
        self.seats: dict[str, Seat] = {}
        self._port = str(free_ports())
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._environment = os.environ | {"PYTHONPATH": path, "TERM": "xterm-256color"} | environment
        self._all: list[Seat] = []

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        for seat in self._all:
            seat.close()

    def sit(self, name: str, *options: str, on: Sequence[str] = ()) -> Seat:
        """Start a process, perhaps with a command in front; `enter` waits until it is a member."""
        options = options or ("--port", self._port)
        command = [*on, sys.executable, "-m", "examples.chat_cluster", name, *options]
        seat = self.seats[name] = Seat(name, command, self._environment)
        self._all.append(seat)
        return seat

    def enter(self, *names: str) -> list[Seat]:
        """These join, one after the other."""
        for name in names:
            seat = self.sit(name)
            self.until(lambda seat=seat: seat.shows("* here:"))
        return [self.seats[name] for name in names]

    def until(self, seen: Callable[[], bool]) -> None:
        """Go on until this is so."""
        deadline = time.monotonic() + PATIENCE
        while not seen():
            if time.monotonic() > deadline:
                raise AssertionError("not seen in time:\n" + self.describe())
            self.pump()

    def pump(self, seconds: float = 0.02) -> None:
        with selectors.DefaultSelector() as selector:
            for seat in self._all:
                seat.pump()
                if seat.poll() is None:
                    selector.register(seat.terminal, selectors.EVENT_READ)
            selector.select(seconds)

    def describe(self) -> str:
        """The last lines of all screens."""
        return "\n".join(
            f"--- {seat.name} ({seat.poll()}): ...\n" + "\n".join(seat.screen()[-8:]) for seat in self._all
        )


# --- the storm


def storm(seed: int, lines: int = LINES) -> str:
    """One run; what there was to see. AssertionError if a line was lost, doubled, or out of order."""
    rng = random.Random(seed)
    begun = time.monotonic()
    with Room() as room:
        people = room.enter("ann", "bob", "cid", "dan", "eve")
        half = "half a line, typed while others talk"
        room.seats["eve"].type(half)
        victims = burst(room, rng, lines, ["ann", "bob"] if seed % 2 else ["ann"])
        room.seats["eve"].type("\r")
        room.seats["eve"].said.append(half)
        dan, fay = room.seats["dan"], room.seats["fay"]
        survivors = [person for person in people if person not in (*victims, dan)]
        room.until(lambda: fay.shows("* here:"))
        fay.say("fay is here")
        expected = {(seat.name, text) for seat in [*survivors, dan, fay] for text in seat.said}
        room.until(lambda: all(covers(seat, expected) for seat in survivors))
        last = max(len(seat.transcript()) for seat in survivors)
        room.until(lambda: all(len(seat.transcript()) == last for seat in survivors))
        room.until(lambda: fay.transcript()[-1:] == survivors[0].transcript()[-1:] and dan.poll() == 0)
        judge(survivors, fay, [*victims, dan])
        for seat in [*survivors, fay]:
            seat.type(CTRL_D)
        room.until(lambda: all(seat.poll() == 0 for seat in [*survivors, fay]))
        killed = ", ".join(f"{seat.name} (had shown {len(seat.transcript())})" for seat in victims)
    seconds = time.monotonic() - begun
    return f"seed {seed}: {last} lines on {len(survivors)} screens; killed {killed}; {seconds:.1f} s"


def burst(room: Room, rng: random.Random, lines: int, leaders: list[str]) -> list[Seat]:
    """Type so many lines, and let this and that happen meanwhile; who was killed."""
    talkers = [room.seats[name] for name in ("ann", "bob", "cid", "dan")]
    kills = sorted(round(lines * rng.uniform(0.2, 0.9)) for _ in leaders)
    joins, leaves = (round(lines * rng.uniform(0.1, 0.9)) for _ in range(2))
    victims: list[Seat] = []
    typed = 0
    while typed < lines:
        person = rng.choice(talkers)
        typed += 1
        person.say(f"{person.name} says {len(person.said) + 1}")
        if typed == joins:
            room.sit("fay")
        if typed == leaves:
            room.seats["dan"].type("/leave\r")
            talkers.remove(room.seats["dan"])
        if typed in kills:
            leader = room.seats[leaders[len(victims)]]
            half = typed // 2
            room.until(lambda seat=leader, half=half: len(seat.transcript()) >= half)
            leader.kill()  # with lines on their way in both directions
            victims.append(leader)
            talkers.remove(leader)
        if typed % 10 == 0:
            room.pump(0.001)
    return victims


def covers(seat: Seat, expected: set[tuple[str, str]]) -> bool:
    return expected <= {(name, text) for _, name, text in seat.transcript()}


def judge(survivors: list[Seat], newcomer: Seat, others: list[Seat]) -> None:
    """Equal, nothing accepted lost, nothing doubled, everybody's lines in order."""
    full = survivors[0].transcript()
    assert [number for number, _, _ in full] == list(range(1, len(full) + 1)), "the numbers have no gap"
    assert len({(name, text) for _, name, text in full}) == len(full), "nothing is doubled"
    for seat in survivors:
        assert seat.transcript() == full, f"{seat.name} shows something else"
        assert [text for _, name, text in full if name == seat.name] == seat.said, f"{seat.name}'s lines"
    history = newcomer.transcript()
    assert history == full[-len(history) :], "the newcomer shows something else"
    for seat in others:  # what those who are gone saw accepted, is accepted
        shown = seat.transcript()
        assert full[: len(shown)] == shown, f"{seat.name} had seen something else"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for seed in range(given.seed, given.seed + given.runs):
        print(storm(seed), flush=True)
    print(f"{given.runs} of {given.runs} runs: nothing lost, nothing doubled, one order on all screens")


if __name__ == "__main__":
    main()
