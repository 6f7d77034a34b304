"""A simulated process around one core: what the trio driver and the kernel do for a real one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn, Protocol

from swim.errors import SwimError
from swim.events import Event
from swim.messages import Message
from swim.protocol.node import Node, Phase, Request
from swim.simulation.network import Protocol as IpProtocol
from swim.simulation.network import Refusal
from swim.simulation.schedule import Clock, Schedule
from swim.simulation.trace import NodeTraffic
from swim.types import Address

__all__ = ["SOCKET_BUFFER", "Connection", "Host", "Kept", "Life", "Medium", "SimulatedNode"]

SOCKET_BUFFER = 256
"""Datagrams that the kernel keeps, each way, for a process that does not run."""

STUCK = 1_000
"""Timer calls at one instant before we say that the core's deadline does not advance."""


RESOLVE_INTERVAL, RESOLVE_INTERVAL_JOINING = 5.0, 1.0
"""How often the seeds' names are looked up, in seconds."""

KEEP_INTERVAL = 1.0
"""How often the driver looks which streams the core wants to be kept open."""


class Life(Enum):
    """What became of the node's process."""

    RUNNING = "running"
    CRASHED = "crashed"
    LEFT = "left"
    REFUSED = "refused"
    """The core gave up (`NameConflict`, `JoinError`): see `failure`."""


@dataclass(eq=False, slots=True)
class Host:
    """A machine: its clocks, and whether the network still reaches it."""

    clock: Clock
    lost: bool = False


@dataclass(eq=False, slots=True)
class _Blockade:
    """Until when something is blocked, in true time, and what waits behind it."""

    until: float = 0.0
    waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = field(default_factory=deque)
    datagrams: int = 0


class Connection(Protocol):
    """A connection between two processes, as their kernels see it."""

    def client_gone(self) -> None:
        """The process that opened it has ended."""

    def server_gone(self) -> None:
        """The other one has."""


class Kept(Connection, Protocol):
    """One that is kept open: see `swim.simulation.kept`."""

    client: SimulatedNode
    server: SimulatedNode

    def close(self) -> None: ...
    def sever(self) -> None: ...
    def reset(self) -> None: ...
    def forget(self, node: SimulatedNode) -> None: ...
    def is_open(self, node: SimulatedNode) -> bool: ...
    def send(self, sender: SimulatedNode, data: bytes) -> None: ...
    def post(self, data: bytes) -> None: ...
    def probe(self) -> None: ...


class Medium(ABC):
    """The world as what is in it sees it: time, ways to others, and a log."""

    schedule: Schedule
    nodes: dict[str, SimulatedNode]
    watchers: list[Callable[[SimulatedNode, Event], None]]

    @property
    @abstractmethod
    def now(self) -> float:
        """True time, in seconds since the world began."""

    @abstractmethod
    def every(self, interval: float, action: Callable[[], object]) -> None:
        """Do it again and again."""

    @abstractmethod
    def fail(self, why: str) -> NoReturn:
        """Raise AssertionError, with the seed and what happened last."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Write a line into the trace."""

    # --- which node is where
    @abstractmethod
    def running(self) -> list[SimulatedNode]:
        """The nodes whose process runs."""

    @abstractmethod
    def address(self, name: str) -> Address:
        """The address of a node, which need not have been started yet."""

    @abstractmethod
    def listener(self, address: Address) -> SimulatedNode | None:
        """The node that uses this address, or did last."""

    # --- ways to others
    @abstractmethod
    def passage(
        self, source: SimulatedNode, target: SimulatedNode, protocol: IpProtocol = ..., size: int = ...
    ) -> float | None:
        """How long one packet of so many bytes sent now will take; None if it gets lost."""

    @abstractmethod
    def refusal(
        self, source: SimulatedNode, target: SimulatedNode, protocol: IpProtocol = ..., size: int = ...
    ) -> tuple[Refusal, float] | None:
        """The host that refuses such a packet, and after how long the sender hears it; None if none does."""

    @abstractmethod
    def transmit(self, source: SimulatedNode, data: bytes, address: Address) -> None:
        """A node sends a datagram."""

    @abstractmethod
    def open_stream(self, client: SimulatedNode, request: Request) -> None:
        """A node opens a stream."""

    @abstractmethod
    def keep_stream(self, client: SimulatedNode, address: Address) -> None:
        """A node wants a stream kept open to an address."""

    @abstractmethod
    def send_over_stream(self, sender: SimulatedNode, data: bytes, address: Address) -> None:
        """A node sends a packet over the stream that is kept with that address."""

    @abstractmethod
    def probe_kernel(self, client: SimulatedNode, address: Address) -> None:
        """A node asks the kernel at an address whether it answers."""

    # --- what happens
    @abstractmethod
    def delivered(self, source: SimulatedNode, target: SimulatedNode, data: bytes) -> None:
        """A stream's content has arrived."""

    @abstractmethod
    def happened(self, node: SimulatedNode, event: Event) -> None:
        """A node reports an event."""

    @abstractmethod
    def told(self, node: SimulatedNode, message: Message) -> None:
        """A node has got a message."""

    @abstractmethod
    def acts(self, node: SimulatedNode) -> None:
        """A node has been called, and acts as leader."""

    @abstractmethod
    def ends(self, node: SimulatedNode) -> None:
        """A node's process is about to end."""


class SimulatedNode:
    """One member-to-be, known to the world by `name` (also when it is restarted)."""

    def __init__(
        self, world: Medium, name: str, index: int, address: Address, host: Host, options: dict[str, Any]
    ) -> None:
        self.world = world
        self.name = name
        self.index = index
        self.address = address
        self.host = host
        self.options = options
        """What every core of this node is made with."""
        self.life = Life.CRASHED
        self.lives = 0
        self.process = ("", "")
        """Name and boot of the present process, or of the last one."""
        self.born = 0.0
        """When the present process began, or the last one did, in true time."""
        self.failure: SwimError | None = None
        self.traffic = NodeTraffic()
        self.serving: dict[int, Connection] = {}
        self.asking: dict[int, Connection] = {}
        self.kept: dict[Address, Kept] = {}
        """Streams that this node keeps open to those that it observes."""
        self.accepted: dict[Kept, None] = {}
        """The other ends: streams that others keep open to this node."""
        self.seeds: tuple[str | Address, ...] = ()
        self._core: Node | None = None
        self._armed: float | None = None
        self._now = 0.0
        self._fired = 0.0
        self._repeats = 0
        self._paused = 0.0
        self._input = _Blockade()
        self._output = _Blockade()
        self._late: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<{self.name} {self.address} {self.life.value}>"

    # --- what tests look at
    @property
    def core(self) -> Node:
        """The real `Node`. Only while the process runs."""
        if self._core is None:
            raise LookupError(f"{self.name} does not run: it {self.life.value}")
        return self._core

    @property
    def running(self) -> bool:
        """There is a process (it may be paused, or cut off)."""
        return self._core is not None

    @property
    def paused(self) -> bool:
        return self._paused > self.world.now

    def now(self) -> float:
        """The time on this node's own monotonic clock, which never goes back."""
        self._now = max(self._now, self.host.clock.local(self.world.now))
        return self._now

    # --- life
    def boot(self, core: Node) -> None:
        """A new process begins."""
        self._core = core
        self.process = core.name, core.boot
        self.born = self.world.now
        self.life = Life.RUNNING
        self.failure = None
        self._armed = None
        self._now = 0.0
        core.start(self._resolve(), self.now())
        self.flush()
        if self.seeds:
            self.after_timer(RESOLVE_INTERVAL_JOINING, self._refresh_seeds)
        self.after_timer(KEEP_INTERVAL, self._keep_streams)

    def stop(self, life: Life) -> None:
        """The process ends; the kernel closes its sockets, and its streams with them."""
        if self._core is not None:
            self.world.ends(self)
        self.life = life
        self._core = None
        self._paused = 0.0
        self._input = _Blockade()
        self._output = _Blockade()
        self._late.clear()
        for exchange in list(self.serving.values()):
            exchange.server_gone()
        for exchange in list(self.asking.values()):
            exchange.client_gone()
        self.serving.clear()
        self.asking.clear()
        for own in list(self.kept.values()):
            own.client_gone()
        for other in list(self.accepted):
            other.server_gone()

    def call(self, verb: Callable[..., object], *args: Any) -> None:
        """The application uses a verb of the core; `now` is added as the last argument."""
        verb(*args, self.now())
        self.flush()

    def _resolve(self) -> tuple[Address, ...]:
        """Names are looked up afresh each time: a seed may have moved."""
        return tuple(self.world.address(seed) if isinstance(seed, str) else seed for seed in self.seeds)

    def _refresh_seeds(self) -> None:
        self.call(self.core.set_seeds, self._resolve())
        joining = self.core.phase is Phase.JOINING
        self.after_timer(RESOLVE_INTERVAL_JOINING if joining else RESOLVE_INTERVAL, self._refresh_seeds)

    def _keep_streams(self) -> None:
        self._follow_streams()
        self.after_timer(KEEP_INTERVAL, self._keep_streams)

    def _follow_streams(self) -> None:
        wanted = self.core.streams_to_keep(self.now())
        for address in list(self.kept):
            if address not in wanted:
                self.kept[address].close()
        for address in wanted:
            if address not in self.kept:
                self.world.keep_stream(self, address)

    # --- faults
    def pause(self, seconds: float) -> None:
        """The whole process stands still: SIGSTOP, a long garbage collection."""
        self._paused = max(self._paused, self.world.now + seconds)
        self.block_receive(seconds)
        self.world.schedule.at(self._paused, self._resume)

    def block_receive(self, seconds: float) -> None:
        """Nothing is read from the sockets; timers run, and sending works."""
        until = self.world.now + seconds
        self._input.until = max(self._input.until, until)
        self.world.schedule.at(until, self._open_input)

    def block_send(self, seconds: float) -> None:
        """Nothing is sent; timers run, and receiving works."""
        until = self.world.now + seconds
        self._output.until = max(self._output.until, until)
        self.world.schedule.at(until, self._open_output)

    # --- the kernel's side
    def receive_datagram(self, data: bytes, source: Address) -> None:
        """A datagram is in the socket's buffer."""
        core, input_ = self._core, self._input
        if core is None:
            return
        if input_.until > self.world.now:
            if input_.datagrams < SOCKET_BUFFER:
                input_.datagrams += 1
                input_.waiting.append((self._read_datagram, (data, source)))
            else:
                self.traffic.packets_overflowed += 1
            return
        self._read_datagram(data, source)

    def input(self, action: Callable[..., object], *args: Any) -> None:
        """The kernel has something else for the process to read: a stream, an error."""
        if self._core is None:
            return
        if self._input.until > self.world.now:
            self._input.waiting.append((action, args))
        else:
            action(*args)

    def after_timer(self, seconds: float, action: Callable[[], None]) -> None:
        """A time-out of the driver: on the node's own clock, late when the process is paused."""
        self.world.schedule.after(seconds / self.host.clock.rate, self._time_out, action, self.lives)

    def flush(self) -> None:
        """Drain the core's outputs and re-arm its timer, as every driver does after every call."""
        core, world = self._core, self.world
        if core is None:
            return
        output = core.drain()
        for _, fault in output.faults:
            raise fault  # a defect, which no run may hide
        for data, target in output.datagrams:
            self._write(world.transmit, self, data, target)
        for data, target in output.stream_packets:
            self._write(world.send_over_stream, self, data, target)
        for request in output.requests:
            self._write(world.open_stream, self, request)
        for address in output.kernel_probes:
            self._write(world.probe_kernel, self, address)
        if output.streams_changed:
            self._follow_streams()
        for verdict in output.verdicts:
            world.note(f"{self.name}: {verdict}")
        for broadcast in output.broadcasts:
            world.told(self, broadcast)
        for event in output.events:
            world.happened(self, event)
        if self._core is not core:  # an observer of the events ended this process
            return
        if core.term is not None:
            world.acts(self)
        if core.phase in (Phase.LEFT, Phase.FAILED):
            self.failure = core.failure
            self.stop(Life.LEFT if core.failure is None else Life.REFUSED)
            world.note(f"{self.name} {self.life.value} {self.failure or ''}".rstrip())
            return
        self._arm(core)

    def _arm(self, core: Node) -> None:
        deadline = core.next_deadline()
        if deadline is not None and (self._armed is None or deadline < self._armed):
            self._armed = deadline
            self.world.schedule.at(self.host.clock.true(deadline), self._timer, deadline, core)

    def clock_changed(self) -> None:
        """The clock's rate is another now: the kernel re-arms the timer."""
        self._armed = None
        self.flush()

    def _read_datagram(self, data: bytes, source: Address) -> None:
        if self._core is not None:
            self.traffic.packets_received += 1
            self.traffic.bytes_received += len(data)
            self._core.receive_datagram(data, source, self.now())
            self.flush()

    def _write(self, action: Callable[..., object], *args: Any) -> None:
        if self._output.until <= self.world.now:
            action(*args)
        elif len(self._output.waiting) < SOCKET_BUFFER:
            self._output.waiting.append((action, args))
        else:
            self.traffic.packets_overflowed += 1

    def _timer(self, deadline: float, core: Node) -> None:
        if self._core is not core or deadline != self._armed:
            return
        self._armed = None
        if self._paused > self.world.now:
            return  # `_resume` looks at the deadline
        # The conversion to true time and back may round down; then nothing would be due yet.
        self._now = max(self.now(), deadline)
        self._repeats = self._repeats + 1 if self._fired == self._now else 0
        self._fired = self._now
        assert self._repeats < STUCK, f"{self.name}: the core's deadline does not advance past {deadline}"
        self._run_timer(core)

    def _run_timer(self, core: Node) -> None:
        due = core.next_deadline()
        if due is not None and due <= self.now():
            core.handle_timer(self._now)
            self.flush()
        else:
            self._arm(core)  # it was moved

    def _time_out(self, action: Callable[[], None], lives: int) -> None:
        if self._core is None or lives != self.lives:
            return
        if self._paused > self.world.now:
            self._late.append(action)
        else:
            action()

    def _open_input(self) -> None:
        input_ = self._input
        while input_.waiting and input_.until <= self.world.now and input_ is self._input:
            action, args = input_.waiting.popleft()
            action(*args)
        if not input_.waiting:
            input_.datagrams = 0

    def _open_output(self) -> None:
        output = self._output
        while output.waiting and output.until <= self.world.now:
            action, args = output.waiting.popleft()
            action(*args)

    def _resume(self) -> None:
        """The process runs again: what the sockets hold is read first, then timers are served."""
        core = self._core
        if core is None or self._paused > self.world.now:
            return
        self._open_input()
        late, self._late = self._late, []
        for action in late:
            action()
        if self._core is core:
            self._armed = None
            self._run_timer(core)
