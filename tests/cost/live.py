"""Hostile traffic at a real process, one of three: what becomes of its memory, and of the cluster.

A stranger sends what the cost fuzzer makes, packets and streams, from some addresses of this machine. It has
looked at the cluster, as anybody can, and uses the names, addresses and tags of the members as its own.
"""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from benchmarks.driver import open_fleet
from benchmarks.hostile import rss
from benchmarks.peers import Peer, find_peer
from swim.types import Address
from swim.wire import Codec
from swim.wire.messages import PushPull
from swim.wire.serf import decode_tags
from tests.cost.inputs import Input, Inputs
from tests.protocol.fakes import Net, Puppet

__all__ = ["REST_SECONDS", "Outcome", "attack_process"]

REST_SECONDS = 180.0
"""After the traffic, until what was made up is forgotten."""
_OTHERS = ("p0", "p1")
_PER_SECOND, _STREAMS_MAX, _HOSTS = 50.0, 8, 16
_STREAM_SECONDS = 10.0


@dataclass
class Outcome:
    """`rss`: MiB before any traffic, at most, and after a rest. `lost`: of the members, lines that say so."""

    count: int = 0
    rss: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


async def overheard(target: Address) -> list[Puppet]:
    """What a stranger is told of the members by one of them."""
    codec = Codec()
    decoder = codec.stream_decoder(answering=True)
    async with await trio.open_tcp_stream(target.host, target.port) as stream:
        await stream.send_all(codec.stream(PushPull(())))
        while (message := decoder.feed(bytes(await stream.receive_some(65_536)))) is None:
            pass
    assert isinstance(message, PushPull)
    found = []
    for node in message.nodes:
        address = Address(socket.inet_ntoa(node.address), node.port)
        boot = decode_tags(node.meta).get("_boot", "")
        if node.name in _OTHERS:
            found.append(Puppet(Net(), node.name, address=address, boot=boot, meta=node.meta))
    return found


async def send(item: Input, target: Address, host: str, socks: dict[str, socket.socket]) -> None:
    if not item.stream:
        sock = socks.setdefault(host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        if sock.getsockname()[1] == 0:
            sock.bind((host, 0))
            sock.setblocking(False)
        with suppress(OSError):
            sock.sendto(item.data, target)
        return
    with trio.move_on_after(_STREAM_SECONDS), suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*target, local_address=host) as stream:
            await stream.send_all(item.data)
            while await stream.receive_some(65_536):
                pass


async def attack_process(seed: int, seconds: float, rest: float = REST_SECONDS) -> Outcome:
    """Fifty inputs a second, or as many as this machine has time for."""
    outcome, peer = Outcome(), find_peer("swim")
    assert isinstance(peer, Peer), str(peer)
    async with open_fleet() as fleet:
        first = await fleet.start(peer, "a")
        agents = [first] + [await fleet.start(peer, name, join=[first.address]) for name in _OTHERS]
        await fleet.until_all_see(["a", *_OTHERS], seconds=90)
        await trio.sleep(5)
        own_host, _, port = first.address.rpartition(":")
        target = Address(own_host, int(port))
        inputs, rng = Inputs(seed, await overheard(target)), random.Random(seed)
        socks: dict[str, socket.socket] = {}
        await trio.sleep(5)
        before = most = rss(first)
        lines, free = len(fleet.lines), trio.CapacityLimiter(_STREAMS_MAX)

        async def say(item: Input, host: str) -> None:
            async with free:
                await send(item, target, host, socks)

        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                while first.process.poll() is None:
                    async with free:  # no more streams at a time
                        most = max(most, rss(first))
                    nursery.start_soon(say, inputs.next(), f"127.0.0.{rng.randrange(2, 2 + _HOSTS)}")
                    outcome.count += 1
                    await trio.sleep(1 / _PER_SECOND)
        for sock in socks.values():
            sock.close()
        await trio.sleep(rest)
        outcome.ended = [agent.name for agent in agents if agent.process.poll() is not None]
        after = 0.0 if first.name in outcome.ended else rss(first)
        outcome.rss = [round(value, 1) for value in (before, most, after)]
        outcome.lost = [
            f"{line['node']}: {line['event']} {line['member']}"
            for line in list(fleet.lines)[lines:]
            if line["event"] in ("dead", "leave") and line["member"] in ("a", *_OTHERS)
        ]
    return outcome
