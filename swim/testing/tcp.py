"""Connections as two kernels make them: streams of bytes with an order, back-pressure, ends and resets.

Modelled after TCP, with one flight of segments at a time in each direction: it goes again after 0.2, 0.4,
0.8 .. seconds until the other kernel has acknowledged it, however busy or paused the process is there. A SYN
goes again after 1, 2, 4 .. seconds.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from swim.simulation.network import Protocol, Refusal
from swim.testing.medium import Medium
from swim.testing.station import Readiness, Station
from swim.types import Address

__all__ = ["Endpoint", "Listener"]

_BACKLOG = 128

_ROUNDING = 1e-6
SEGMENT = 1_200
"""Bytes of content, as the sockets of a node limit it."""
FLIGHT_MAX = 65_536
SEND_BUFFER = 262_144
RECEIVE_BUFFER = 131_072
SYN_RETRY = 1.0
SYN_RETRIES = 6
RETRY_MIN, RETRY_MAX = 0.2, 120.0
GIVE_UP_AFTER = 924.0
"""Seconds without any acknowledgement (Linux, tcp_retries2), but for connections with a time-out."""


@dataclass(eq=False, slots=True)
class _Flight:
    """What is on its way, until it is acknowledged."""

    start: int
    data: bytes
    last: bool
    """The FIN comes behind it."""
    missing: int
    """Segments that have not arrived."""
    attempts: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class Endpoint:
    """One end of a connection, in the kernel of its machine."""

    def __init__(self, machine: Station, medium: Medium, local: Address, peer: Address) -> None:
        self.machine = machine
        self.local = local
        self.peer = peer
        self.readable = Readiness(machine)
        """Rung when there is something to read, or an end."""
        self.writable = Readiness(machine)
        """Rung when there is room, the connection is made, or an end."""
        self.connected = False
        self.acknowledged = 0
        """Bytes that the other kernel has."""
        self.user_timeout: float | None = None
        """After so many seconds without an acknowledgement that is due the connection ends."""
        self.other: Endpoint | None = None
        self.dead = False
        """It is no connection any more."""
        self._medium = medium
        self._schedule = medium.schedule
        self._error: int | None = None
        self._listener: Listener | None = None
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._received = 0
        self._eof = False
        self._room_there = RECEIVE_BUFFER
        self._flight: _Flight | None = None
        self._closed = self._finishing = self._finished = False
        self._due_since = inf
        self._last_landing = 0.0
        self._persisting = False

    # --- what the process does
    def connect(self) -> None:
        """Begin; `writable` rings when it is made or has failed."""
        self._ask(0)

    def take_error(self) -> None:
        """Raises the connection's error, as an OSError; each once."""
        if self._error is not None:
            number, self._error = self._error, None
            raise OSError(number, os.strerror(number))

    def read(self, limit: int) -> bytes | None:
        """What has arrived; b"" at the end; None when there is nothing yet. Raises OSError."""
        if self._incoming:
            data = bytes(self._incoming[:limit])
            full = len(self._incoming) >= RECEIVE_BUFFER
            del self._incoming[:limit]
            if full and not self.dead:
                self._acknowledge()  # there is room again
            return data
        self.take_error()
        return b"" if self._eof or self.dead else None

    def write(self, data: bytes) -> int:
        """How many bytes of it were taken. Raises OSError."""
        self.take_error()
        if self.dead or self._finishing:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        taken = min(len(data), SEND_BUFFER - len(self._outgoing))
        self._outgoing += data[:taken]
        self._push()
        return taken

    def finish(self) -> None:
        """No more is written: the other side reads the end after all that was."""
        if not self._finishing and not self.dead:
            self._finishing = True
            self._push()

    def close(self) -> None:
        """The process does not want it any more, or ends. What was written still goes its way."""
        if self._closed:
            return
        if not self.connected or self._incoming:
            self.abort()
        else:
            self._closed = True
            self.finish()

    def abort(self) -> None:
        """End it by a reset."""
        self._closed = True
        if not self.dead:
            self._die()
            self._reset_other()

    @property
    def all_acknowledged(self) -> bool:
        """The other kernel has all that was written, and neither side has ended."""
        whole = self.connected and not self.dead and not self._eof and not self._finishing
        return whole and not self._outgoing

    def forget(self) -> None:
        """Its machine has been switched off: nothing is known of it any more, and nobody is told."""
        self._die()

    # --- making the connection
    def _ask(self, attempt: int) -> None:
        if self.connected or self.dead:
            return
        if attempt > SYN_RETRIES:
            self._fail(errno.ETIMEDOUT)
            return
        self._schedule.after(SYN_RETRY * 2**attempt, self._ask, attempt + 1)
        target = self._medium.machine_at(self.peer.host, self.machine)
        if target is not None:
            self._medium.send(
                self.machine, target, Protocol.TCP, lambda: target.receive_syn(self), refused=self._refused
            )

    def _refused(self, refusal: Refusal) -> None:
        if not self.connected or refusal.resets:
            self.receive_reset()

    def begin(self, client: Endpoint, listener: Listener) -> None:
        """Be the end that is made for a SYN from there, for this listener."""
        self.other = client
        self._listener = listener

    def answer(self) -> None:
        """Answer the SYN, for the first time or again."""
        client = self.other
        assert client is not None
        self._to_other(lambda: client.receive_answer(self))

    def receive_answer(self, server: Endpoint) -> None:
        """A SYN was answered."""
        if self.dead or (self.other is not None and self.other is not server):
            server.receive_reset()
            return
        first = not self.connected
        self.other, self.connected = server, True
        if first:
            self.writable.announce()
        self._to_other(server.open)

    def open(self) -> None:
        """The other end knows that the connection is made."""
        if self.dead or self.connected or self._listener is None:
            return
        self.connected = True
        if self.other is not None:
            self.machine.opened(self.other)
        if not self._listener.put(self):
            self.abort()

    # --- sending
    def _push(self) -> None:
        """Send what may be sent, unless something is on its way already."""
        if self._flight is not None or self.dead or not self.connected or self._finished:
            return
        data = bytes(self._outgoing[: min(FLIGHT_MAX, self._room_there)])
        last = self._finishing and len(data) == len(self._outgoing)
        if self._outgoing or last:
            self._due_since = min(self._due_since, self._schedule.now)
        if not data and not last:
            if self._outgoing:
                self._persist(0)
            return
        self._flight = _Flight(self.acknowledged, data, last, 1 + max(0, len(data) - 1) // SEGMENT)
        self._transmit(self._flight)

    def _transmit(self, flight: _Flight) -> None:
        if flight is not self._flight or self.dead or self._give_up():
            return
        other, now = self.other, self._schedule.now
        assert other is not None
        size = min(len(flight.data), SEGMENT)
        delays = [self._passage(size) for _ in range(max(1, flight.missing))]
        flight.missing = delays.count(None)
        self._last_landing = max(
            self._last_landing, *(now + delay for delay in delays if delay is not None), 0.0
        )
        if not flight.missing:
            self._schedule.at(self._last_landing, self._land, other, flight)
        else:
            self._medium.refuse(self.machine, other.machine, Protocol.TCP, size, self._refused)
        self._retry(self._transmit, flight, attempt=flight.attempts)
        flight.attempts += 1

    def _passage(self, size: int) -> float | None:
        other = self.other
        assert other is not None
        if self.machine.owns(self.local.host) and other.machine.owns(self.peer.host):
            return self._medium.passage(self.machine, other.machine, Protocol.TCP, size)
        return None  # one of them has moved

    def _land(self, other: Endpoint, flight: _Flight) -> None:
        if other.machine.lost or not other.machine.owns(self.peer.host):
            return
        if flight.data:
            self._medium.delivered(self.machine, other.machine, flight.data)
        other.receive(flight.start, flight.data, flight.last)

    def _persist(self, attempt: int) -> None:
        """The other side has no room: ask again and again whether there is some."""
        if attempt == 0:
            if self._persisting:
                return
            self._persisting = True
        if self.dead or self._room_there or not self._outgoing:
            self._persisting = False
            return
        if not self._give_up():
            other = self.other
            assert other is not None
            self._to_other(lambda: other.receive(self.acknowledged, b"", False))
            self._retry(self._persist, attempt + 1, attempt=attempt)

    def _retry(self, action: Callable[..., object], *args: object, attempt: int) -> None:
        pause = min(RETRY_MIN * 2**attempt, RETRY_MAX)
        left = self._due_since + self._patience - self._schedule.now
        self._schedule.after(max(0.0, min(pause, left)), action, *args)

    @property
    def _patience(self) -> float:
        return GIVE_UP_AFTER if self.user_timeout is None else self.user_timeout

    def _give_up(self) -> bool:
        if self._schedule.now - self._due_since < self._patience - _ROUNDING:
            return False
        self._fail(errno.ETIMEDOUT)
        return True

    def receive_acknowledgement(self, number: int, room: int, *, finished: bool) -> None:
        """The other kernel has so many bytes, and room for so many more."""
        if self.dead:
            return
        fresh = number - self.acknowledged
        if fresh > 0 or room > self._room_there or (finished and not self._finished):
            self._due_since = inf
        self._room_there = room
        if fresh > 0:
            del self._outgoing[:fresh]
            self.acknowledged = number
            self.writable.announce()
        self._finished = self._finished or finished
        flight = self._flight
        if flight is not None and (fresh > 0 or (finished and flight.last)):
            self._flight = None
        if self._finished and self._closed:
            self._die()  # its own part is done; what may still come is answered by a reset
        elif self._flight is None:
            self._push()

    # --- receiving
    def receive(self, start: int, data: bytes, last: bool) -> None:
        """A flight has arrived, perhaps once more."""
        self.open()
        if self.dead or (self._closed and data):
            if not self.dead:
                self._die()
            self._reset_other()
            return
        fresh = data[self._received - start :] if self._received >= start else b""
        taken = fresh[: RECEIVE_BUFFER - len(self._incoming)]
        self._incoming += taken
        self._received += len(taken)
        ended = last and not self._eof and self._received == start + len(data)
        self._eof = self._eof or ended
        self._acknowledge()
        if taken or ended:
            self.readable.announce()

    def _acknowledge(self) -> None:
        other = self.other
        assert other is not None
        number, room, finished = self._received, RECEIVE_BUFFER - len(self._incoming), self._eof
        self._to_other(lambda: other.receive_acknowledgement(number, room, finished=finished))

    # --- ends
    def receive_reset(self) -> None:
        """The other kernel knows of no such connection, or a firewall says so in its name."""
        if not self.connected:
            self._fail(errno.ECONNREFUSED)
        elif not self.dead:
            self._fail(errno.EPIPE if self._eof else errno.ECONNRESET)

    def _fail(self, number: int) -> None:
        if not self.dead:
            self._error = number
            self._die()

    def _die(self) -> None:
        self.dead = True
        self._outgoing.clear()
        self._flight = None
        self.machine.endpoints.pop(self, None)
        self.readable.announce()
        self.writable.announce()

    def _reset_other(self) -> None:
        if self.other is not None:
            self._to_other(self.other.receive_reset)

    def _to_other(self, land: Callable[[], object]) -> None:
        """One packet without content."""
        other = self.other
        assert other is not None
        if self.machine.owns(self.local.host) and other.machine.owns(self.peer.host):
            self._last_landing = self._medium.send(
                self.machine,
                other.machine,
                Protocol.TCP,
                land,
                not_before=self._last_landing,
                refused=self._refused,
            )


class Listener:
    """A TCP socket that listens, and the connections that nobody has accepted yet."""

    def __init__(self, machine: Station, address: Address) -> None:
        self.address = address
        self.acceptable = Readiness(machine)
        self._connections: deque[Endpoint] = deque()
        self._closed = False

    @property
    def full(self) -> bool:
        """No connection more fits into the queue."""
        return len(self._connections) >= _BACKLOG

    def put(self, endpoint: Endpoint) -> bool:
        """A connection is made. False when nobody listens any more."""
        if not self._closed:
            self._connections.append(endpoint)
            self.acceptable.announce()
        return not self._closed

    def take(self) -> list[Endpoint]:
        """All that wait."""
        taken = list(self._connections)
        self._connections.clear()
        return taken

    def close(self) -> None:
        self._closed = True
        while self._connections:
            self._connections.popleft().abort()
        self.acceptable.announce()
