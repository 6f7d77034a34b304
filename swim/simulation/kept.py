"""Kept streams and kernel probes: what a process learns from the kernels of the others.

As `swim.runtime.kept` has it for real ones: one connection to each address; a probe is a few bytes on it
(repeated like all data), answered by the kernel's acknowledgement, whatever the process does; without a
connection it is the attempt to open one. Data that is not acknowledged for three seconds ends the connection
at the sender silently. Each end closes for itself: what is written to one that is closed is answered by a
reset, as is what a firewall refuses by resets. So does the kernel of a process that dies with something
unread.

`swim.testing` runs the real streams, and does not need these. The core does: whether a silent process is
dead, paused or unreachable it hears from kernels only, in this world too, whose thousands of nodes are too
many for a real program each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from swim.simulation.host import Medium, SimulatedNode
from swim.simulation.streams import DATA_RETRY, SYN_RETRY, transfer
from swim.types import Address

__all__ = ["KeptStream", "probe", "send_over_stream"]

USER_TIMEOUT = 3.0
PACKETS_MAX = 64
WATCH = 0.5
"""How long the driver looks for the acknowledgement of a probe."""


class KeptStream:
    """A stream that a node keeps open to one that it observes, so that it hears when that dies."""

    __slots__ = (
        "_address",
        "_closed",
        "_lives",
        "_open",
        "_outstanding",
        "_process",
        "_severed",
        "_unread",
        "_waiting",
        "_watched",
        "_world",
        "client",
        "server",
    )

    def __init__(self, world: Medium, client: SimulatedNode, server: SimulatedNode, address: Address) -> None:
        self.client = client
        """Which opened it."""
        self.server = server
        self._world = world
        self._address = address
        self._lives = server.lives
        self._process = server.process
        self._open = self._closed = self._severed = False
        """The client's end; the server's is open while it is in `server.accepted`."""
        self._unread: dict[SimulatedNode, None] = {}
        """Ends at which something has arrived that the process has not read."""
        self._waiting: deque[bytes] = deque(maxlen=PACKETS_MAX)
        """What the client has to say when the stream is open."""
        self._outstanding: float | None = None
        """When the probe was sent that is not acknowledged yet."""
        self._watched = float("-inf")
        client.kept[address] = self
        self._knock(0)
        world.schedule.after(USER_TIMEOUT, self._give_up_connecting)

    # --- either end
    def close(self) -> None:
        """The client wants it no more, and says so: no end is alarmed."""
        was_open = self._open and not self._closed
        self._forget_client()
        if was_open:
            transfer(self._world, self.client, self.server, 0, self._forget_server, self._is_severed)

    def sever(self) -> None:
        """One of the two addresses is no host's any more: nothing arrives, and neither end hears of that."""
        self._severed = True

    def _is_severed(self) -> bool:
        return self._severed or self.server.address != self._address

    def forget(self, node: SimulatedNode) -> None:
        """It gives its end up, without a word that would arrive."""
        if node is self.client:
            self._forget_client()
        else:
            self._forget_server()

    def _forget_client(self) -> None:
        self._closed = True
        if self.client.kept.get(self._address) is self:
            del self.client.kept[self._address]

    def _forget_server(self) -> None:
        self.server.accepted.pop(self, None)

    def is_open(self, node: SimulatedNode) -> bool:
        """Its end of it."""
        if node is self.client:
            return self._open and not self._closed
        return self in self.server.accepted

    def client_gone(self) -> None:
        """The client's process ended; its kernel says so to the server, unless it is refused."""
        was_open = self._open and not self._closed
        self._forget_client()
        if was_open:
            server, process = self.server, self.client.process

            def read_end() -> None:
                if self in server.accepted:
                    self._forget_server()
                    server.call(server.core.receive_stream_end, *process)

            def read_reset() -> None:
                server.input(self._read_refusal_at_server)

            arrived = read_reset if self.client in self._unread else lambda: server.input(read_end)
            transfer(self._world, self.client, server, 0, arrived, self._is_severed)

    def server_gone(self) -> None:
        """The server's process ended; its kernel says so to the client, unless it is refused."""
        self._forget_server()
        arrived = self._reset_client if self.server in self._unread else self._end
        transfer(
            self._world, self.server, self.client, 0, arrived, lambda: self._closed or self._is_severed()
        )

    # --- connecting
    def _knock(self, attempt: int) -> None:
        """One SYN. What comes of it says nothing of whether the process runs."""
        if self._open or self._closed:
            return
        client, lives, world = self.client, self.client.lives, self._world
        world.schedule.after(SYN_RETRY * 2**attempt, self._knock, attempt + 1)

        def answer(outcome: Callable[[], object]) -> None:
            if client.lives == lives and not client.host.lost:
                client.input(outcome)

        def arrive() -> None:
            server = self.server
            if server.host.lost or self._is_severed() or self._open:
                return
            self._lives, self._process = server.lives, server.process
            back = world.passage(server, client)
            if back is not None:
                outcome = self._accepted if server.running else self._refused
                world.schedule.after(back, answer, outcome)

        there = world.passage(client, self.server)
        if there is not None:
            world.schedule.after(there, arrive)
        elif (refusal := world.refusal(client, self.server)) is not None:
            world.schedule.after(refusal[1], answer, self._refused)

    def _accepted(self) -> None:
        if self._closed or self._open:
            return
        self._open = True
        self.client.call(self.client.core.receive_kernel_answer, self._address)
        if self._alive():
            for earlier in [stream for stream in self.server.accepted if stream.client is self.client]:
                earlier.forget(self.server)  # there is one for each name
            self.server.accepted[self] = None
            while self._waiting:
                self.send(self.client, self._waiting.popleft())
        else:
            self.server_gone()

    def _refused(self) -> None:
        if not self._closed and not self._open:
            self._forget_client()
            self.client.call(self.client.core.receive_refusal, self._address)

    def _give_up_connecting(self) -> None:
        if not self._open and not self._closed:
            self._forget_client()

    # --- packets in place of datagrams
    def post(self, data: bytes) -> None:
        """The client has something to say, now or when the stream is open."""
        if self._open:
            self.send(self.client, data)
        else:
            self._waiting.append(data)

    def send(self, sender: SimulatedNode, data: bytes) -> None:
        """What either end writes, the other reads, however long that takes."""
        if not self.is_open(sender):
            return
        receiver = self.client if sender is self.server else self.server
        process, lives, world = sender.process, receiver.lives, self._world
        acknowledged = False

        def read() -> None:
            self._unread.pop(receiver, None)
            if receiver.running and receiver.lives == lives:
                receiver.call(receiver.core.receive_stream_packet, data, *process)

        def arrive() -> None:
            nonlocal acknowledged
            if self._is_severed():
                return
            back = world.passage(receiver, sender)
            if self.is_open(receiver):
                acknowledged = back is not None
                self._unread[receiver] = None
                receiver.input(read)
            elif back is not None:
                world.schedule.after(back, self.reset_end, sender)

        def look() -> None:
            if not acknowledged:
                self._give_up(sender)

        world.schedule.after(USER_TIMEOUT, look)
        transfer(
            world,
            sender,
            receiver,
            len(data),
            arrive,
            lambda: not self.is_open(sender),
            refused=lambda: self.reset_end(sender),
        )

    def _give_up(self, sender: SimulatedNode) -> None:
        """Its kernel: no acknowledgement came for too long."""
        self.forget(sender)

    # --- the end
    def _alive(self) -> bool:
        return self.server.running and self.server.lives == self._lives

    def _end(self) -> None:
        self.client.input(self._read_end)

    def _read_end(self) -> None:
        """FIN. A real opener tries again at once."""
        if not self._closed:
            self._forget_client()
            self.client.call(self.client.core.receive_stream_end, *self._process)
            self._again()

    def _again(self) -> None:
        client = self.client
        if client.running and self._address not in client.kept:
            self._world.keep_stream(client, self._address)

    def reset(self) -> None:
        """Something on the way forgets this connection, and resets both ends."""
        for node in (self.client, self.server):
            if self.is_open(node):
                self.reset_end(node)

    def reset_end(self, node: SimulatedNode) -> None:
        """A reset arrives at one end. Where it comes from cannot be told."""
        at_client = node is self.client
        node.input(self._read_refusal_at_client if at_client else self._read_refusal_at_server)

    def _read_refusal_at_client(self) -> None:
        if not self._closed:
            self._forget_client()
            self.client.call(self.client.core.receive_refusal, self._address)
            self._again()

    def _read_refusal_at_server(self) -> None:
        if self in self.server.accepted:
            self._forget_server()
            self.server.call(self.server.core.receive_refusal, self.client.address)

    # --- probes
    def probe(self) -> None:
        """Ask the server's kernel, unless that is being done."""
        now = self._world.now
        if not self._open or self._closed or now < self._watched + WATCH:
            return
        self._watched = now
        if self._outstanding is None:
            self._outstanding = now
            self._world.schedule.after(USER_TIMEOUT, self._give_up_sending, now)
            self._send_probe(0, now)

    def _send_probe(self, attempt: int, began: float) -> None:
        if self._closed or self._outstanding != began or not self.client.running:
            return
        world = self._world
        world.schedule.after(DATA_RETRY * 2**attempt, self._send_probe, attempt + 1, began)
        there = world.passage(self.client, self.server)
        if there is not None:
            world.schedule.after(there, self._taken)
        elif (refusal := world.refusal(self.client, self.server)) is not None and refusal[0].resets:
            world.schedule.after(refusal[1], self.reset_end, self.client)

    def _taken(self) -> None:
        if self.server.host.lost or self._is_severed():
            return
        back = self._world.passage(self.server, self.client)
        if back is not None:
            alive = self in self.server.accepted
            if alive:
                self._unread[self.server] = None
                self.server.input(self._read_probe)
            self._world.schedule.after(back, self._acknowledged if alive else self._reset_client)

    def _read_probe(self) -> None:
        self._unread.pop(self.server, None)

    def _reset_client(self) -> None:
        self.reset_end(self.client)

    def _acknowledged(self) -> None:
        if self._closed or self.client.host.lost:
            return
        self._outstanding = None
        if self._world.now < self._watched + WATCH:
            self._watched = float("-inf")
            self.client.input(self._answered)

    def _answered(self) -> None:
        self.client.call(self.client.core.receive_kernel_answer, self._address)

    def _give_up_sending(self, began: float) -> None:
        if self._outstanding == began:
            self._give_up(self.client)


def send_over_stream(world: Medium, sender: SimulatedNode, data: bytes, address: Address) -> None:
    """On any stream between the two, or on one that is opened for it."""
    own = sender.kept.get(address)
    if own is None or not own.is_open(sender):
        for stream in sender.accepted:
            if stream.client.address == address:
                stream.send(sender, data)
                return
    if own is None:
        world.keep_stream(sender, address)
        own = sender.kept.get(address)
    if own is not None:
        own.post(data)


def probe(world: Medium, client: SimulatedNode, address: Address) -> None:
    """What the core calls a kernel probe."""
    stream = client.kept.get(address)
    if stream is None:
        world.keep_stream(client, address)
    else:
        stream.probe()
