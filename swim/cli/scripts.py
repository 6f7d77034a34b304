"""`--on EVENT=COMMAND`: a command of the shell for each such event, with its fields in the environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import trio

from swim.cli.report import as_json

__all__ = ["EVENTS", "QUERY", "Rule", "Scripts", "environment_of", "parse_rules"]

EVENTS = (
    *("bound", "started", "join", "update", "suspect", "recover", "dead", "leave", "leader", "leading"),
    *("held-off", "message", "error"),
)
"""Those of the agent's lines for which a script can be run; `*` is all of them."""
QUERY = "query:"
"""Before the name of a query, in a rule whose script answers it."""
_ANSWER_MAX, _ANSWERS_AT_ONCE = 65_536, 8
_WAITING_MAX = 256
_SECONDS_MAX = 60.0
_VALUE_MAX = 4_096
"""Bytes of one field in the environment, which has little room; standard input has the whole event."""
_LAST_WORDS = 0.5
"""Seconds until the pipes of one that has ended are closed: a child that it has left behind may hold them."""
_WORDS_MAX = 500
"""Bytes that are told of what a failed script has said."""

Rule = tuple[str, str]
"""An event and a command."""


def parse_rules(texts: Sequence[str]) -> list[Rule]:
    """`EVENT=COMMAND` each. Raises ValueError."""
    rules = []
    for text in texts:
        event, equals, command = text.partition("=")
        if not equals or not command.strip():
            raise ValueError(f"{text!r} is not EVENT=COMMAND")
        if event not in (*EVENTS, "*") and not event.startswith(QUERY):
            known = ", ".join(EVENTS)
            raise ValueError(f"there is no event {event!r}; there are: {known}, {QUERY}NAME, and * for all")
        rules.append((event, command))
    return rules


class ScriptFailed(Exception):
    """What the one that has asked is told."""


class Scripts:
    """Those of one process. Each rule runs one script at a time, in the order of its events."""

    def __init__(self, rules: Sequence[Rule], failed: Callable[[str, str], None]) -> None:
        """`failed(node, text)` tells what went wrong; nothing is run for the lines of that."""
        self._failed = failed
        self._answering = trio.CapacityLimiter(_ANSWERS_AT_ONCE)
        self._rules = [(event, command, *_queue()) for event, command in rules]

    def offer(self, fields: Mapping[str, Any]) -> None:
        """Something was reported. Never waits: what is too much for a rule is told and left out."""
        for event, command, queue, _ in self._rules:
            if fields["event"] == event or (event == "*" and fields["event"] in EVENTS):
                try:
                    queue.send_nowait(fields)
                except trio.WouldBlock:
                    text = f"--on {event}: {_WAITING_MAX} events wait for {command!r}: one is left out"
                    self._failed(str(fields["node"]), text)

    @property
    def queries(self) -> list[str]:
        """The names of those that a script answers."""
        events = dict.fromkeys(event for event, _, _, _ in self._rules)
        return [event.removeprefix(QUERY) for event in events if event.startswith(QUERY)]

    async def answer(self, fields: Mapping[str, Any]) -> bytes:
        """What the first rule for the query `fields["name"]` writes to standard output.

        Raises `ScriptFailed`.
        """
        wanted = f"{QUERY}{fields['name']}"
        command = next(command for event, command, _, _ in self._rules if event == wanted)
        output = bytearray()
        async with self._answering:
            problem = await _run(command, fields, output)
        if problem is not None:
            self._failed(str(fields["node"]), f"--on {wanted}: {command!r} {problem}")
            raise ScriptFailed("its script failed; the agent there says how")
        return bytes(output)

    async def run(self) -> None:
        """Until cancelled: then what still runs is killed."""
        async with trio.open_nursery() as nursery:
            for event, command, _, waiting in self._rules:
                nursery.start_soon(self._obey, event, command, waiting)

    async def _obey(
        self, event: str, command: str, waiting: trio.MemoryReceiveChannel[Mapping[str, Any]]
    ) -> None:
        async for fields in waiting:
            problem = await _run(command, fields)
            if problem is not None:
                self._failed(str(fields["node"]), f"--on {event}: {command!r} {problem}")


def _queue() -> tuple[
    trio.MemorySendChannel[Mapping[str, Any]], trio.MemoryReceiveChannel[Mapping[str, Any]]
]:
    return trio.open_memory_channel[Mapping[str, Any]](_WAITING_MAX)


async def _run(command: str, fields: Mapping[str, Any], output: bytearray | None = None) -> str | None:
    """What went wrong, if anything. `output` takes the beginning of what it writes to standard output."""
    try:
        process = await trio.lowlevel.open_process(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if output is None else subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment_of(fields),
            start_new_session=True,  # a group of its own, so that its children end with it
        )
    except OSError as error:
        return f"cannot be run: {error.strerror or error}"
    words = bytearray()
    try:
        with trio.move_on_after(_SECONDS_MAX) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_feed, process, as_json(dict(fields)).encode() + b"\n")
                nursery.start_soon(_listen, process.stderr, words)
                if output is not None:
                    nursery.start_soon(_collect, process.stdout, output)
                await process.wait()
                nursery.cancel_scope.deadline = trio.current_time() + _LAST_WORDS
    finally:
        await _end(process)
    if scope.cancelled_caught:
        return f"was killed, after {_SECONDS_MAX:.0f} s"
    if process.returncode == 0:
        return None
    last = (words.decode(errors="replace").strip().splitlines() or [""])[-1]
    return f"ended with status {process.returncode}" + (f": {last}" if last else ", and said nothing")


async def _feed(process: trio.Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it need not read
        async with process.stdin:
            await process.stdin.send_all(data)


async def _listen(pipe: trio.abc.ReceiveStream | None, words: bytearray) -> None:
    assert pipe is not None
    async for data in pipe:
        words += data
        del words[:-_WORDS_MAX]


async def _collect(pipe: trio.abc.ReceiveStream | None, output: bytearray) -> None:
    assert pipe is not None
    async for data in pipe:
        output += data[: _ANSWER_MAX - len(output)]


async def _end(process: trio.Process) -> None:
    """Whatever is left of it, and of what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with trio.CancelScope(shield=True):
        await process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                await pipe.aclose()


def environment_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """`SWIM_MEMBER=b` and so on. What others chose is data there, and never a part of the command."""
    found = {}
    for name, value in fields.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if len(text.encode("utf-8", "surrogateescape")) <= _VALUE_MAX and "\0" not in text:
            found[f"SWIM_{name.upper()}"] = text
    return found
