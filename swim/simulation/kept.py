"""Kept streams and kernel probes: what a process learns from the kernels of the others.

As `swim.kept` has it for real ones: one connection to each address; a probe is a few bytes on it (repeated
like all data), answered by the kernel's acknowledgement, whatever the process does; without a connection
it is the attempt to open one. Data that nobody acknowledges for three seconds ends the connection silently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from swim.simulation.streams import DATA_RETRY, transfer
from swim.types import Address

if TYPE_CHECKING:
    from swim.simulation.host import SimulatedNode
    from swim.simulation.world import World

__all__ = ["KeptStream", "probe", "send_over_stream"]

USER_TIMEOUT = 3.0
WATCH = 0.5
"""How long the driver looks for the acknowledgement of a probe."""


class KeptStream:
    """A stream that a node keeps open to one that it observes, so that it hears when that dies."""

    __slots__ = (
        "_address",
        "_client",
        "_closed",
        "_lives",
        "_open",
        "_outstanding",
        "_process",
        "_server",
        "_watched",
        "_world",
    )

    def __init__(self, world: World, client: SimulatedNode, server: SimulatedNode, address: Address) -> None:
        self._world = world
        self._client = client
        self._server = server
        self._address = address
        self._lives = server.lives
        self._process = server.process
        self._open = self._closed = False
        self._outstanding: float | None = None
        """When the probe was sent that is not acknowledged yet."""
        self._watched = float("-inf")
        client.kept[address] = self
        self._knock()
        world.schedule.after(USER_TIMEOUT, self._give_up_connecting)

    @property
    def client(self) -> SimulatedNode:
        """Which opened it."""
        return self._client

    def close(self) -> None:
        """The client wants it no more, and says so: nobody is alarmed."""
        self._closed = True
        if self._client.kept.get(self._address) is self:
            del self._client.kept[self._address]
        self._server.held.pop(self, None)

    def client_gone(self) -> None:
        """The client's process ended; its kernel says so to the server."""
        was_open = self._open and not self._closed
        self.close()
        if was_open:
            server, lives, process = self._server, self._lives, self._client.process

            def read_end() -> None:
                if server.running and server.lives == lives:
                    server.call(server.core.receive_stream_end, *process)

            transfer(self._world, self._client, server, 0, lambda: server.input(read_end), lambda: False)

    def server_gone(self) -> None:
        """The server's process ended; its kernel says so to the client."""
        self._server.held.pop(self, None)
        transfer(self._world, self._server, self._client, 0, self._end, lambda: self._closed)

    # --- connecting
    def _knock(self) -> None:
        """One SYN. What comes of it says nothing of whether the process runs."""
        client, lives = self._client, self._client.lives

        def answer(outcome: Callable[[], object]) -> None:
            if client.lives == lives and not client.host.lost:
                client.input(outcome)

        def arrive() -> None:
            server = self._server
            if server.host.lost or server.address != self._address:
                return
            self._lives, self._process = server.lives, server.process
            back = self._world.passage(server, client)
            if back is not None:
                outcome = self._accepted if server.running else self._refused
                self._world.schedule.after(back, answer, outcome)

        there = self._world.passage(client, self._server)
        if there is not None:
            self._world.schedule.after(there, arrive)

    def _accepted(self) -> None:
        if self._closed:
            return
        self._open = True
        self._client.call(self._client.core.receive_kernel_answer, self._address)
        if self._alive():
            self._server.held[self] = None
        else:
            self.server_gone()

    def _refused(self) -> None:
        if not self._closed:
            self.close()
            self._client.call(self._client.core.receive_refusal, self._address)

    def _give_up_connecting(self) -> None:
        if not self._open and not self._closed:
            self.close()

    # --- packets in place of datagrams
    def send(self, sender: SimulatedNode, data: bytes) -> None:
        """What either end writes, the other reads, however long that takes."""
        if not self._open or self._closed:
            return
        receiver = self._client if sender is self._server else self._server
        process, lives = sender.process, receiver.lives

        def read() -> None:
            if receiver.running and receiver.lives == lives:
                receiver.call(receiver.core.receive_stream_packet, data, *process)

        transfer(self._world, sender, receiver, len(data), lambda: receiver.input(read), lambda: self._closed)

    # --- the end
    def _alive(self) -> bool:
        return self._server.running and self._server.lives == self._lives

    def _end(self) -> None:
        self._client.input(self._read_end)

    def _read_end(self) -> None:
        """FIN or RST. A real keeper tries again at once: a refusal is the next thing to know."""
        if not self._closed:
            self.close()
            client, world = self._client, self._world
            client.call(client.core.receive_stream_end, *self._process)
            if client.running and self._address not in client.kept:
                world.keep_stream(client, self._address)

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
            self._send(0, now)

    def _send(self, attempt: int, began: float) -> None:
        if self._closed or self._outstanding != began or not self._client.running:
            return
        world = self._world
        world.schedule.after(DATA_RETRY * 2**attempt, self._send, attempt + 1, began)
        there = world.passage(self._client, self._server)
        if there is not None:
            world.schedule.after(there, self._taken)

    def _taken(self) -> None:
        if self._server.host.lost or self._server.address != self._address:
            return
        back = self._world.passage(self._server, self._client)
        if back is not None:
            self._world.schedule.after(back, self._acknowledged if self._alive() else self._end)

    def _acknowledged(self) -> None:
        if self._closed or self._client.host.lost:
            return
        self._outstanding = None
        if self._world.now < self._watched + WATCH:
            self._watched = float("-inf")
            self._client.input(self._answered)

    def _answered(self) -> None:
        self._client.call(self._client.core.receive_kernel_answer, self._address)

    def _give_up_sending(self, began: float) -> None:
        if self._outstanding == began and not self._closed:
            self.close()


def send_over_stream(world: World, sender: SimulatedNode, data: bytes, address: Address) -> None:
    """On any stream between the two; one that is opened only now carries what is sent later."""
    for stream in sender.held:
        if stream.client.address == address:
            stream.send(sender, data)
            return
    own = sender.kept.get(address)
    if own is None:
        world.keep_stream(sender, address)
    else:
        own.send(sender, data)


def probe(world: World, client: SimulatedNode, address: Address) -> None:
    """What the core calls a kernel probe."""
    stream = client.kept.get(address)
    if stream is None:
        world.keep_stream(client, address)
    else:
        stream.probe()
