"""Four workers on this machine, one job, two deaths: is every result in the report, exactly once?"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import trio

from examples.work_queue.kinds import PRIMES_STEP, ranges

T = TypeVar("T")
SECONDS_MAX = 60
WORKER_DIES, LEADER_DIES = 0.25, 0.5


class Unseen(Exception):
    """Something that the demo is to show did not happen."""


@dataclass
class Process:
    """A node, and what it has printed so far."""

    process: trio.Process
    lines: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        member = self.find(r".* \((.*)\) is a member; .*")
        assert member is not None
        return member[1]

    def find(self, pattern: str) -> re.Match[str] | None:
        """The newest line that looks like this."""
        return next(filter(None, (re.fullmatch(pattern, line) for line in reversed(self.lines))), None)


class NodeGroup:
    """Nodes in processes of their own. `module`: which Python runs."""

    def __init__(self, nursery: trio.Nursery, module: str = "examples.work_queue") -> None:
        self._nursery = nursery
        self._module = module
        self._begun = time.monotonic()
        self._news = trio.Event()

    async def start(self, name: str, *arguments: str) -> Process:
        """A node; returns when it is a member."""
        node = await self.launch(name, *arguments)
        await self.until(f"{name} is a member", lambda: node.find(r".* is a member; .*") is not None)
        return node

    async def launch(self, name: str, *arguments: str) -> Process:
        command = [sys.executable, "-m", self._module, "--name", name, *arguments]
        run = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
        node = Process(await self._nursery.start(run))
        self._nursery.start_soon(self._read, node)
        return node

    async def _read(self, node: Process) -> None:
        assert node.process.stdout is not None
        rest = b""
        async for chunk in node.process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            node.lines += [line.decode() for line in lines]
            self._news.set()
            self._news = trio.Event()

    async def until(self, what: str, seen: Callable[[], bool]) -> None:
        with trio.move_on_after(SECONDS_MAX):
            while not seen():
                await self._news.wait()
            return
        raise Unseen(f"{what}: not within {SECONDS_MAX} s")

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._begun:6.2f} s  {text}", flush=True)


def demo(tasks: int, runs: int, calm: bool) -> list[float]:
    """How long the job took in each of the runs, up to the first that was not right."""
    seconds = trio.run(unless_signalled, repeat, tasks, runs, calm)
    if seconds is None:
        sys.exit("interrupted; all processes are stopped")
    return seconds


async def unless_signalled(function: Callable[..., Awaitable[T]], *arguments: Any) -> T | None:
    """What the function returns; None if SIGINT or SIGTERM came first, and then it has been cancelled."""
    result = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def wait_for_signal() -> None:
                await anext(signals)
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait_for_signal)
            result = await function(*arguments)
            nursery.cancel_scope.cancel()
    return result


async def repeat(tasks: int, runs: int, calm: bool) -> list[float]:
    seconds: list[float] = []
    for number in range(1, runs + 1):
        print(f"-- {number} of {runs}: how many primes are there below {tasks * PRIMES_STEP:,}?")
        with tempfile.TemporaryDirectory() as folder:
            async with trio.open_nursery() as nursery:
                try:
                    seconds.append(await play(NodeGroup(nursery), Path(folder) / "report.jsonl", tasks, calm))
                except Unseen as error:
                    print("NOT SEEN:", error)
                    return seconds
                finally:
                    nursery.cancel_scope.cancel()  # ends the processes: they leave on SIGTERM
    if runs > 1:
        speed = f"{median(seconds):.2f} s, {tasks / median(seconds):,.0f} tasks/s"
        print(f"-- {speed} in the median; {max(seconds):.2f} s at worst")
    return seconds


async def play(group: NodeGroup, report: Path, tasks: int, calm: bool) -> float:
    """How long the job took."""
    one = await group.start("w1")
    join = ("--join", one.address)
    two = await group.start("w2", *join)
    three = await group.start("w3", *join)
    four = await group.start("w4", *join, "--report", str(report), "primes", str(tasks * PRIMES_STEP))
    group.say(f"w1 leads w2, w3 and w4, who brings {tasks:,} tasks")

    def done(share: float) -> bool:
        progress = four.find(r"primes-\w+: (\d+) of \d+")
        return progress is not None and int(progress[1]) >= share * tasks

    def summary() -> re.Match[str] | None:
        return four.find(r"primes-\w+: (.* in (.*) s, .*tasks/s.*)")

    if not calm:
        await group.until("a quarter is done", lambda: done(WORKER_DIES))
        two.process.kill()
        group.say("SIGKILL for w2, a worker")
        await group.until("half is done", lambda: done(LEADER_DIES))
        one.process.kill()
        group.say("SIGKILL for w1, the leader")
        await group.until("another one leads", lambda: three.find("w3 leads") is not None)
        group.say("w3 leads; w1 is started again")
        await group.start("w1", "--join", three.address)
    await group.until("the job is finished", lambda: summary() is not None)
    found = summary()
    assert found is not None
    group.say(found[1])
    check(report, tasks)
    group.say(f"the report has {tasks:,} results, each exactly once, and all are right")
    return float(found[2])


def check(report: Path, tasks: int) -> None:
    end = tasks * PRIMES_STEP
    sieve = bytearray([0, 0]) + bytearray([1]) * (end - 2)
    for divisor in range(2, int(end**0.5) + 1):
        sieve[divisor * divisor :: divisor] = bytes(len(range(divisor * divisor, end, divisor)))
    below = [0, *accumulate(sieve)]
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    if [line["task"] for line in lines] != list(ranges([str(end)])):
        raise Unseen("every task exactly once in the report")
    for line in lines:
        start, stop = map(int, line["task"].split("-"))
        if line["result"] != below[stop] - below[start]:
            raise Unseen(f"the right result of {line['task']}")
