"""The world: virtual time, hosts, a network, faults; and in it real nodes.

See the package's docstring for an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from swim.config import Config
from swim.events import Event
from swim.messages import Message
from swim.protocol.node import Node, Phase, Request
from swim.simulation.assembly import exchange, hush, know_all
from swim.simulation.carriage import Carriage
from swim.simulation.checks import check_duration, check_positive, check_share
from swim.simulation.course import Course
from swim.simulation.fast import ObjectCodec
from swim.simulation.faults import Faults
from swim.simulation.host import Host, SimulatedNode
from swim.simulation.invariants import Invariants
from swim.simulation.kept import KeptStream, probe, send_over_stream
from swim.simulation.network import Fabric, Network
from swim.simulation.schedule import Clock
from swim.simulation.streams import Exchange
from swim.simulation.trace import Record, Trace
from swim.simulation.views import agree, describe
from swim.types import Address, Member
from swim.wire import Codec

__all__ = ["World"]

PORT = 7946
EPOCH = 1_700_000_000.0
JOIN_INTERVAL = 0.0005


class World(Course, Faults, Carriage):
    """A cluster in virtual time. Everything in it follows from `seed` and the other arguments.

    `drift` and `skew` bound how far the hosts' clocks are off: their rate, and their wall time in
    seconds. With `fast`, nodes pass message objects instead of bytes; sizes are then estimates.

    To look at: `nodes` by name, `messages` that were broadcast and came, `trace` (`trace.digest()` is equal
    for two runs in which the same happened). To be told: append to `watchers`, called with the node and the
    event.

    All durations are seconds, all losses shares from 0 to 1. Methods raise ValueError for what is out of
    range, and KeyError for names that are not in the world.
    """

    def __init__(
        self,
        seed: int,
        *,
        network: Network | None = None,
        config: Config | None = None,
        fast: bool = False,
        drift: float = 0.0001,
        skew: float = 0.02,
        codec: Callable[[], Codec] | None = None,
        build: Callable[..., Node] | None = None,
        keep_events: bool = True,
        replay: str | None = None,
    ) -> None:
        network = network or Network.lan()
        check_share("drift", drift)
        check_duration("skew", skew)
        self.config = config or (Config.wan() if network.regions > 1 else Config.lan())
        options: dict[str, object] = {
            "seed": seed,
            "network": network,
            "config": self.config,
            "fast": fast,
            "drift": drift,
            "skew": skew,
        }
        trace = Trace(whole_packets=not fast, keep_events=keep_events)
        super().__init__(seed, trace, options, replay)
        self.fabric = Fabric(network, self.random("network"), self.random("geography"))
        self.nodes: dict[str, SimulatedNode] = {}
        self.watchers: list[Callable[[SimulatedNode, Event], None]] = []
        self.messages: list[tuple[float, str, Message]] = []
        """What each node has been told, and when."""
        self.muted = False
        """Nothing passes or is recorded: while a cluster is assembled."""
        self.held_requests: list[Request] = []
        self._fast = fast
        self._drift = drift
        self._skew = skew
        self._codec = codec
        self._build = build or Node
        self._hosts: dict[str, Host] = {}
        self._listeners: dict[Address, SimulatedNode] = {}
        self._reserved: dict[str, Address] = {}
        self._awaited: dict[str, None] = {}
        self._exchanges = 0
        self._clocks = self.random("clocks")
        self.invariants = Invariants(self)

    # --- time
    def run_until_converged(self, limit: float, step: float = 0.05) -> float:
        """Let time pass until all running nodes have the same view and leader; seconds taken.

        There may be no leader: while no member is electable or, with voters, no lease is granted.
        """
        taken = self.run_until(self.converged, limit, step)
        if taken is None:
            self.fail(f"not converged after {limit} s:\n{self.describe()}")
        return taken

    # --- building
    def add_node(
        self,
        name: str,
        seeds: Sequence[str | Address] = (),
        tags: Mapping[str, str] | None = None,
        *,
        alias: str | None = None,
        address: Address | None = None,
        region: int | None = None,
        rate: float | None = None,
        wall_shift: float = 0.0,
        **options: Any,
    ) -> SimulatedNode:
        """Start a node. `seeds` are names of other nodes, or addresses.

        `alias` is what the world calls it, for a second node of one name. `rate` is its clock's.
        `options` go to the core: `config`, `pinned_id`, `networks`, `electable`, `voters`.
        """
        handle = alias or name
        if handle in self.nodes:
            raise ValueError(f"{handle} exists: restart it, or give an alias")
        if rate is not None:
            check_positive("rate", rate)
        address = address or self.address(handle)
        host = self._host(address.host, rate, wall_shift)
        options.update(name=name, tags=dict(tags or {}))
        node = SimulatedNode(self, handle, len(self.nodes), address, host, options)
        node.seeds = tuple(seeds)
        self.nodes[handle] = node
        self._awaited.pop(handle, None)
        self.fabric.place(handle, region)
        self._boot(node)
        return node

    def address(self, name: str) -> Address:
        """The address of a node, which need not have been started yet."""
        if name in self.nodes:
            return self.nodes[name].address
        number = len(self._reserved) + 1
        address = Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", PORT)
        return self._reserved.setdefault(name, address)

    def grow(self, count: int, *, stagger: float = 0.05, prefix: str = "n") -> list[str]:
        """Add so many nodes that join through the first of the world, one every `stagger` seconds.

        They are started as time passes. Returns their names.
        """
        check_duration("stagger", stagger)
        first = next(iter(self.nodes), f"{prefix}0")
        names = [f"{prefix}{len(self.nodes) + len(self._awaited) + i}" for i in range(count)]
        for i, name in enumerate(names):
            self._awaited[name] = None
            self.schedule.after(i * stagger, self.add_node, name, () if name == first else (first,))
        return names

    def assemble(self, count: int, *, prefix: str = "n") -> list[str]:
        """As `grow` for a world without nodes, but they know each other at once: for large clusters.

        Every node joins through the first, by exchanges that take no time and tell it of one member only;
        then each gets a copy of the first one's table: a tenth of the time and memory of telling all
        everything. What the nodes would have said about it is thrown away, and so are the events.
        """
        if self.nodes:
            raise ValueError("there are nodes already: use grow")
        names = [f"{prefix}{i}" for i in range(count)]
        self.muted = True
        first = self.add_node(names[0])
        for name in names[1:]:
            self.schedule.now += JOIN_INTERVAL  # so that the ids are in the order of the names
            node = self.add_node(name, [names[0]])
            while node.core.phase is Phase.JOINING:
                exchange(first, node, self.held_requests.pop())
        for name in names[1:]:
            know_all(self.nodes[name], first)
        hush(first)
        self.held_requests.clear()
        self.muted = False
        return names

    def restart(
        self, name: str, *, new_address: bool = False, seeds: Sequence[str | Address] | None = None
    ) -> None:
        """A new process under the same name; one that still runs is killed before.

        With `new_address` it comes up on another host, and the old one is gone without a word.
        """
        node = self.nodes[name]
        if node.running and new_address:
            self.lose_host(name)
        elif node.running:
            self.crash(name)
        if seeds is not None:
            node.seeds = tuple(seeds)
        if new_address:
            self._relocate(node)
            node.host = self._host(node.address.host, None, 0.0)
        node.host.lost = False
        self._boot(node)

    # --- verbs of applications
    def leave(self, name: str) -> None:
        """The node leaves the cluster of its own will; its process then ends."""
        node = self.nodes[name]
        self.note(f"leave {name}")
        self.invariants.note_release(name)
        node.call(node.core.leave)

    def yield_leadership(self, name: str) -> None:
        """The node, which leads, hands that on to the next."""
        node = self.nodes[name]
        self.note(f"yield {name}")
        self.invariants.note_release(name)
        node.call(node.core.yield_leadership)

    def set_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """The node has these tags in place of those that it had."""
        node = self.nodes[name]
        self.note(f"set tags {name} {dict(tags)}")
        node.call(node.core.set_tags, tags)

    def broadcast(self, name: str, event: str, payload: bytes) -> None:
        """The node tells all members."""
        node = self.nodes[name]
        self.note(f"broadcast {name} {event} {payload!r}")
        node.call(node.core.broadcast, event, payload)

    def sync(self, name: str, other: str) -> None:
        """Point a running node at another one: their clusters become one."""
        self.note(f"sync {name} with {other}")
        node = self.nodes[name]
        node.call(node.core.sync, self.nodes[other].address)

    # --- looking
    def running(self) -> list[SimulatedNode]:
        """The nodes whose process runs."""
        return [node for node in self.nodes.values() if node.running]

    def leader(self, name: str) -> str | None:
        """The leader that this node follows."""
        leader = self.nodes[name].core.leader
        return leader.name if leader else None

    def view(self, name: str) -> dict[str, Member]:
        """The present members, as this node sees them."""
        return {member.name: member for member in self.nodes[name].core.members()}

    def converged(self) -> bool:
        """All running nodes see exactly each other, as each sees itself, and follow one leader."""
        return not self._awaited and agree([node.core for node in self.running()])

    def events(
        self, kind: type | tuple[type, ...], *, at: str | None = None, about: str | None = None
    ) -> list[Record]:
        """What nodes reported: events of a kind, at one node, about one member."""
        return [
            record
            for record in self.trace.records
            if isinstance(record.event, kind)
            and (at is None or record.node == at)
            and (about is None or (record.member is not None and record.member.name == about))
        ]

    def describe(self) -> str:
        """Every node's view on a line, for people."""
        return "\n".join(map(describe, self.nodes.values()))

    # --- what the nodes' kernels use
    def listener(self, address: Address) -> SimulatedNode | None:
        """The node that uses this address, or did last."""
        return self._listeners.get(address)

    def open_stream(self, client: SimulatedNode, request: Request) -> None:
        """A node opens a stream."""
        if self.muted:
            self.held_requests.append(request)
            return
        client.traffic.streams_opened += 1
        self._exchanges += 1
        Exchange(self, self._exchanges, client, request).open()

    def keep_stream(self, client: SimulatedNode, address: Address) -> None:
        """A node wants a stream kept open to an address."""
        server = self.listener(address)
        if server is not None and not self.muted:
            KeptStream(self, client, server, address)

    def probe_kernel(self, client: SimulatedNode, address: Address) -> None:
        """A node asks the kernel at an address whether it answers."""
        probe(self, client, address)

    def send_over_stream(self, sender: SimulatedNode, data: bytes, address: Address) -> None:
        """A node sends a packet over the stream that is kept with that address."""
        if not self.muted:
            send_over_stream(self, sender, data, address)

    def delivered(self, source: SimulatedNode, target: SimulatedNode, data: bytes) -> None:
        self.trace.packet(self.schedule.now, source.index, target.index, data)

    def happened(self, node: SimulatedNode, event: Event) -> None:
        """A node reports an event."""
        if self.muted:
            return
        self.trace.event(self.schedule.now, node.name, event)
        for watcher in self.watchers:
            watcher(node, event)

    def told(self, node: SimulatedNode, message: Message) -> None:
        """A node has got a message."""
        self.note(f"{node.name} is told {message}")
        self.messages.append((self.now, node.name, message))

    def acts(self, node: SimulatedNode) -> None:
        """A node has been called, and acts as leader."""
        self.invariants.note_term(node)

    def ends(self, node: SimulatedNode) -> None:
        """A node's process is about to end."""
        self.invariants.note_id(node)

    # --- building blocks
    def _host(self, ip: str, rate: float | None, wall_shift: float) -> Host:
        if ip not in self._hosts:
            chance = self._clocks
            offset, skew = chance.uniform(0.0, 100_000.0), chance.uniform(-self._skew, self._skew)
            drifting = 1.0 + chance.uniform(-self._drift, self._drift)
            clock = Clock(offset, drifting if rate is None else rate, EPOCH + skew + wall_shift)
            self._hosts[ip] = Host(clock)
        return self._hosts[ip]

    def _boot(self, node: SimulatedNode) -> None:
        node.lives += 1
        options = dict(node.options)
        core = self._build(
            options.pop("name"),
            node.address,
            config=options.pop("config", self.config),
            codec=self._new_codec(),
            rng=self.random(f"node {node.name} {node.lives}"),
            wall=node.host.clock.wall,
            **options,
        )
        self._listeners[node.address] = node
        self.note(f"start {node.name} {node.address}")
        node.boot(core)

    def _new_codec(self) -> Codec:
        if self._codec is not None:
            return self._codec()
        return ObjectCodec() if self._fast else Codec()
