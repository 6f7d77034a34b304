"""What one hostile socket does to a cluster of five, swim's and memberlist's, by the same bytes.

    python -m benchmarks.hostile [--peers swim,memberlist] [--rows deaths,members]

For each row: processor seconds of the attacked node, and of all five; how long at most it did not answer a
ping (asked every 10 ms from outside; on a busy machine its wait for a core counts as well); how long a
newcomer needs that joins through the attacked node a second later; whom anybody suspected or gave up; which
processes ended; its memory before, at most and a minute after, in MiB.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import trio

from benchmarks.compressing import compress
from benchmarks.driver import Agent, Fleet, drive, open_fleet
from benchmarks.peers import Peer, find_peers
from swim.wire import Codec, pack_host
from swim.wire.dialect import pack
from swim.wire.messages import NodeState, Ping, PushPull, WireState
from swim.wire.serf import SerfType, encode_message

_VERSIONS = {"swim": bytes((1, 5, 2, 2, 5, 5)), "memberlist": bytes((1, 5, 2, 0, 0, 0))}
_PING_INTERVAL = 0.01
_STREAM_SECONDS = 30.0
_FLOOD_SECONDS = 60
_OTHERS = ("b", "c", "d", "e")

Row = Callable[[Peer, tuple[str, int]], Awaitable[None]]


def made_up(peer: Peer, count: int, state: WireState) -> list[NodeState]:
    """Members that nobody has, at addresses of this machine where nobody listens."""
    versions = _VERSIONS[peer.kind]
    return [
        NodeState(f"m{n}", 1, pack_host(f"127.77.{n >> 8}.{n & 255}"), 9, b"", state, versions)
        for n in range(count)
    ]


def events(count: int) -> bytes:
    """A user state with so many events under one time."""
    inner = [{"Name": "e", "Payload": b"%d" % n} for n in range(count)]
    body = {"EventLTime": 8, "Events": [{"Events": inner, "LTime": 7}], "LTime": 1, "LeftMembers": []}
    return encode_message(SerfType.PUSH_PULL, body | {"QueryLTime": 1, "StatusLTimes": {}})


async def say(target: tuple[str, int], data: bytes) -> None:
    """One stream: all of it, and read until the end."""
    with trio.move_on_after(_STREAM_SECONDS), suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*target) as stream:
            await stream.send_all(data)
            while await stream.receive_some(65_536):
                pass


async def one_time(peer: Peer, target: tuple[str, int], count: int) -> None:
    node = made_up(peer, 1, WireState.DEAD)
    await say(target, compress(Codec().stream(PushPull(tuple(node), user_state=events(count)))))


async def empty_entries(peer: Peer, target: tuple[str, int]) -> None:
    data = compress(b"\x06" + pack({"Nodes": 65_536}) + b"\x80" * 65_536)
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(say, target, data)


async def empty_compounds(peer: Peer, target: tuple[str, int]) -> None:
    empty = bytes((7, 0))
    part = bytes((7, 255)) + len(empty).to_bytes(2, "big") * 255 + empty * 255
    packet = bytes((7, 1)) + len(part).to_bytes(2, "big") + part
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(6_000):
            sock.sendto(packet, target)
            await trio.sleep(0.005)


async def deaths(peer: Peer, target: tuple[str, int]) -> None:
    nodes = made_up(peer, 30_000, WireState.DEAD)
    await say(target, Codec().stream(PushPull(tuple(nodes))))


async def members(peer: Peer, target: tuple[str, int]) -> None:
    nodes = made_up(peer, 60_000, WireState.ALIVE)
    await say(target, Codec().stream(PushPull(tuple(nodes))))


async def flood(peer: Peer, target: tuple[str, int]) -> None:
    """For a minute, each second: 10,000 pings, 5,000 packets of rubbish, 200 connections."""
    ping, rng = Codec().part(Ping(1)), random.Random(1)
    rubbish = [rng.randbytes(rng.randint(1, 400)) for _ in range(100)]
    opened = deque[socket.socket](maxlen=100)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        begun, sent = time.monotonic(), 0
        while sent < _FLOOD_SECONDS * 200:
            while sent < (time.monotonic() - begun) * 200:
                for packet in [ping] * 50 + rng.choices(rubbish, k=25):
                    with suppress(OSError):
                        sock.sendto(packet, target)
                opened.append(_knock(target))
                sent += 1
            await trio.sleep(0.005)
    for each in opened:
        each.close()


def _knock(target: tuple[str, int]) -> socket.socket:
    """Opens a connection and says nothing; it ends when it is forgotten."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    with suppress(OSError):
        sock.connect(target)
    return sock


ROWS: dict[str, Row] = {
    "events-4096": lambda peer, target: one_time(peer, target, 4_096),
    "events-32768": lambda peer, target: one_time(peer, target, 32_768),
    "entries": empty_entries,
    "compounds": empty_compounds,
    "deaths": deaths,
    "members": members,
    "flood": flood,
}


@contextmanager
def pinging(target: tuple[str, int], waits: list[float]) -> Iterator[Callable[[], Awaitable[None]]]:
    """Asks all the time; `waits`: how long each answer took that was awaited."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)

        async def ask() -> None:
            waiting = trio.socket.from_stdlib_socket(sock)
            ping = Codec().part(Ping(1))
            while True:
                begun = time.monotonic()
                await waiting.sendto(ping, target)
                with trio.move_on_after(5) as patience:
                    await waiting.recv(2_000)
                waits.append(5.0 if patience.cancelled_caught else time.monotonic() - begun)
                await trio.sleep(_PING_INTERVAL)

        yield ask


def cpu(agent: Agent) -> float:
    with open(f"/proc/{agent.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(agent: Agent) -> float:
    """MiB."""
    with open(f"/proc/{agent.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def newcomer(fleet: Fleet, peer: Peer, seed: str, joined: list[float]) -> None:
    """How long one needs, from its start, to see all and be seen by all."""
    await trio.sleep(1)
    begun = time.monotonic()
    await fleet.start(peer, "new", join=[seed])
    with suppress(TimeoutError):
        await fleet.until_all_see(["new", *_OTHERS], seconds=50)
        joined.append(time.monotonic() - begun)


async def row(fleet: Fleet, peer: Peer, name: str, after: float) -> dict[str, object]:
    first = await fleet.start(peer, "a")
    agents = [first] + [await fleet.start(peer, other, join=[first.address]) for other in _OTHERS]
    await fleet.until_all_see(["a", *_OTHERS], seconds=90)
    await trio.sleep(3)
    host, _, port = first.address.rpartition(":")
    target = (host, int(port))
    waits: list[float] = []
    joined: list[float] = []
    begun, lines = [cpu(agent) for agent in agents], len(fleet.lines)
    before = most = rss(first)
    with pinging(target, waits) as ask:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(newcomer, fleet, peer, first.address, joined)
            await ROWS[name](peer, target)
            for _ in range(int(after)):
                await trio.sleep(1)
                if first.process.poll() is None:
                    most = max(most, rss(first))
            nursery.cancel_scope.cancel()
    alive = [agent for agent in agents if agent.process.poll() is None]
    used = [cpu(agent) - at for agent, at in zip(agents, begun, strict=True) if agent in alive]
    told = [
        f"{line['node']} {line['event']} {line['member']}"
        for line in list(fleet.lines)[lines:]
        if line["event"] in ("suspect", "dead") and line["member"] in ("a", *_OTHERS)
    ]
    return {
        "peer": peer.kind,
        "row": name,
        "cpu": round(used[0], 2) if alive and alive[0] is first else None,
        "cpu of all": round(sum(used), 2),
        "longest wait": round(max(waits), 3),
        "newcomer": round(joined[0], 2) if joined else None,
        "told": told,
        "ended": [agent.name for agent in agents if agent not in alive],
        "rss": [round(before, 1), round(most, 1), round(rss(first), 1) if first in alive else None],
    }


async def run(peers: list[Peer], rows: list[str], after: float) -> None:
    for name in rows:
        for peer in peers:
            async with open_fleet() as fleet:
                print(await row(fleet, peer, name, after), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", default="swim,memberlist")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--after", type=float, default=60.0, help="seconds to watch after each row")
    options = parser.parse_args()
    peers, _ = find_peers(options.peers)
    drive(run, peers, options.rows.split(","), options.after)


if __name__ == "__main__":
    main()
