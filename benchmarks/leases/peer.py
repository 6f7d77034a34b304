"""One process that uses leases on names: swim, or a client of etcd or ZooKeeper. It does what it reads.

    python -m benchmarks.leases.peer swim NAME SEED,.. VOTER,..
    python -m benchmarks.leases.peer etcd|zookeeper NAME SERVER,..

Prints JSON lines, with times of CLOCK_MONOTONIC. Orders, one a line:

    alone COUNT        acquire a free name so many times: how long each took
    turns COUNT        the same, of one name that other processes use as well: when each use began and ended
    rate SECONDS TASKS as many as go, each task with a name of its own
    own COUNT          offer itself for so many shards: when each function began and ended
    leave              leave the cluster
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import trio

import swim

__all__ = ["main"]

TTL_S = 120
"""Longer than any of this takes: an etcd lease is not kept alive here."""


def say(event: str, **fields: object) -> None:
    print(json.dumps({"t": time.monotonic(), "event": event, **fields}), flush=True)


# --- swim


async def orders() -> AsyncIterator[list[str]]:
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        yield line.split()


async def swim_node(name: str, seeds: list[str], voters: list[str]) -> None:
    async with swim.open_cluster(name, bind="127.0.0.1:0", seeds=seeds, voters=voters) as cluster:
        say("bound", address=str(cluster.address))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_leader, cluster)
            async for order, *arguments in orders():
                if order == "leave":
                    await cluster.leave()
                    say("left")
                elif order == "own":
                    nursery.start_soon(own, cluster, int(arguments[0]))
                else:
                    await LOCKS[order](cluster, *map(float, arguments))
            nursery.cancel_scope.cancel()


async def tell_leader(cluster: swim.Cluster) -> None:
    async with cluster.events() as events:
        async for event in events:
            if isinstance(event, swim.Snapshot | swim.LeaderChanged) and event.leader is not None:
                say("leader", leader=event.leader.name)


async def alone(cluster: swim.Cluster, count: float) -> None:
    seconds = []
    for number in range(int(count)):
        began = time.perf_counter()
        async with cluster.hold(f"{cluster.name}/{number % 10}"):
            seconds.append(time.perf_counter() - began)
    say("alone", seconds=seconds)


async def turns(cluster: swim.Cluster, count: float) -> None:
    uses = []
    for _ in range(int(count)):
        async with cluster.hold("one"):
            began = time.monotonic()
            await trio.sleep(0.001)
            uses.append((began, time.monotonic()))
    say("turns", uses=uses)


async def rate(cluster: swim.Cluster, seconds: float, tasks: float) -> None:
    count, end = 0, trio.current_time() + seconds

    async def use(number: int) -> None:
        nonlocal count
        while trio.current_time() < end:
            async with cluster.hold(f"{cluster.name}/{number}"):
                count += 1

    cpu = time.process_time()
    async with trio.open_nursery() as nursery:
        for number in range(int(tasks)):
            nursery.start_soon(use, number)
    say("rate", count=count, cpu_s=time.process_time() - cpu)


LOCKS: dict[str, Callable[..., Awaitable[None]]] = {"alone": alone, "turns": turns, "rate": rate}


async def own(cluster: swim.Cluster, count: int) -> None:
    async def serve(lease: swim.Lease) -> None:
        say("begin", shard=lease.name, token=lease.token)
        try:
            await trio.sleep_forever()
        finally:
            say("end", shard=lease.name)

    with contextlib.suppress(trio.ClosedResourceError):
        await cluster.run_shards([f"shard/{number}" for number in range(count)], serve)


# --- etcd


class Etcd:
    """The lock service of etcd, by its JSON gateway: what a Python program without gRPC uses."""

    def __init__(self, server: str) -> None:
        self._connection = http.client.HTTPConnection(server, timeout=30.0)
        self._lease = self.ask("/v3/lease/grant", TTL=TTL_S)["ID"]

    def ask(self, path: str, **fields: Any) -> dict[str, Any]:
        self._connection.request("POST", path, json.dumps(fields))
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[None]:
        key = self.ask("/v3/lock/lock", name=base64.b64encode(name.encode()).decode(), lease=self._lease)[
            "key"
        ]
        try:
            yield
        finally:
            self.ask("/v3/lock/unlock", key=key)


# --- ZooKeeper


class Zookeeper:
    """kazoo's lock, as its documentation has it."""

    def __init__(self, server: str) -> None:
        from kazoo.client import KazooClient

        self._kazoo = KazooClient(hosts=server, timeout=TTL_S)
        self._kazoo.start()

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[None]:
        with self._kazoo.Lock(f"/{name}"):
            yield


CLIENTS: dict[str, type[Etcd | Zookeeper]] = {"etcd": Etcd, "zookeeper": Zookeeper}


def client(kind: str, name: str, servers: list[str]) -> None:
    server = servers[sum(name.encode()) % len(servers)]
    locks = CLIENTS[kind](server)
    say("bound", address=name)
    for line in sys.stdin:
        order, *arguments = line.split()
        if order == "alone":
            seconds = []
            for number in range(int(arguments[0])):
                began = time.perf_counter()
                with locks.hold(f"{name}/{number % 10}"):
                    seconds.append(time.perf_counter() - began)
            say("alone", seconds=seconds)
        elif order == "turns":
            uses = []
            for _ in range(int(arguments[0])):
                with locks.hold("one"):
                    began = time.monotonic()
                    time.sleep(0.001)
                    uses.append((began, time.monotonic()))
            say("turns", uses=uses)
        elif order == "rate":
            client_rate(kind, name, server, float(arguments[0]), int(arguments[1]))


def client_rate(kind: str, name: str, server: str, seconds: float, tasks: int) -> None:
    counts, clients = [0] * tasks, [CLIENTS[kind](server) for _ in range(tasks)]
    end = time.monotonic() + seconds

    def use(number: int) -> None:
        while time.monotonic() < end:
            with clients[number].hold(f"{name}/{number}"):
                counts[number] += 1

    cpu = time.process_time()
    threads = [threading.Thread(target=use, args=(number,)) for number in range(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say("rate", count=sum(counts), cpu_s=time.process_time() - cpu)


def main() -> None:
    kind, name, servers, *more = sys.argv[1:]
    if kind in CLIENTS:
        client(kind, name, servers.split(","))
    else:
        seeds = list(filter(None, servers.split(",")))
        trio.run(swim_node, name, seeds, list(filter(None, more[0].split(","))))


if __name__ == "__main__":
    main()
