"""Nodes of the work queue in processes of their own, and what they print."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import trio

SECONDS_MAX = 120


@dataclass
class Process:
    """A node, and what it has printed so far."""

    process: trio.Process
    lines: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        member = self.find(r".*: a member, at (.*)")
        assert member is not None
        return member[1]

    def find(self, pattern: str) -> re.Match[str] | None:
        """The newest line that looks like this."""
        return next(filter(None, (re.fullmatch(pattern, line) for line in reversed(self.lines))), None)


class NodeGroup:
    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._news = trio.Event()

    async def start(self, name: str, *arguments: str) -> Process:
        """A node; returns when it is a member."""
        node = await self.launch(name, *arguments)
        await self.until(f"{name} is a member", lambda: node.find(r".*: a member, at .*") is not None)
        return node

    async def launch(self, name: str, *arguments: str) -> Process:
        command = [sys.executable, "-m", "examples.work_queue", "--name", name, *arguments]
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
        raise AssertionError(f"{what}: not within {SECONDS_MAX} s")
