"""The other end of a stream of messages: a node in a process of its own, which takes them as it is told.

    python -m benchmarks.messages.peer SEED count N      N messages in order, as fast as they come
    python -m benchmarks.messages.peer SEED slow RATE    so many a second
    python -m benchmarks.messages.peer SEED digest       one, whatever its size
    python -m benchmarks.messages.peer SEED bulk N       N of any size, as fast as they come
    python -m benchmarks.messages.peer SEED echo         answers requests, until a message comes; and echoes
                                                         what comes over a bare connection

Prints JSON lines.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import trio

import swim

__all__ = ["NAME", "rss_kib"]

NAME = "receiver"


def rss_kib() -> int:
    """Memory in use by this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("the kernel does not say how much memory is in use")


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


async def payloads(cluster: swim.Cluster, **more: object) -> AsyncIterator[bytes]:
    """What comes. That this node is ready is said before, with `more`."""
    async with cluster.messages() as messages:
        say(ready=True, **more)
        async for message in messages:
            if isinstance(message, swim.DirectMessage):
                yield message.payload


async def count(cluster: swim.Cluster, wanted: int) -> None:
    """Numbered messages; anything out of order ends the program."""
    expected, began, cpu = 0, 0.0, 0.0
    async for payload in payloads(cluster):
        if expected == 0:
            began, cpu = time.perf_counter(), time.process_time()
        if int(payload) != expected:
            raise SystemExit(f"message {int(payload)} where {expected} should be")
        expected += 1
        if expected == wanted:
            break
    say(seconds=time.perf_counter() - began, cpu_s=time.process_time() - cpu, count=expected)


async def slow(cluster: swim.Cluster, rate: float) -> None:
    taken = 0
    async for _ in payloads(cluster):
        taken += 1
        if taken % max(1, int(rate)) == 0:
            say(taken=taken, rss_kib=rss_kib())
        await trio.sleep(1 / rate)


async def digest(cluster: swim.Cluster) -> None:
    async for payload in payloads(cluster):
        say(size=len(payload), sha256=hashlib.sha256(payload).hexdigest())
        return


async def bulk(cluster: swim.Cluster, wanted: int) -> None:
    """Timed from the first of them: the stream is open and warm then."""
    taken, size, began = 0, 0, 0.0
    async for payload in payloads(cluster):
        if taken:
            size += len(payload)
        else:
            began = time.perf_counter()
        taken += 1
        if taken == wanted:
            break
    say(seconds=time.perf_counter() - began, bytes=size)


async def echo(cluster: swim.Cluster) -> None:
    served = 0

    async def answer(sender: swim.Member, payload: bytes) -> bytes:
        nonlocal served
        served += 1
        return payload

    async with cluster.serve("echo", answer), trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, bare_echo, 0, host="127.0.0.1"))
        cpu = time.process_time()
        async for _ in payloads(cluster, bare_port=listener.socket.getsockname()[1]):
            say(count=served, cpu_s=time.process_time() - cpu)
            nursery.cancel_scope.cancel()
            return


async def bare_echo(stream: trio.SocketStream) -> None:
    """What trio and the kernel cost by themselves."""
    async for data in stream:
        await stream.send_all(data)


async def main(seed: str, what: str, number: float) -> None:
    async with swim.open_cluster(NAME, bind="127.0.0.1:0", seeds=[seed]) as cluster:
        match what:
            case "count":
                await count(cluster, int(number))
            case "slow":
                await slow(cluster, number)
            case "digest":
                await digest(cluster)
            case "bulk":
                await bulk(cluster, int(number))
            case "echo":
                await echo(cluster)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
