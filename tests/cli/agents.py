"""`swim` as a process of its own, for the tests: started, read, told, and surely ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0
"""Seconds for what takes about one on a machine that is not busy."""

Line = dict[str, Any]


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


def swim(
    *arguments: str, stdin: str | bytes = b"", seconds: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "swim", *arguments],
        env=environment(),
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Agent:
    """`swim agent --json`, and all lines that it has printed."""

    def __init__(
        self,
        name: str,
        *options: str,
        join: str = "",
        bind: str = "127.0.0.1:0",
        through: Sequence[str] = (),
    ) -> None:
        """`through` is a command that runs it, such as `nohup`."""
        self.name = name
        self.lines: list[Line] = []
        self._changed = threading.Condition()
        self._silent = False
        command = [*through, sys.executable, "-m", "swim", "agent", "--json", "--profile", "local"]
        self.process = subprocess.Popen(
            [*command, "--name", name, "--bind", bind, "--join", join, *options],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.errors = b""
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            with self._changed:
                self.lines.append(json.loads(raw))
                self._changed.notify_all()
        with self._changed:
            self._silent = True
            self._changed.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()

    def all(self, event: str, **fields: Any) -> list[Line]:
        """The lines of this event that have these fields."""
        return [line for line in self.lines if line["event"] == event and fields.items() <= line.items()]

    def wait(self, event: str, *, after: int = 0, **fields: Any) -> Line:
        """The first such line, from the line number `after` on."""

        def found() -> Line | None:
            new = (line for line in self.lines[after:] if line["event"] == event)
            return next((line for line in new if fields.items() <= line.items()), None)

        with self._changed:
            self._changed.wait_for(lambda: self._silent or found() is not None, PATIENCE)
            line = found()
        quiet = [line for line in self.lines if line["event"] != "stats"]
        assert line is not None, f"{self.name} did not print {event} {fields}: {quiet} {self.errors!r}"
        return line

    @property
    def address(self) -> str:
        address = self.wait("started")["address"]
        assert isinstance(address, str)
        return address

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def ended(self) -> int:
        """Its exit status, all of its output having been read."""
        status = self.process.wait(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        return status

    def close(self) -> None:
        self.process.kill()
        self.ended()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


@contextmanager
def agents() -> Iterator[Callable[..., Agent]]:
    """Yields a function that starts agents; none of them outlives the block."""
    started: list[Agent] = []

    def start(name: str, *options: str, **more: str) -> Agent:
        agent = Agent(name, *options, **more)
        started.append(agent)
        return agent

    try:
        yield start
    finally:
        for agent in started:
            agent.close()


def children_of(pid: int) -> list[int]:
    """The living processes that this one has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def alive(pids: Sequence[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def terminate(agent: Agent) -> int:
    agent.process.send_signal(signal.SIGTERM)
    return agent.ended()
