"""A few real nodes on a fake wire, in virtual time; and puppets, which say what a test wants said.

net = Net()
a, b = net.cluster("a", "b")        # two nodes in one cluster
net.run(3)                          # three seconds
puppet = net.puppet("p")            # an address without a node behind it
puppet.tell("a", Suspect("b", 1, "p"))
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, overload

from swim.config import Config
from swim.events import Event
from swim.messages import Broadcast
from swim.protocol.base.outbox import Query, Reply, Verdict
from swim.protocol.exchange.sync import answer_to
from swim.protocol.leadership.post import digest_people
from swim.protocol.node import Node, Phase, Request
from swim.protocol.view.identity import mint_id
from swim.protocol.view.table import VOTERS_TAG, encode_meta
from swim.types import Address, MemberState
from swim.wire import Codec, pack_host
from swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    LeaderMessage,
    Message,
    NodeState,
    ObserverKind,
    ObserverMessage,
    Ping,
    PushPull,
    PushPullHead,
    Standing,
    StreamMessage,
    WireState,
)

T = TypeVar("T")

EPOCH = 1_700_000_000.0
DELAY = 0.001
REPEAT_S = 0.2
"""After so long TCP sends again what was not acknowledged, then after twice as long, and so on."""
SERF = bytes((1, 5, 2, 2, 5, 5))
PLAIN = bytes((1, 5, 2, 0, 0, 0))
"""A plain memberlist: it has no delegate."""
STUCK = 2_000
"""Timer calls at one instant before we say that time stands still."""


def address_of(name: str) -> Address:
    """Where the node of this name lives: one host for each, all in 10/8."""
    number = int.from_bytes(name.encode()[:3].rjust(3, b"\0"), "big")
    return Address(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 7946)


@dataclass(frozen=True)
class Sent:
    """One datagram on the wire."""

    when: float
    source: Address
    target: Address
    data: bytes

    @property
    def messages(self) -> tuple[Message, ...]:
        return Codec().open_packet(self.data).messages


@dataclass
class Process:
    """A node and what a driver keeps for it."""

    node: Node
    events: list[Event] = field(default_factory=list)
    broadcasts: list[Broadcast] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    paused_until: float = 0.0


class Net:
    """The wire between nodes: a delay, links that can be cut, hosts that can be lost."""

    def __init__(self, *, seed: int = 1, **config: Any) -> None:
        self.now = 100.0
        self.rng = random.Random(seed)
        self.config = Config(**config)
        self.codec = Codec()
        self.sent: list[Sent] = []
        self.streamed: list[Sent] = []
        """The packets that went over streams."""
        self.requested: list[tuple[float, str, Address]] = []
        self.lossy = 0.0
        """Of datagrams."""
        self.streams_work = True
        """Packets over kept streams arrive."""
        self.streams_repeat = False
        """As TCP does: what is cut off arrives some time after that is over."""
        self._processes: dict[Address, Process] = {}
        self._puppets: dict[Address, Puppet] = {}
        self._lost: set[Address] = set()
        self._cut: set[tuple[str, str]] = set()
        self._udp_cut: set[tuple[str, str]] = set()
        self.skews: dict[str, float] = {}
        """How far wall clocks are off that have been set since."""
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    # --- who is there

    def make(self, name: str, *, skew: float = 0.0, config: Config | None = None, **options: Any) -> Node:
        """A node that is not started. `skew`: how far its wall clock is off."""
        address = options.pop("address", None) or address_of(name)
        node = Node(
            name,
            address,
            config=config or self.config,
            codec=self.codec,
            rng=random.Random(self.rng.getrandbits(64)),
            wall=lambda now: EPOCH + now + self.skews.get(name, skew),
            **options,
        )
        self._processes[address] = Process(node)
        self._lost.discard(address)
        return node

    def start(self, name: str, seeds: str | Iterable[Address] = "", **options: Any) -> Node:
        """A node that begins to join; `seeds` are the names of nodes, one letter each, or addresses."""
        node = self.make(name, **options)
        node.start([address_of(seed) if isinstance(seed, str) else seed for seed in seeds], self.now)
        self.drain(node)
        return node

    def cluster(self, *names: str, **options: Any) -> list[Node]:
        """Nodes in one cluster, in the order of joining; the first has founded it and leads."""
        nodes = list[Node]()
        for name in names:
            nodes.append(self.start(name, names[0] if nodes else "", **options))
            self.run_until(lambda: nodes[-1].phase is Phase.MEMBER, 5)
        self.run_until(lambda: all(len(node.members()) == len(names) for node in nodes), 5)
        self.run(0.5)
        return nodes

    def puppet(self, name: str, **options: Any) -> Puppet:
        puppet = Puppet(self, name, **options)
        self._puppets[puppet.address] = puppet
        return puppet

    def node(self, name: str) -> Node:
        return next(p.node for p in self._processes.values() if p.node.name == name)

    @overload
    def events(self, node: Node, kind: type[T]) -> list[T]: ...
    @overload
    def events(self, node: Node, kind: tuple[type, ...] = ...) -> list[Any]: ...
    def events(self, node: Node, kind: type | tuple[type, ...] = object) -> list[Any]:
        """What was reported by this node so far, of one kind or of some."""
        return [event for event in self._processes[node.address].events if isinstance(event, kind)]

    def output(self, node: Node) -> Process:
        """What was put out by this node so far, for people and for its application."""
        return self._processes[node.address]

    def take_broadcasts(self, node: Node) -> list[Broadcast]:
        """What was broadcast since this was last asked."""
        self.drain(node)
        process = self._processes[node.address]
        taken, process.broadcasts = process.broadcasts, []
        return taken

    def forget_events(self) -> None:
        for process in self._processes.values():
            process.events.clear()

    def believes(self, node: Node, name: str) -> MemberState | None:
        """The state of a member in a node's view; None for absent ones, whatever became of them."""
        return next((member.state for member in node.members() if member.name == name), None)

    # --- what happens to them

    def lose_host(self, node: Node) -> None:
        """The host is lost: silence."""
        del self._processes[node.address]
        self._lost.add(node.address)

    def kill(self, node: Node, *, quietly: bool = False) -> None:
        """The process ends; its host's kernel closes its streams, unless `quietly`, and refuses packets."""
        del self._processes[node.address]
        mine = node.streams_to_keep(self.now)
        for process in list(self._processes.values()):
            other = process.node
            kept = other.address in mine or node.address in other.streams_to_keep(self.now)
            if kept and not quietly and self.passes(node.address, other.address):
                self.end_stream(other, node, after=DELAY)

    def end_stream(self, node: Node, other: Node, *, after: float = 0.0) -> None:
        """A node reads the end of the stream that it had with another."""
        name, boot, address = other.name, other.boot, node.address
        self.after(
            after, lambda: self._call(address, lambda node: node.receive_stream_end(name, boot, self.now))
        )

    def move(self, node: Node, address: Address) -> None:
        """Its host has another address from now on, and the process has noticed."""
        self._processes[address] = self._processes.pop(node.address)
        self._lost.add(node.address)
        node.move(address, self.now)
        self.drain(node)

    def pause(self, node: Node, seconds: float) -> None:
        self._processes[node.address].paused_until = self.now + seconds

    def paused(self, node: Node) -> bool:
        process = self._processes.get(node.address)
        return process is not None and process.paused_until > self.now

    def cut(self, source: str, target: str) -> None:
        """Nothing passes from the nodes named by the letters of one text to those of the other."""
        self._cut |= {(a, b) for a in source for b in target}

    def block_udp(self, source: str, target: str) -> None:
        """As `cut`, but streams pass."""
        self._udp_cut |= {(a, b) for a in source for b in target}

    def split(self, *sides: str) -> None:
        for side in sides:
            for other in sides:
                if side != other:
                    self.cut(side, other)

    def heal(self) -> None:
        self._cut.clear()
        self._udp_cut.clear()

    def passes(self, source: Address, target: Address) -> bool:
        """Does a datagram?"""
        if self.lossy and self.rng.random() < self.lossy:
            return False
        return self._passes(source, target, self._cut | self._udp_cut)

    def _passes(self, source: Address, target: Address, cut: set[tuple[str, str]]) -> bool:
        return (self._name(source), self._name(target)) not in cut

    def _name(self, address: Address) -> str:
        process = self._processes.get(address)
        return process.node.name if process else str(address)

    # --- the wire

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + seconds, self._count, action))

    def deliver(self, data: bytes, source: Address, target: Address) -> None:
        """A datagram arrives."""
        puppet = self._puppets.get(target)
        if puppet is not None:
            puppet.receive(data, source)
            return
        process = self._processes.get(target)
        if process is None:
            if target not in self._lost and source in self._processes:
                self._call(source, lambda node: node.receive_refusal(target, self.now))
            return
        self._call(target, lambda node: node.receive_datagram(data, source, self.now))

    def _flow(self, data: bytes, sender: Node, target: Address, wait: float = REPEAT_S) -> None:
        if self._passes(sender.address, target, self._cut):
            self.after(DELAY, lambda: self._deliver_streamed(data, sender, target))
        elif self.streams_repeat:
            self.after(wait, lambda: self._flow(data, sender, target, 2 * wait))

    def _deliver_streamed(self, data: bytes, sender: Node, target: Address) -> None:
        name, boot = sender.name, sender.boot
        self._call(target, lambda node: node.receive_stream_packet(data, name, boot, self.now))

    def _call(self, address: Address, action: Callable[[Node], object]) -> None:
        """Now, or when the process runs again."""
        process = self._processes.get(address)
        if process is None:
            return
        if process.paused_until > self.now:
            self.after(process.paused_until - self.now, lambda: self._call(address, action))
            return
        action(process.node)
        self.drain(process.node)

    def drain(self, node: Node) -> None:
        """What a driver does after every call."""
        process = self._processes.get(node.address)
        if process is None or process.node is not node:
            return
        output = node.drain()
        for _, fault in output.faults:
            raise fault
        process.events += output.events
        process.broadcasts += output.broadcasts
        process.queries += output.queries
        process.replies += output.replies
        process.warnings += output.warnings
        process.verdicts += output.verdicts
        for data, target in output.datagrams:
            self.sent.append(Sent(self.now, node.address, target, data))
            if self.passes(node.address, target):
                self.after(DELAY, lambda d=data, t=target: self.deliver(d, node.address, t))
        for data, target in output.stream_packets:
            self.streamed.append(Sent(self.now, node.address, target, data))
            if self.streams_work:
                self._flow(data, node, target)
        for probed in output.kernel_probes:
            self._probe_kernel(node.address, probed)
        for request in output.requests:
            self.requested.append((self.now, node.name, request.address))
            self._open_stream(node, request)
        if node.phase in (Phase.LEFT, Phase.FAILED):
            del self._processes[node.address]
            self._ended = process

    def _probe_kernel(self, source: Address, target: Address) -> None:
        """A kernel answers whatever its process does; without a process it refuses."""
        there_and_back = (source, target), (target, source)
        if target in self._lost or not all(self._passes(*way, self._cut) for way in there_and_back):
            return
        runs = target in self._processes or target in self._puppets
        verb = Node.receive_kernel_answer if runs else Node.receive_refusal
        self.after(2 * DELAY, lambda: self._call(source, lambda node: verb(node, target, self.now)))

    def _open_stream(self, node: Node, request: Request) -> None:
        if request.address in self._lost or not self._passes(node.address, request.address, self._cut):
            self._finish(node, request, None, self.config.stream_timeout)
        else:
            self.after(DELAY, lambda: self._connect(node, request))

    def _connect(self, node: Node, request: Request) -> None:
        target = request.address
        if target in self._puppets:
            answer = self._puppets[target].serve(read(request.content))
        elif target in self._processes:
            process = self._processes[target]
            if process.paused_until > self.now:
                self.after(process.paused_until - self.now, lambda: self._connect(node, request))
                return
            answer = process.node.receive_request(read(request.content), node.address, self.now)
            self.drain(process.node)
        else:
            answer = None
        if answer is None:
            self._finish(node, request, ConnectionRefusedError("nobody listens"), DELAY)
        elif self._passes(target, node.address, self._cut):
            self._finish(node, request, read(answer, answering=True), DELAY)
        else:
            self._finish(node, request, None, self.config.stream_timeout)

    def _finish(
        self, node: Node, request: Request, outcome: StreamMessage | Exception | None, delay: float
    ) -> None:
        def finish() -> None:
            if self._processes.get(node.address) not in (None, self._ended):
                self._call(node.address, lambda node: node.receive_answer(request.token, outcome, self.now))

        self.after(delay, finish)

    _ended: Process | None = None

    # --- time

    def run(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds)

    def run_until(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Go on until something is so; False if it was not within these seconds."""
        end = self.now + seconds
        timers, since = 0, self.now
        while not reached():
            due = self._next()
            if due is None or due[0] > end:
                self.now = end
                return reached()
            when, process = due
            self.now = max(self.now, when)
            if process is None:
                heapq.heappop(self._queue)[2]()
                continue
            timers, since = (timers + 1, since) if since == self.now else (0, self.now)
            assert timers < STUCK, f"{process.node.name}: the deadline does not advance past {since}"
            process.node.handle_timer(self.now)
            self.drain(process.node)
        return True

    def _next(self) -> tuple[float, Process | None] | None:
        """When what is next, and whose timer it is; what arrives goes before timers."""
        soonest: tuple[float, Process | None] | None = None
        if self._queue:
            soonest = (self._queue[0][0], None)
        for process in self._processes.values():
            deadline = process.node.next_deadline()
            if deadline is not None:
                deadline = max(deadline, process.paused_until)
                if soonest is None or deadline < soonest[0]:
                    soonest = (deadline, process)
        return soonest

    def message(
        self, author: Node, to: Node, kind: ObserverKind, about: Node, **fields: Any
    ) -> ObserverMessage:
        """What a node says to another, as it says it."""
        who: dict[str, Any] = {"author": author.name, "boot": author.boot.encode(), "to": to.boot.encode()}
        who |= {"process": about.boot.encode(), "count": author._freshness.next_count()}
        return ObserverMessage(kind, about.name, about.me.incarnation, **{**who, **fields})

    def tell(self, node: Node, message: Message, source: Address) -> None:
        """One message arrives at once."""
        node.receive_datagram(self.codec.part(message), source, self.now)
        self.drain(node)

    # --- what was said

    def said(
        self, kind: type[T], *, by: Node | None = None, to: Address | None = None
    ) -> list[tuple[Sent, T]]:
        """All messages of one kind on the wire so far."""
        return [
            (sent, message)
            for sent in self.sent
            if (by is None or sent.source == by.address) and (to is None or sent.target == to)
            for message in sent.messages
            if isinstance(message, kind)
        ]


class Puppet:
    """An address that does what the test says, and a member if the test makes it one.

    It answers pings unless `mute`. Without `own` it is a plain foreign member. With `voters` it shows the
    same ones as that node.
    """

    def __init__(
        self,
        net: Net,
        name: str,
        *,
        own: bool = True,
        mute: bool = False,
        address: Address | None = None,
        id: str | None = None,
        boot: str = "PUPPET00",
        versions: bytes = SERF,
        meta: bytes | None = None,
        voters: Node | None = None,
    ) -> None:
        self.net = net
        self.name = name
        self.address = address or address_of(name)
        self.own = own
        self.mute = mute
        self.boot = boot
        self.id = id or mint_id(int((EPOCH + net.now) * 1000), net.rng)
        self.incarnation = 1
        self.versions = versions
        self.meta = encode_meta({}, self.id, boot) if own else b""
        if meta is not None:
            self.meta = meta
        if voters is not None:
            self.meta = encode_meta({}, self.id, boot, {VOTERS_TAG: voters._own.voters})
        self.received: list[tuple[float, Message]] = []
        self.datagrams: list[bytes] = []
        self.asked: list[StreamMessage] = []
        self.answer: StreamMessage | None = None

    # --- what it is

    def alive(self, **changes: Any) -> Alive:
        values = {
            "node": self.name,
            "incarnation": self.incarnation,
            "address": pack_host(self.address.host),
            "port": self.address.port,
            "meta": self.meta,
            "versions": self.versions,
        }
        return Alive(**{**values, **changes})

    def state(self, state: WireState = WireState.ALIVE, **changes: Any) -> NodeState:
        values = {
            "name": self.name,
            "incarnation": self.incarnation,
            "address": pack_host(self.address.host),
            "port": self.address.port,
            "meta": self.meta,
            "state": state,
            "versions": self.versions,
        }
        return NodeState(**{**values, **changes})

    def head(self, **changes: Any) -> PushPullHead:
        values = {
            "name": self.name,
            "boot": self.boot.encode(),
            "port": self.address.port,
            "clock_ms": int((EPOCH + self.net.now) * 1000),
        }
        return PushPullHead(**{**values, **changes})

    # --- what it says

    def tell(self, node: Node, *messages: Message) -> None:
        """One packet, which arrives at once."""
        self.send(node, self.net.codec.packet([self.net.codec.part(message) for message in messages]))

    def tell_leader_message(self, node: Node, message: LeaderMessage, *, anybody: bool = False) -> None:
        """As from this process to that one, or to whichever has the name."""
        mine = self.boot.encode()
        theirs = b"" if anybody else node._post.process
        between = digest_people(self.net.codec.label, self.name, mine, node.name, theirs)
        self.tell(node, replace(message, process=mine, between=between))

    def send(self, node: Node, data: bytes) -> None:
        node.receive_datagram(data, self.address, self.net.now)
        self.net.drain(node)

    def push(
        self, node: Node, *nodes: NodeState, head: PushPullHead | None = None, join: bool = False
    ) -> PushPull:
        """A push/pull with these entries (its own if none are given); returns the answer."""
        head = head or (self.head() if self.own else None)
        theirs = PushPull(nodes or (self.state(),), join, b"", head)
        content = node.receive_request(read(self.net.codec.stream(theirs)), self.address, self.net.now)
        self.net.drain(node)
        assert content is not None
        answer = read(content, answering=True)
        assert isinstance(answer, PushPull)
        return answer

    def join(self, *nodes: Node) -> Puppet:
        for node in nodes:
            self.push(node, join=True)
        return self

    # --- what it hears

    def receive(self, data: bytes, source: Address) -> None:
        self.datagrams.append(data)
        for message in self.net.codec.open_packet(data).messages:
            self.received.append((self.net.now, message))
            if isinstance(message, Ping) and not self.mute and message.node in ("", self.name):
                node = self.net._processes[source].node
                if self.own:
                    self.tell(node, Ack(message.seq, sender_id=b"", boot=self.boot.encode(), bare=True))
                else:
                    self.tell(node, Ack(message.seq))

    def heard(self, kind: type[T]) -> list[T]:
        return [message for _, message in self.received if isinstance(message, kind)]

    def serve(self, message: StreamMessage) -> bytes | None:
        self.asked.append(message)
        answer = self.answer_ping(message) if isinstance(message, Ping) else self.answer
        if isinstance(message, PushPull) and isinstance(answer, PushPull):
            answer = answer_to(message.head, answer)
        return None if answer is None else self.net.codec.stream(answer, answering=True)

    def answer_ping(self, ping: Ping) -> Ack | None:
        """To a ping by name over TCP."""
        if self.mute or ping.node not in ("", self.name):
            return None
        return Ack(ping.seq, standing=Standing(self.boot.encode()) if self.own else None)

    def calls(self) -> list[str]:
        """The names by which it was pinged over TCP."""
        return [message.node for message in self.asked if isinstance(message, Ping)]


def read(content: bytes, *, answering: bool = False) -> StreamMessage:
    """One message from all the bytes of a stream."""
    message = Codec().stream_decoder(answering=answering).feed(content)
    assert message is not None
    return message


def entry(answer: PushPull, name: str) -> NodeState | None:
    """What a push/pull says of one member."""
    return next((node for node in answer.nodes if node.name == name), None)


def gossip_of_death(name: str, incarnation: int = 1, sender: str = "somebody") -> Dead:
    return Dead(name, incarnation, sender)
