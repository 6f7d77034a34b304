"""A scene with five processes: the leader is killed in mid-conversation, and nobody misses a line.

The processes are what people run, with pipes in place of terminals. What is printed is the screen of one of
them. At the end the screens of all survivors are compared; the exit status tells what came of it.
"""

from __future__ import annotations

import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

__all__ = ["free_ports", "play"]

_TIME_LIMIT = 60.0
_PORTS = 16
_PACE = 0.15
_BURST = 20
_CAST = ("ann", "bob", "cid", "dan", "eve")
_WATCHED = "eve"
_SHOWN = re.compile(r" *(\d+) (\w+): (.*)")
_BEFORE = (
    ("ann", "hello everybody"),
    ("bob", "hi ann! who is the server here?"),
    ("cid", "nobody. ann came first, so she numbers our lines"),
    ("dan", "and when she goes?"),
    ("eve", "let us see. All talk at once, please"),
)
_AFTER = (
    ("bob", "did anybody miss anything?"),
    ("cid", "not a line"),
    ("eve", "and the numbers go on where they were"),
)


@dataclass
class Actor:
    """One process, what it was told to say, and what its screen shows."""

    name: str
    process: trio.Process
    said: list[str] = field(default_factory=list)
    screen: list[str] = field(default_factory=list)

    async def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.said.append(text)
        await self.process.stdin.send_all(f"{text}\n".encode())

    def is_member(self) -> bool:
        return any(line.startswith("   * here:") for line in self.screen)

    def transcript(self) -> list[tuple[int, str, str]]:
        """The numbered lines on its screen."""
        found = map(_SHOWN.fullmatch, self.screen)
        return [(int(match[1]), match[2], match[3]) for match in found if match]


class _Scene:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.cast: dict[str, Actor] = {}
        self._nursery = nursery
        self._port = str(free_ports())
        self._heard = trio.lowlevel.ParkingLot()

    async def play(self) -> str:
        """The verdict."""
        for name in _CAST:
            actor = await self._enter(name)
            await self._until(actor.is_member)
        for name, text in _BEFORE:
            await self.cast[name].say(text)
            await trio.sleep(_PACE)
        await self._all_talk()
        survivors = [actor for actor in self.cast.values() if actor.name != "ann"]
        await self._until(lambda: all("   * bob leads" in actor.screen for actor in survivors))
        for name, text in _AFTER:
            await self.cast[name].say(text)
            await trio.sleep(_PACE)
        await self._until(lambda: all(_complete(actor.transcript(), survivors) for actor in survivors))
        return _judge(self.cast["ann"], survivors) + await self._exit(survivors)

    async def _enter(self, name: str) -> Actor:
        command = [sys.executable, "-m", "examples.chat_cluster", name, "--port", self._port]
        # A session of its own: Ctrl-C is ours to deal with.
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        actor = self.cast[name] = Actor(name, process)
        self._nursery.start_soon(self._watch, actor)
        return actor

    async def _watch(self, actor: Actor) -> None:
        """Follow its screen."""
        rest = b""
        assert actor.process.stdout is not None
        async for data in actor.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                actor.screen.append(line.decode())
                if actor.name == _WATCHED:
                    print(actor.screen[-1], flush=True)
            self._heard.unpark_all()

    async def _all_talk(self) -> None:
        """Everybody at once; and amid that the leader is killed."""
        for number in range(_BURST):
            for actor in self.cast.values():
                if actor.process.returncode is None:
                    await actor.say(f"{number + 1} of {_BURST}")
            await trio.sleep(0.01)
            if number == _BURST // 2:
                print("-- SIGKILL for ann, who leads", flush=True)
                self.cast["ann"].process.kill()
                await self.cast["ann"].process.wait()

    async def _exit(self, actors: list[Actor]) -> str:
        for actor in actors:
            assert actor.process.stdin is not None
            await actor.process.stdin.aclose()
        statuses = [await actor.process.wait() for actor in actors]
        return "" if not any(statuses) else f"exit statuses {statuses}. "

    async def _until(self, seen: Callable[[], bool]) -> None:
        while not seen():
            await self._heard.park()


def _complete(transcript: list[tuple[int, str, str]], survivors: list[Actor]) -> bool:
    return len([entry for entry in transcript if entry[1] != "ann"]) >= sum(len(a.said) for a in survivors)


def _judge(victim: Actor, survivors: list[Actor]) -> str:
    """What is wrong with the screens; nothing, if all is well."""
    first = survivors[0].transcript()
    problems = ""
    for actor in survivors:
        mine = actor.transcript()
        if mine != first[-len(mine) :]:
            problems += f"{actor.name} shows another transcript than {survivors[0].name}. "
        if [text for _, name, text in first if name == actor.name] != actor.said:
            problems += f"not every line of {actor.name} is there once and in order. "
    if lost := [entry for entry in victim.transcript() if entry not in first]:
        problems += f"accepted and lost: {lost}. "
    if [number for number, _, _ in first] != list(range(1, len(first) + 1)):
        problems += "the numbers are not 1, 2, 3, ... "
    return problems


def free_ports() -> int:
    """The first of a row of ports that nobody has: people who chat on this machine are not disturbed."""
    while True:
        first = random.randrange(20_000, 30_000)
        try:
            for port in range(first, first + _PORTS):
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first


async def play() -> int:
    """Play the scene; the exit status."""
    verdict = "interrupted"
    scene: _Scene | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def stop_on_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(stop_on_signal)
            scene = _Scene(nursery)
            try:
                with trio.move_on_after(_TIME_LIMIT) as scope:
                    verdict = await scene.play()
                if scope.cancelled_caught:
                    verdict = f"not done within {_TIME_LIMIT:g} s"
            finally:
                with trio.CancelScope(shield=True):
                    for actor in scene.cast.values():  # none is left behind, whatever happened
                        actor.process.kill()
                        await actor.process.wait()
            nursery.cancel_scope.cancel()
    if verdict:
        print(f"-- FAILED: {verdict}")
        return 1
    lines = len(scene.cast[_WATCHED].transcript())
    print(f"-- all four survivors show the same {lines} lines: none lost, none twice, one order")
    return 0
