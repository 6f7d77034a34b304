"""What a message costs: codec and core in microseconds, one node on real sockets, memory, simulation, import.

    python -m benchmarks.core [--nodes 128] [--rounds 50] [--seconds 5] [--quick]

- codec: bytes of one packet -> message, and back, for the packets that there are most of.
- core: a datagram in, through codec and protocol, until its answers are bytes; a member of a cluster of
  `--nodes`. No sockets, no clock.
- one node on real sockets: a process with `swim agent`, flooded with pings of a member on loopback; what it
  answers in a second, and its own CPU time for each.
- memory: what a node needs more for each member that it learns of, by tracemalloc; and what of that is not
  the member's own data: its name, address, id, and its tags as they travel.
- simulation: a world of 1,024 members at rest, with `fast`; how many seconds of a node pass in one of CPU.
- import: `import swim` beyond `import trio`, each in fresh processes.

Microseconds are the best of the rounds: what else the machine does only adds to them.
"""

from __future__ import annotations

import gc
import json
import os
import random
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks import record, show
from benchmarks.ports import HOST, Ports
from swim.config import Config
from swim.protocol.node import Node, Phase, Request
from swim.protocol.view.identity import pack_id
from swim.simulation import World
from swim.types import Address, Member
from swim.wire import Codec, Keyring, pack_host
from swim.wire.dialect import PING
from swim.wire.messages import Ack, Alive, Message, NodeState, Ping, PushPull, Suspect, WireState
from swim.wire.serf import encode_tags

__all__ = ["main"]

BATCH = 500
MEMBERS = 10_000
WORLD, WORLD_QUICK = 1_024, 128
"""Members of the simulated world."""
WORLD_SETTLE_S, WORLD_S = 35.0, 10.0
"""For half a minute a new node looks every second for others that were founded apart."""
VERSIONS = bytes((1, 5, 2, 2, 5, 4))
WINDOW = 256
"""Pings on their way at a time; the socket's buffer holds more."""

Result = dict[str, Any]


def best(action: Callable[[], object], count: int, rounds: int) -> float:
    """Microseconds for one of `count`."""
    gc.collect()
    gc.disable()
    try:
        return min(_timed(action) for _ in range(rounds)) / count * 1e6
    finally:
        gc.enable()


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


# --- codec


def samples() -> dict[str, list[Message]]:
    """Packets as they are between our own members."""
    meta = encode_tags({"role": "db", "_id": "01J0000000000000000000000A", "_boot": "abcdefgh"})
    alive = Alive("node-17", 3, bytes((10, 0, 0, 17)), 7946, meta, VERSIONS)
    return {
        "ping": [Ping(0x12345678, "node-17", sender_id=bytes(range(16)), view=bytes(8))],
        "ack": [Ack(0x12345678, sender_id=bytes(range(16)), boot=b"abcdefgh", wait_ms=4_000, bare=True)],
        "alive": [alive],
        "suspect": [Suspect("node-17", 3, "node-4")],
        "ten alive, compound": [alive] * 10,
    }


def codec_results(rounds: int) -> list[Result]:
    codecs = {"": Codec()}
    if find_spec("cryptography") is not None:
        codecs[", encrypted"] = Codec(keyring=Keyring([bytes(32)], random_bytes=os.urandom))
    found = []
    for name, messages in samples().items():
        for suffix, codec in codecs.items():
            packet = _packet(codec, messages)
            found.append(
                {
                    "part": "codec",
                    "what": name + suffix,
                    "bytes": len(packet),
                    "encode, us": best(partial(_repeat, _packet, codec, messages), BATCH, rounds),
                    "decode, us": best(partial(_repeat, codec.open_packet, packet), BATCH, rounds),
                }
            )
    return found


def _packet(codec: Codec, messages: list[Message]) -> bytes:
    return codec.packet([codec.part(message) for message in messages])


def _repeat(function: Callable[..., object], *arguments: Any) -> None:
    for _ in range(BATCH):
        function(*arguments)


# --- the core


def core_results(nodes: int, seed: int, rounds: int) -> list[Result]:
    world = World(seed)
    names = world.assemble(nodes)
    world.run(3.0)
    first, other = (world.nodes[name] for name in names[:2])
    core, now, source = first.core, first.now(), other.address
    third = world.nodes[names[2 % nodes]].core._own.record
    assert third is not None
    pings = [_packet(core.codec, [_ping(other.core, core, now)]) for _ in range(BATCH)]
    old_news = [_packet(core.codec, [third.as_alive()])] * BATCH
    cases = {"ping in, ack out": pings, "news heard before": old_news}

    def feed(packets: list[bytes]) -> None:
        for packet in packets:
            core.receive_datagram(packet, source, now)
            drain(core, now)

    found = [
        {"part": "core", "what": name, "us": best(partial(feed, packets), BATCH, rounds)}
        for name, packets in cases.items()
    ]
    return [
        *found,
        {
            "part": "core",
            "what": "own ping out, its ack in",
            "us": best(_own_ping(core, now), 1, 20 * rounds),
        },
    ]


def _ping(sender: Node, target: Node, now: float) -> Ping:
    assert sender.me.id is not None
    sender_id = pack_id(sender.me.id)
    return Ping(random.getrandbits(32), target.name, sender_id=sender_id, view=target._sync.view(now))


def drain(core: Node, now: float) -> None:
    """What a driver does after each call."""
    core.drain()


def _own_ping(core: Node, now: float) -> Callable[[], None]:
    subject = next(iter(core._probing.subjects))
    target = core._table.get(subject)
    assert target is not None
    assert target.id is not None
    assert target.boot is not None
    sender_id, boot, codec = pack_id(target.id), target.boot.encode(), core.codec

    def exchange() -> None:
        seq = core._probes.probe(target, now).seq
        drain(core, now)
        ack = Ack(seq, sender_id=sender_id, boot=boot, wait_ms=4_000, bare=True)
        core.receive_datagram(codec.packet([codec.part(ack)]), target.address, now)
        drain(core, now)

    return exchange


# --- one node on real sockets


def node_result(seconds: float) -> Result:
    """Flood one agent with pings, as a member of its cluster."""
    with closing(Ports()) as ports:
        address = Address(HOST, ports.take())
        own = Address(HOST, ports.take())
        command = [sys.executable, "-m", "swim", "agent", "--json", "--name", "target"]
        command += ["--bind", str(address)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                lines = map(json.loads, process.stdout)
                next(line for line in lines if line["event"] == "started")
                told = (line for line in lines if line["event"] == "stats")
                stats = [next(told)]
                answered = _flood(address, own, seconds)
                ended = time.monotonic()
                while stats[-1]["t"] < ended:  # however late a busy machine lets it tell
                    stats.append(next(told))
            finally:
                process.kill()
    busy = [
        (
            after["rx_packets"] - before["rx_packets"],
            after["cpu_s"] - before["cpu_s"],
            after["t"] - before["t"],
        )
        for before, after in pairwise(stats)
    ]
    # Of each second of the flood itself: the first and the last one are not whole.
    whole = sorted(busy, reverse=True)[: max(1, int(seconds) - 1)]
    each = median(cpu / packets for packets, cpu, _ in whole)
    return {
        "part": "node",
        "what": "pings answered on loopback",
        "answered": answered,
        "datagrams/s": median(packets / took for packets, _, took in whole),
        "CPU us each": each * 1e6,
        "datagrams/s of a whole core": 1 / each,
    }


def _flood(target: Address, own: Address, seconds: float) -> int:
    """Join with a core of our own and blocking sockets; then nothing but pings. Returns the acks."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as listener:
        udp.bind(own)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # former connections do no harm
        listener.bind(own)
        listener.listen()
        core = Node(
            "flooder",
            own,
            config=Config.lan(),
            codec=Codec(),
            rng=random.Random(1),
            wall=lambda now: time.time(),
        )
        core.start([target], time.monotonic())
        while core.phase is not Phase.MEMBER:
            for request in core.drain().requests:
                core.receive_answer(request.token, _exchange(core.codec, request), time.monotonic())
        assert core.me.id is not None
        sender_id, codec, left = pack_id(core.me.id), core.codec, WINDOW
        udp.settimeout(0.2)
        count, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(left):
                ping = Ping(random.getrandbits(32), "target", sender_id=sender_id)
                udp.sendto(codec.part(ping), target)
            left = _acks(udp, core)
            count += left
            left = left or WINDOW  # all were lost: begin again
        return count


def _acks(udp: socket.socket, core: Node) -> int:
    """Wait for one ack, then take all that there are. The target's pings are answered."""
    count = 0
    try:
        while count < WINDOW // 2:
            data, source = udp.recvfrom(2_048)
            if data[0] != PING:
                count += 1
                continue
            core.receive_datagram(data, Address(*source), time.monotonic())
            for answer, address in core.drain().datagrams:
                udp.sendto(answer, address)
    except TimeoutError:
        pass
    return count


def _exchange(codec: Codec, request: Request) -> Any:
    decoder = codec.stream_decoder(answering=True)
    with socket.create_connection(request.address, 5.0) as stream:
        stream.sendall(request.content)
        while data := stream.recv(65_536):
            message = decoder.feed(data)
            if message is not None:
                return message
    return None


# --- memory


def memory_result(members: int) -> Result:
    """A node learns of so many by one push/pull; those that it does not believe in answer its pings."""
    codec = Codec()
    address = Address("10.0.0.1", 7946)
    core = Node(
        "n", address, config=Config.lan(), codec=codec, rng=random.Random(1), wall=lambda now: 1.8e9 + now
    )
    core.start([], 0.0)
    states = [_state(number) for number in range(members)]
    stream = codec.stream(PushPull(tuple(states)))
    del states
    decoder = codec.stream_decoder(answering=False)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    message = decoder.feed(stream)
    assert isinstance(message, PushPull)
    core.receive_request(message, Address("10.0.0.2", 7946), 1.0)
    _introduce(core, members)
    own = sum(sys.getsizeof(node.meta) for node in message.nodes) / members
    del message, decoder
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    known = len(core.members()) - 1
    assert known == members, known
    total = (after - before) / known
    own += sum(map(_size, core.members())) / members
    return {
        "part": "memory",
        "what": f"{known:,} members with a tag",
        "bytes a member": total,
        "its own data": own,
        "bytes beyond": total - own,
    }


def _size(member: Member) -> int:
    """Name, address and id. (The tags' texts are shared, and a `Member` is made when it is asked for.)"""
    return sum(map(sys.getsizeof, (member.name, member.address, member.address.host, member.id)))


def _introduce(core: Node, members: int) -> None:
    """Until the node knows all of them: each answers for itself."""
    now = 1.0
    while core.statistics(now).members <= members and now < 60.0:
        for data, address in core.drain().datagrams:
            for ping in core.codec.open_packet(data).messages:
                if isinstance(ping, Ping):
                    ack = core.codec.packet([core.codec.part(Ack(ping.seq))])
                    core.receive_datagram(ack, address, now)
        drain(core, now)
        now += 0.01
        core.handle_timer(now)


def _state(number: int) -> NodeState:
    tags = {"role": "worker", "_id": f"01J{number:023d}", "_boot": f"{number:08d}"}
    host = pack_host(f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}")
    return NodeState(f"worker-{number}", 1, host, 7946, encode_tags(tags), WireState.ALIVE, VERSIONS)


# --- simulation


def simulation_result(members: int, seed: int) -> Result:
    """What it costs to simulate a node that has nothing to do but pings."""
    world = World(seed, fast=True, keep_events=False)
    world.assemble(members)
    world.run(WORLD_SETTLE_S)
    gc.collect()
    began = time.process_time()
    world.run(WORLD_S)
    each = (time.process_time() - began) / (members * WORLD_S)
    return {
        "part": "simulation",
        "what": f"a world of {members:,} members at rest",
        "node-seconds/s": 1 / each,
        "us for a node-second": each * 1e6,
    }


# --- import


def import_result(rounds: int) -> Result:
    statements = {"nothing": "pass", "trio": "import trio", "swim": "import trio, swim; swim.open_cluster"}
    least = {name: float("inf") for name in statements}
    for _ in range(rounds):
        for name, statement in statements.items():
            command = [sys.executable, "-c", statement]
            least[name] = min(least[name], _timed(partial(subprocess.run, command, check=True)))
    return {
        "part": "import",
        "what": "import swim, beyond trio",
        "seconds": least["swim"] - least["trio"],
        "trio, beyond the interpreter": least["trio"] - least["nothing"],
    }


# --- all of it


def _tables(results: list[Result]) -> list[Any]:
    found = []
    for part in dict.fromkeys(one["part"] for one in results):
        rows = [one for one in results if one["part"] == part]
        columns = [name for name in rows[0] if name not in ("part", "what")]
        cells = [[row["what"], *(_number(row[name]) for name in columns)] for row in rows]
        found.append(show.table(part, ("", *columns), cells))
    return found


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = record.parser("core", __doc__, seed=1)
    parser.add_argument("--nodes", type=int, default=128, help="the cluster of the core's measurements")
    parser.add_argument("--rounds", type=int, default=50, help="of which the best counts")
    parser.add_argument("--seconds", type=float, default=6.0, help="of the flood")
    args = record.parse(parser, argv)
    if args.quick:
        args.rounds, args.seconds = min(args.rounds, 10), 2.0
    if args.nodes < 3 or args.rounds < 1 or args.seconds < 2:
        parser.error("--nodes needs 3 or more, --seconds 2 or more, --rounds 1 or more")
    parts: dict[str, Callable[[], Result | list[Result]]] = {
        "codec": lambda: codec_results(args.rounds),
        "core": lambda: core_results(args.nodes, args.seed, args.rounds),
        "one node on real sockets": lambda: node_result(args.seconds),
        "memory": lambda: memory_result(1_000 if args.quick else MEMBERS),
        "simulation": lambda: simulation_result(WORLD_QUICK if args.quick else WORLD, args.seed),
        "import": lambda: import_result(max(2, args.rounds // 5)),
    }
    results: list[Result] = []
    skipped = []
    if find_spec("cryptography") is None:
        skipped.append(
            'encryption is skipped: cryptography is absent; install it with: pip install -e ".[crypto]"'
        )
    with show.progress() as bar:
        task = bar.add_task("", total=len(parts))
        for name, measure in parts.items():
            bar.update(task, description=name)
            measured = measure()
            results += measured if isinstance(measured, list) else [measured]
            bar.advance(task)
    show.console().print(*_tables(results), *skipped, sep="\n")
    print(f"recorded in {record.write(args, results=results, skipped=skipped)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
