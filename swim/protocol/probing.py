"""Pings, acks and ping-reqs: who is asked when, and what the answers say (SWIM section 3.1).

Whom a member pings is decided by the rings; when, by the subject: in each ack it tells the observer
how long to wait until its next turn, so that the pings of all observers reach it one `probe_interval`
apart, whatever the phases they started with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from swim.protocol.accrual import LossEstimate, RoundTrip
from swim.protocol.context import Context, Part
from swim.protocol.dissemination import Dissemination
from swim.protocol.identity import pack_id
from swim.protocol.links import Links
from swim.protocol.myself import Myself
from swim.protocol.table import Record
from swim.types import Address
from swim.wire import pack_host, unpack_address
from swim.wire.messages import Ack, Nack, Ping, PingReq

__all__ = ["Probing", "Subject"]

_NACK_AFTER = 0.5
_RELAYS_MAX = 1_024
_ASKED_MAX = 256
_LOSSY_MAX = 64
_WAIT_MIN, _WAIT_MAX = 0.25, 1.75  # of the period: a subject cannot shake its observers off

Answered = Callable[[Ack, float], None]
Silent = Callable[[float], None]


class Subject:
    """A member that this node observes, and what it has measured of it."""

    __slots__ = ("heard", "kernel_known", "loss", "pinged", "round_trip", "since")

    def __init__(self, since: float) -> None:
        self.round_trip = RoundTrip()
        self.loss = LossEstimate()
        self.since = since
        """When this node began to observe it."""
        self.heard = -math.inf
        """The last ack, by the attention clock."""
        self.kernel_known = False
        """Its kernel has answered us before, so that its silence would mean something."""
        self.pinged: tuple[int, float] | None = None
        """The regular ping that is not answered yet: its number, and when (by the attention clock)."""


@dataclass(frozen=True, slots=True)
class _Flight:
    """A ping or ping-req that is not answered yet; `sent` by the attention clock."""

    name: str
    sent: float
    indirect: bool


@dataclass(frozen=True, slots=True)
class _Relay:
    """A ping sent on behalf of another member."""

    requester: Address
    seq: int


class Probing(Part):
    """Sends the probes and reads the answers; what silence means is decided by `Suspicion`."""

    def __init__(
        self,
        context: Context,
        myself: Myself,
        dissemination: Dissemination,
        links: Links,
        *,
        view_at_rest: Callable[[float], bytes],
        answered: Callable[[str, int, Ack, float], None],
        overdue: Callable[[str, float], None],
        overlooked: Callable[[str, float], None],
    ) -> None:
        super().__init__(context)
        self.subjects: dict[str, Subject] = {}
        self.pings = self.ping_reqs = self.acks = 0
        self._myself = myself
        self._dissemination = dissemination
        self._links = links
        self._view_at_rest = view_at_rest
        self._answered = answered
        self._overdue = overdue
        self._overlooked = overlooked
        self._flights: dict[int, _Flight] = {}
        self._relays: dict[int, _Relay] = {}
        self._asked: dict[int, tuple[Answered, Silent]] = {}
        self._rings_version = -1
        self._lossy: dict[str, LossEstimate] = {}

    # --- whom

    def refresh(self, now: float) -> bool:
        """Follow the rings: take up new subjects, let go of those that others observe now.

        Whether the rings have changed.
        """
        rings = self._table.rings
        if rings.version == self._rings_version:
            return False
        self._rings_version = rings.version
        names = rings.subjects(self._name) if self._name in rings else ()
        for name in [name for name in self.subjects if name not in names]:
            self._let_go(name)
            self._timers.cancel(("ping", name))
            self._timers.cancel(("case", name))
        for name in names:
            if name not in self.subjects:
                self.subjects[name] = subject = Subject(now)
                subject.loss = self._lossy.pop(name, subject.loss)
                first = now + self._rng.random() * self._config.probe_interval
                self._timers.set(("ping", name), first, partial(self.ping, name))
        return True

    def _let_go(self, name: str) -> None:
        subject = self.subjects.pop(name)
        if subject.pinged is not None:
            self.forget([subject.pinged[0]])
        if subject.loss.remarkable(0.0):
            # Removed for its losses: when it comes back as bad as it went, that is known at once.
            self._lossy[name] = subject.loss
            if len(self._lossy) > _LOSSY_MAX:
                del self._lossy[next(iter(self._lossy))]

    def observed_for(self, seconds: float, now: float) -> list[Record]:
        """The subjects that have been this node's for so long."""
        names = [name for name, subject in self.subjects.items() if now - subject.since >= seconds]
        return [record for record in map(self._table.get, names) if record is not None]

    def _period(self, record: Record) -> float:
        """Between two pings of this node to one subject.

        The observers of one of our own take turns; foreign members cannot tell us our turn and share
        this node's one ping per interval.
        """
        own = len(self._table.rings.observers(record.name)) if record.own else len(self.subjects)
        return self._config.probe_interval * max(1, own)

    def timeout(self, name: str) -> float:
        """Seconds in which an ack of this subject can be expected."""
        return self.subjects[name].round_trip.timeout(self._config.rtt_min, self._config.rtt_max)

    # --- asking

    def ping(self, name: str, now: float) -> None:
        """The regular ping of a subject; `Suspicion` hears of it if it is not answered in time."""
        record, subject = self._table.get(name), self.subjects.get(name)
        if record is None or subject is None:
            return
        self._timers.set(("ping", name), now + self._period(record), partial(self.ping, name))
        if self._timers.when(("case", name)) is None:  # else its case does the probing
            subject.pinged = (self.probe(record, now), self._attention(now))
            self._timers.set(("case", name), now + self.timeout(name), lambda at: self._overdue(name, at))

    def probe(self, record: Record, now: float) -> int:
        """One direct ping; returns its number."""
        seq = self._fly(record.name, now, indirect=False)
        self._dissemination.send(record.address, self._make_ping(seq, record, now))
        return seq

    def probe_through(self, record: Record, helper: Record, now: float) -> int:
        """One ping-req; returns its number."""
        seq = self._fly(record.name, now, indirect=True)
        target, port = pack_host(record.address.host), record.address.port
        self._dissemination.send(helper.address, PingReq(seq, record.name, target, port))
        return seq

    def forget(self, seqs: list[int]) -> None:
        """Answers to these will not be waited for any more."""
        for seq in seqs:
            self._flights.pop(seq, None)

    def ask(
        self, name: str, address: Address, now: float, answered: Answered, silent: Silent, *, tries: int = 1
    ) -> bool:
        """Ping an address that need not be a member's; one of the two is called within `rtt_max`.

        False (and neither is called) when too many are being asked already.
        """
        if len(self._asked) >= _ASKED_MAX:
            self._outbox.drop("asked-max")
            return False
        seq = self._next_seq()
        self._asked[seq] = (answered, silent)
        # A stranger is answered with no more than it sent: naming ourselves leaves room for the answer.
        sender = pack_id(self._myself.id) or bytes(16)
        ping = Ping(seq, name, source_node=self._name, sender_id=sender)
        interval = self._config.rtt_max / tries

        def again(left: int, at: float) -> None:
            if left == 0:
                self._asked.pop(seq)[1](at)
                return
            self._outbox.send(address, ping)
            self._timers.set(("asked", seq), at + interval, partial(again, left - 1))

        again(tries, now)
        return True

    def _fly(self, name: str, now: float, *, indirect: bool) -> int:
        seq = self._next_seq()
        self._flights[seq] = _Flight(name, self._attention(now), indirect)
        if indirect:
            self.ping_reqs += 1
        else:
            self.pings += 1
        return seq

    def _next_seq(self) -> int:
        """A random number, so that nobody can forge an ack who has not seen the ping."""
        while True:
            seq = self._rng.getrandbits(32)
            if seq not in self._flights and seq not in self._relays and seq not in self._asked:
                return seq

    def _make_ping(self, seq: int, record: Record, now: float) -> Ping:
        if not record.own or self._myself.id is None:
            return Ping(seq, record.name)
        return Ping(seq, record.name, sender_id=pack_id(self._myself.id), view=self._view_at_rest(now))

    # --- answering

    def receive_ping(self, ping: Ping, sender: Record | None, source: Address, now: float) -> None:
        """Acks go to where the ping came from, never to an address that it names (memberlist#371)."""
        if ping.node not in ("", self._name):
            self._outbox.drop("ping-name")
            return
        if not ping.sender_id:
            ack = Ack(ping.seq)
        else:
            # Who watches a member needs its boot only; who names itself asks about a claim.
            own_id = self._myself.id if ping.source_node else None
            ack = Ack(
                ping.seq,
                sender_id=pack_id(own_id),
                boot=self._myself.boot.encode(),
                wait_ms=0 if sender is None else self._wait_ms(sender.name, now),
                bare=True,
            )
        if sender is not None:
            self._dissemination.send(source, ack)
            return
        # A stranger gets no more than it sent (see `Node._trim`): what is not needed is left out.
        part = self._outbox.codec.part
        bare = Ack(ping.seq, bare=True)
        fits = len(part(ack)) <= len(part(ping))
        self._outbox.send(source, ack if fits else bare)

    def _wait_ms(self, observer: str, now: float) -> int:
        """Until this observer's next turn, by this node's clock."""
        observers = self._table.rings.observers(self._name)
        if observer not in observers:
            return 0
        interval = self._config.probe_interval
        period = interval * len(observers)
        wait = (observers.index(observer) * interval - now) % period
        if wait < interval / 2:
            wait += period
        return max(1, int(wait * 1000))

    def receive_ping_req(self, request: PingReq, requester: Address, now: float) -> None:
        """Only for members, about members: nobody can make this node ping a stranger."""
        target = self._table.at(unpack_address(request.target, request.port))
        if target is None or target.name != request.node:
            self._outbox.drop("ping-req-target")
            return
        if len(self._relays) >= _RELAYS_MAX:
            self._outbox.drop("relays-max")
            return
        seq = self._next_seq()
        self._relays[seq] = _Relay(requester, request.seq)
        self._outbox.send(target.address, self._make_ping(seq, target, now))
        self._timers.set(("relay", seq), now + _NACK_AFTER, lambda at: self._give_up(seq, request.nack))

    def _give_up(self, seq: int, nack: bool) -> None:
        relay = self._relays.pop(seq)
        if nack:
            self._outbox.send(relay.requester, Nack(relay.seq))

    def receive_ack(self, ack: Ack, now: float) -> str | None:
        """Returns the name of the member whose own answer to a direct ping this is."""
        if (flight := self._flights.pop(ack.seq, None)) is not None:
            self.acks += 1
            self._landed(flight, ack, now)
            return None if flight.indirect else flight.name
        if (relay := self._relays.pop(ack.seq, None)) is not None:
            self._timers.cancel(("relay", ack.seq))
            self._outbox.send(relay.requester, replace(ack, seq=relay.seq, payload=None, wait_ms=0))
        elif (asked := self._asked.pop(ack.seq, None)) is not None:
            self._timers.cancel(("asked", ack.seq))
            asked[0](ack, now)
        return None

    def _landed(self, flight: _Flight, ack: Ack, now: float) -> None:
        subject = self.subjects.get(flight.name)
        if subject is None:
            return
        subject.heard, subject.pinged = self._attention(now), None
        self._links.answered(now)
        if not flight.indirect:
            subject.round_trip.add(max(0.0, self._attention(now) - flight.sent))
            self._follow_turn(flight.name, ack.wait_ms / 1000, now)
        self._answered(flight.name, ack.seq, ack, now)
        if ack.boot and not ack.wait_ms and not flight.indirect:
            self._overlooked(flight.name, now)

    def _follow_turn(self, name: str, wait: float, now: float) -> None:
        record = self._table.get(name)
        if record is None or not wait:
            return
        period = self._period(record)
        wait = min(max(wait, _WAIT_MIN * period), _WAIT_MAX * period)
        self._timers.set(("ping", name), now + wait, partial(self.ping, name))
