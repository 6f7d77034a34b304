"""The web service as it is run: replicas in processes, under load, while one is killed and one drained."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from subprocess import PIPE

import pytest
import trio

from benchmarks.ports import Ports
from tests.house import ROOT

pytest.importorskip("hypercorn", reason="needs the extra examples")
pytest.importorskip("starlette", reason="needs the extra examples")

SECONDS_MAX, POLL = 120, 0.05
QUIET_SECONDS = 1.0
"""For so long nobody must have asked a replica before it ends."""
CLIENTS, KEYS = 12, 400
REQUESTS = 300
"""In each of the phases: with three replicas, with two, and with one."""


class NotSent(Exception):
    """Nobody listens there: no request was made."""


@dataclass
class Request:
    """One that a replica has accepted, and what became of it."""

    replica: str
    path: str
    begun: float
    status: int = 0
    text: str = ""
    problem: str = ""


@dataclass
class Service:
    """Three replicas, and all that clients have asked of them."""

    processes: dict[str, trio.Process] = field(default_factory=dict)
    http: dict[str, int] = field(default_factory=dict)
    printed: dict[str, bytes] = field(default_factory=dict)
    done: list[Request] = field(default_factory=list)
    rng: random.Random = field(default_factory=partial(random.Random, 7))

    async def start(self, nursery: trio.Nursery, name: str, http: int, *options: str) -> None:
        path = str(ROOT / "examples/web_service.py")
        command = [sys.executable, path, name, "--http", f"127.0.0.1:{http}", *options]
        process = await nursery.start(partial(trio.run_process, command, stdout=PIPE, check=False))
        self.processes[name], self.http[name], self.printed[name] = process, http, b""
        nursery.start_soon(self.read, name)

    async def read(self, name: str) -> None:
        async for chunk in self.processes[name].stdout:
            self.printed[name] += chunk

    async def until_listed(self, *names: str) -> None:
        """All of these say that just these take requests."""
        for name in names:
            listed: list[str] = []
            while listed != list(names):
                await trio.sleep(POLL)
                with suppress(NotSent):
                    listed = sorted(json.loads((await get(self.http[name], "/replicas"))[1]))

    async def until_closed(self, name: str) -> None:
        with suppress(NotSent, trio.BrokenResourceError, ValueError):
            while True:
                await get(self.http[name], "/replicas")
                await trio.sleep(POLL)

    async def reporter(self, *gone: str) -> str:
        """Of those that are left the one that reports: never two."""
        while True:
            left = {name: text for name, text in self.printed.items() if name not in gone}
            if told := [name for name, text in left.items() if b" replicas have made " in text]:
                assert len(told) == 1
                return told[0]
            await trio.sleep(POLL)

    async def use(self) -> None:
        """A client: it asks a replica which there are, and one of these for a picture, again and again."""
        known = list(self.http)
        while True:
            await trio.lowlevel.checkpoint()
            with trio.fail_after(SECONDS_MAX, shield=True):  # what was begun is counted, too
                listing = await self.ask(self.rng.choice(known), "/replicas")
                known = sorted(json.loads(listing)) if listing else list(self.http)
                await self.ask(self.rng.choice(known), f"/pictures/key-{self.rng.randrange(KEYS)}")

    async def ask(self, replica: str, path: str) -> str:
        """What it answers; nothing if it does not."""
        request = Request(replica, path, trio.current_time())
        try:
            request.status, request.text = await get(self.http[replica], path)
        except NotSent:
            return ""
        except (trio.BrokenResourceError, ValueError) as error:
            request.problem = repr(error)
        self.done.append(request)
        return request.text

    async def more(self) -> None:
        """Until some more requests are done."""
        wanted = len(self.done) + REQUESTS
        while len(self.done) < wanted:  # noqa: ASYNC110
            await trio.sleep(POLL)


async def get(port: int, path: str) -> tuple[int, str]:
    """Status and body, by a connection of its own. Raises ValueError if it ends before the answer does."""
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        raise NotSent from None
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join([chunk async for chunk in stream])
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError(f"no whole answer: {answer!r}")
    return int(head.split()[1]), body.decode()


@asynccontextmanager
async def open_service() -> AsyncIterator[Service]:
    with trio.fail_after(SECONDS_MAX), closing(Ports()) as ports:
        service, first = Service(), f"127.0.0.1:{ports.take()}"
        async with trio.open_nursery() as nursery:
            await service.start(nursery, "a", ports.take(), "--bind", first)
            await service.start(nursery, "b", ports.take(), "--join", first)
            await service.start(nursery, "c", ports.take(), "--join", first)
            await service.until_listed("a", "b", "c")
            yield service
            nursery.cancel_scope.cancel()


@pytest.mark.long
async def test_only_what_is_in_flight_at_the_dead_replica_fails_and_a_drained_one_fails_nothing() -> None:
    async with open_service() as service, trio.open_nursery() as clients:
        for _ in range(CLIENTS):
            clients.start_soon(service.use)
        await service.more()
        calm, victim = len(service.done), await service.reporter()
        service.processes[victim].kill()
        await service.processes[victim].wait()
        dead = trio.current_time()
        await service.more()
        drained = await service.reporter(victim)
        service.processes[drained].terminate()
        told = trio.current_time()
        await service.until_closed(drained)
        assert trio.current_time() > told + QUIET_SECONDS, "clients have time to go elsewhere"
        assert await service.processes[drained].wait() == 0
        await service.more()
        last = await service.reporter(victim, drained)
        clients.cancel_scope.cancel()
    failed = [request for request in service.done if request.status != 200]
    assert [one for one in failed if one.replica != victim or one.begun > dead] == []
    assert len(failed) <= CLIENTS
    assert {request.replica for request in service.done[-CLIENTS:]} == {last}
    assert_that_one_makes_each_picture(service.done[:calm])


def assert_that_one_makes_each_picture(requests: list[Request]) -> None:
    """The same one, whichever is asked, while the replicas are the same."""
    made: dict[str, set[str]] = {}
    for request in requests:
        if request.path != "/replicas":
            made.setdefault(request.path, set()).add(request.text)
    assert all(len(texts) == 1 for texts in made.values())
    makers = {texts.pop().split()[-1] for texts in made.values()}
    assert makers == {"a", "b", "c"}
