"""What one hostile socket does to a cluster of five, swim's and memberlist's, by the same bytes.

    python -m benchmarks.hostile [--peers swim,memberlist] [--rows deaths,members] [--after 60]

For each row: processor seconds of the attacked node, and of all five; how long at most it did not answer a
ping (asked every 25 ms by another process, see `waits`), and how long of that was no wait for a core; how
long a newcomer needs that joins through the attacked node a second later; whom anybody suspected or gave up;
which processes ended; its memory before, at most and so many seconds `--after` the row, in MiB. The row
`nothing` says what of all that is the pings and the newcomer. `calls` are the connections that the nodes have
opened to an address that a stranger has named.
"""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import sys
import time
from argparse import Namespace as Arguments
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from subprocess import PIPE

import trio

from benchmarks import record
from benchmarks.compressing import compress
from benchmarks.driver import ROOT, Agent, Fleet, drive, open_fleet
from benchmarks.peers import Peer, find_peers
from swim.protocol.view.identity import mint_id
from swim.types import Address
from swim.wire import Codec, Keyring, pack_host
from swim.wire.addresses import pack_places
from swim.wire.dialect import pack
from swim.wire.messages import Ack, NodeState, Ping, PushPull, PushPullHead, WireState
from swim.wire.serf import SerfType, encode_message, encode_tags

_VERSIONS = {"swim": bytes((1, 5, 2, 2, 5, 5)), "memberlist": bytes((1, 5, 2, 0, 0, 0))}
_LOOK_INTERVAL = 0.1
_STREAM_SECONDS = 30.0
_FLOOD_SECONDS = 60
_OTHERS = ("b", "c", "d", "e")
_STRANGE_HOST = "127.77.0.1"
_KEY = "2b7e151628aed2a6abf7158809cf4f3c"
_OPTIONS = {"half-sent": ("--key", _KEY)}
"""Of the agents in a row."""

Place = tuple[str, int]
Attack = Callable[[Place], Awaitable[None]]
"""What is done to the node there. It is made before, so that the time for that is nobody's."""


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


async def say(target: Place, data: bytes, host: str | None = None) -> bytes:
    """One stream: all of it, and read until the end."""
    answer = b""
    with trio.move_on_after(_STREAM_SECONDS), suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*target, local_address=host) as stream:
            await stream.send_all(data)
            while more := await stream.receive_some(65_536):
                answer += more
    return answer


def saying(data: bytes, times: int = 1, host: str | None = None) -> Attack:
    """On so many streams at once."""

    async def attack(target: Place) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(times):
                nursery.start_soon(say, target, data, host)

    return attack


def one_time(peer: Peer, count: int) -> Attack:
    node = made_up(peer, 1, WireState.DEAD)
    return saying(compress(Codec().stream(PushPull(tuple(node), user_state=events(count)))))


def empty_entries(peer: Peer) -> Attack:
    return saying(compress(b"\x06" + pack({"Nodes": 65_536}) + b"\x80" * 65_536), times=100)


async def empty_compounds(target: Place) -> None:
    empty = bytes((7, 0))
    part = bytes((7, 255)) + len(empty).to_bytes(2, "big") * 255 + empty * 255
    packet = bytes((7, 1)) + len(part).to_bytes(2, "big") + part
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(6_000):
            sock.sendto(packet, target)
            await trio.sleep(0.005)


def whole_state(peer: Peer, count: int, state: WireState) -> Attack:
    return saying(Codec().stream(PushPull(tuple(made_up(peer, count, state)))))


async def half_sent(target: Place) -> None:
    """Seven streams a second that send one of 16 MiB, and then nothing more."""
    data = bytes((10,)) + (16 << 20).to_bytes(4, "big") + bytes(1 << 20)
    async with trio.open_nursery() as nursery:
        for _ in range(7 * int(_STREAM_SECONDS)):
            nursery.start_soon(say, target, data, _STRANGE_HOST)
            await trio.sleep(1 / 7)
        nursery.cancel_scope.cancel()


async def silent(target: Place) -> None:
    """A thousand connections from as many addresses."""
    async with trio.open_nursery() as nursery:
        for n in range(1_000):
            nursery.start_soon(say, target, b"", f"127.77.{n >> 8}.{n & 255}")


async def named(target: Place) -> None:
    """A stream that says where to look for a member, for as long as the others of a row take."""
    calls.clear()
    (listener,) = await trio.open_tcp_listeners(0, host=_STRANGE_HOST)
    place = Address(*listener.socket.getsockname()[:2])
    head = PushPullHead("x", b"bootboot", 9, lost=pack_places([("x", place)], 99))
    gone = NodeState("x", 1, pack_host(place.host), place.port, b"", WireState.DEAD, b"")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, _called, [listener])
        await say(target, Codec().stream(PushPull((gone,), head=head)))
        await trio.sleep(_FLOOD_SECONDS)
        nursery.cancel_scope.cancel()


calls: list[float] = []
"""When an address was connected to that a stranger has named."""


async def _called(stream: trio.SocketStream) -> None:
    calls.append(time.monotonic())
    await stream.aclose()


def namesakes(peer: Peer) -> Attack:
    """One entry for each node, of a later process elsewhere, that answers pings."""

    async def attack(target: Place) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((_STRANGE_HOST, 0))
            sock.setblocking(False)
            host, port = sock.getsockname()
            tags = encode_tags(
                {"_boot": "namesake", "_id": mint_id(int(time.time() * 1000), random.Random(1))}
            )
            nodes = [
                NodeState(name, 9, pack_host(host), port, tags, WireState.ALIVE, _VERSIONS[peer.kind])
                for name in ("a", *_OTHERS)
            ]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_answer_pings, sock)
                await say(target, Codec().stream(PushPull(tuple(nodes))))
                await trio.sleep(_STREAM_SECONDS)
                nursery.cancel_scope.cancel()

    return attack


async def _answer_pings(sock: socket.socket) -> None:
    waiting, codec = trio.socket.from_stdlib_socket(sock), Codec()
    while True:
        data, source = await waiting.recvfrom(2_000)
        for message in codec.open_packet(data).messages:
            if isinstance(message, Ping):
                await waiting.sendto(codec.part(Ack(message.seq, boot=b"namesake", bare=True)), source)


async def flood(target: Place) -> None:
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


def _knock(target: Place) -> socket.socket:
    """Opens a connection and says nothing; it ends when it is forgotten."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    with suppress(OSError):
        sock.connect(target)
    return sock


async def nothing(target: Place) -> None:
    """What the pings and the newcomer cost."""
    await trio.sleep(_STREAM_SECONDS)


ROWS: dict[str, Callable[[Peer], Attack]] = {
    "nothing": lambda peer: nothing,
    "events-4096": lambda peer: one_time(peer, 4_096),
    "events-32768": lambda peer: one_time(peer, 32_768),
    "entries": empty_entries,
    "compounds": lambda peer: empty_compounds,
    "deaths": lambda peer: whole_state(peer, 30_000, WireState.DEAD),
    "members": lambda peer: whole_state(peer, 60_000, WireState.ALIVE),
    "flood": lambda peer: flood,
    "half-sent": lambda peer: half_sent,
    "silent": lambda peer: silent,
    "named": lambda peer: named,
    "namesakes": namesakes,
}


WHAT = {
    "nothing": "nothing: pings and a newcomer",
    "events-4096": "a compressed state of 12 KB with 4,096 events under one time",
    "events-32768": "one of 91 KB with 32,768",
    "entries": "100 compressed states of 480 bytes with 65,536 empty entries",
    "compounds": "200 packets of compounds of empty compounds a second, 30 s",
    "deaths": "a state with 30,000 made-up deaths",
    "members": "a state with 60,000 made-up members",
    "flood": "each second 10,000 pings, 5,000 packets of rubbish, 200 connections, 60 s",
    "half-sent": "7 streams a second, each 1 of 16 MiB, with keys, 30 s",
    "silent": "1,000 silent connections from many addresses",
    "named": "a stream that names an address to call",
    "namesakes": "an entry for each node of a later process elsewhere, which answers pings",
}
"""Each row in words."""


@asynccontextmanager
async def pinging(agent: Agent, ping: bytes) -> AsyncIterator[dict[str, float]]:
    """Asks all the time, until the end of the block; then the outcome of `waits` is there."""
    host, _, port = agent.address.rpartition(":")
    words = ["-m", "benchmarks.waits", host, port, ping.hex(), str(agent.process.pid)]
    process = await trio.lowlevel.open_process([sys.executable, *words], stdin=PIPE, stdout=PIPE, cwd=ROOT)
    assert process.stdin is not None
    assert process.stdout is not None
    outcome = dict[str, float]()
    try:
        yield outcome
        await process.stdin.aclose()
        outcome |= json.loads(b"".join([chunk async for chunk in process.stdout]))
    finally:
        process.kill()
        await process.wait()


async def watch_memory(agent: Agent, sizes: list[float]) -> None:
    while agent.process.poll() is None:
        sizes.append(rss(agent))
        await trio.sleep(_LOOK_INTERVAL)


def cpu(agent: Agent) -> float:
    with open(f"/proc/{agent.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(agent: Agent) -> float:
    """MiB."""
    with open(f"/proc/{agent.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def newcomer(
    fleet: Fleet, peer: Peer, seed: str, options: tuple[str, ...], joined: list[float]
) -> None:
    """How long one needs, from its start, to see all and be seen by all."""
    await trio.sleep(1)
    begun = time.monotonic()
    await fleet.start(peer, "new", join=[seed], options=options)
    with suppress(TimeoutError):
        await fleet.until_all_see(["new", *_OTHERS], seconds=50)
        joined.append(time.monotonic() - begun)


async def row(fleet: Fleet, peer: Peer, name: str, after: float) -> dict[str, object]:
    options = _OPTIONS.get(name, ())
    first = await fleet.start(peer, "a", options=options)
    join = [first.address]
    agents = [first] + [await fleet.start(peer, other, join=join, options=options) for other in _OTHERS]
    await fleet.until_all_see(["a", *_OTHERS], seconds=90)
    host, _, port = first.address.rpartition(":")
    target = (host, int(port))
    attack = ROWS[name](peer)
    joined: list[float] = []
    sizes: list[float] = []
    keyring = Keyring([bytes.fromhex(_KEY)], random_bytes=os.urandom) if options else None
    codec = Codec(keyring=keyring)
    async with pinging(first, codec.packet([codec.part(Ping(1))])) as waits:
        await trio.sleep(3)
        begun, lines, before = [cpu(agent) for agent in agents], len(fleet.lines), rss(first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_memory, first, sizes)
            nursery.start_soon(newcomer, fleet, peer, first.address, options, joined)
            await attack(target)
            await trio.sleep(after)
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
        "longest wait": waits["longest"],
        "longest stall": waits["stall"],
        "newcomer": round(joined[0], 2) if joined else None,
        "told": told,
        "ended": [agent.name for agent in agents if agent not in alive],
        "calls": len(calls) if name == "named" else None,
        "rss": [round(before, 1), round(max(sizes), 1), round(rss(first), 1) if first in alive else None],
    }


async def run(args: Arguments, peers: list[Peer], skipped: list[str]) -> None:
    results: list[dict[str, object]] = []
    versions = {peer.kind: peer.version for peer in peers}
    for name in args.rows.split(","):
        for peer in peers:
            async with open_fleet() as fleet:
                results.append(await row(fleet, peer, name, args.after))
            print(results[-1], flush=True)
            record.write(args, results=results, versions=versions, skipped=skipped)


def main(argv: Sequence[str] | None = None) -> int:
    parser = record.parser("hostile", __doc__)
    parser.add_argument("--peers", default="swim,memberlist")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--after", type=float, default=60.0, help="seconds to watch after each row")
    args = record.parse(parser, argv)
    if args.quick:
        args.rows, args.after = "nothing,deaths", 5.0
    record.check_known(parser, "row", args.rows.split(","), list(ROWS))
    peers, skipped = find_peers(args.peers)
    if not peers:
        return 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    drive(run, args, peers, skipped)
    return 0


if __name__ == "__main__":
    sys.exit(main())
