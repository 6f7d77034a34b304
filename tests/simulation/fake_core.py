"""A core that does nothing by itself and remembers everything: for tests of the world around it."""

from __future__ import annotations

import math
from typing import Any, cast

from swim.config import Config
from swim.events import Event
from swim.protocol.node import Output, Phase, Request
from swim.simulation import World
from swim.types import Address, Member, Term


class FakeDecoder:
    def __init__(self) -> None:
        self.data = b""

    def feed(self, data: bytes) -> bytes | None:
        self.data += data
        return self.data if self.data.endswith(b".") else None


class FakeCodec:
    def stream_decoder(self, *, answering: bool) -> FakeDecoder:
        return FakeDecoder()

    def stream(self, message: bytes) -> bytes:
        return message


class FakeNode:
    """Answers `ping` with `pong`, and a stream's content with the same in capitals."""

    def __init__(self, name: str, address: Address, *, config: Config, codec: Any, **options: Any) -> None:
        self.name = name
        self.address = address
        self.config = config
        self.codec = codec
        self.rng = options["rng"]
        self.wall = options["wall"]
        self.phase = Phase.MEMBER
        self.failure = None
        self.seeds: list[Address] = []
        self.received: list[tuple[float, bytes, Address]] = []
        self.requests: list[tuple[float, Any]] = []
        self.answers: list[tuple[float, int, Any]] = []
        self.unreachable: list[tuple[float, Address]] = []
        self.timers: list[float] = []
        self.keep: list[Address] = []
        self.kernel_answers: list[tuple[float, Address]] = []
        self.closed: list[tuple[float, str]] = []
        self.order: list[str] = []
        self.deadline: float | None = None
        self.period: float | None = None
        self.peers: list[Address] = []
        self.leader: Member | None = None
        self.term: Term | None = None
        self.term_ends = -math.inf
        self.lease_ends: float | None = None
        self.floor = ""
        self.judges_alone = False
        self.id = f"{name:0>26}"
        self.boot = f"{name:0>8}"
        self.moves: list[Address] = []
        self.streamed: list[tuple[bytes, str]] = []
        self._output = Output()

    def stream_decoder(self, *, answering: bool) -> FakeDecoder:
        decoder: FakeDecoder = self.codec.stream_decoder(answering=answering)
        return decoder

    def start(self, seeds: Any, now: float) -> None:
        self.seeds = list(seeds)
        self.started = now

    def set_seeds(self, seeds: Any, now: float) -> None:
        self.seeds = list(seeds)

    def chatter(self, period: float, peers: list[Address], now: float) -> None:
        """From now on, ping all peers again and again."""
        self.period, self.peers, self.deadline = period, peers, now + period

    def send(self, data: bytes, target: Address, now: float) -> None:
        self._output.datagrams.append((data, target))

    def ask(self, token: int, target: Address, content: Any, now: float) -> None:
        self._output.requests.append(Request(token, target, content, self.codec))

    def tell(self, event: Event, now: float) -> None:
        self._output.events.append(event)

    def leave(self, now: float) -> None:
        self.phase = Phase.LEFT

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        self.received.append((now, data, source))
        self.order.append("datagram")
        if data == b"ping":
            self._output.datagrams.append((b"pong", source))

    def move(self, address: Address, now: float) -> None:
        self.address = address
        self.moves.append(address)

    def receive_refusal(self, address: Address, now: float) -> None:
        self.unreachable.append((now, address))

    def receive_request(self, message: bytes, source: Address, now: float) -> bytes | None:
        self.requests.append((now, message))
        self.order.append("request")
        return message.upper()

    def receive_answer(self, token: int, answer: Any, now: float) -> str | None:
        self.answers.append((now, token, answer))
        self.order.append("answer")
        return None

    def handle_timer(self, now: float) -> None:
        assert self.deadline is not None
        assert now >= self.deadline
        self.timers.append(now)
        self.order.append("timer")
        self.deadline = now + self.period if self.period else None
        self._output.datagrams.extend((b"ping", peer) for peer in self.peers)

    def next_deadline(self) -> float | None:
        return self.deadline

    def drain(self) -> Output:
        drained, self._output = self._output, Output()
        drained.deadline = self.deadline
        return drained

    def send_over_stream(self, data: bytes, target: Address, now: float) -> None:
        self._output.stream_packets.append((data, target))

    def receive_stream_packet(self, data: bytes, name: str, boot: str, now: float) -> None:
        self.streamed.append((data, name))

    def probe(self, address: Address, now: float) -> None:
        self._output.kernel_probes.append(address)

    def streams_to_keep(self, now: float) -> tuple[Address, ...]:
        return tuple(self.keep)

    def receive_kernel_answer(self, address: Address, now: float) -> None:
        self.kernel_answers.append((now, address))

    def receive_stream_end(self, name: str, boot: str, now: float) -> None:
        self.closed.append((now, name))

    def gave_up_alone(self, name: str) -> bool:
        return False

    @property
    def me(self) -> Member:
        return Member(self.name, self.address, self.id)

    def members(self) -> tuple[Member, ...]:
        return (self.me,)


def fake_world(seed: int = 1, names: str = "ab", **options: Any) -> World:
    """A world of idle fake nodes."""
    build: Any = FakeNode
    codec: Any = FakeCodec
    world = World(seed, build=build, codec=codec, **options)
    for name in names:
        world.add_node(name)
    return world


def core(world: World, name: str) -> FakeNode:
    fake = cast(Any, world.nodes[name].core)
    assert isinstance(fake, FakeNode)
    return fake


def send(world: World, source: str, target: str, data: bytes = b"hello") -> None:
    node = world.nodes[source]
    node.call(core(world, source).send, data, world.address(target))


def ask(world: World, source: str, target: str, content: bytes = b"what.", token: int = 1) -> None:
    node = world.nodes[source]
    node.call(core(world, source).ask, token, world.address(target), content)


def chatter(world: World, period: float = 1.0) -> None:
    """Every node pings every other."""
    for node in world.running():
        peers = [other.address for other in world.running() if other is not node]
        node.call(core(world, node.name).chatter, period, peers)
