"""Pings, acks and ping-reqs: which members are pinged when, and what the answers say (SWIM section 3.1).

The rings decide which members a node pings; each subject decides when: in each ack it tells the observer
how long to wait until its next turn, so that the pings of all observers reach it one `probe_interval`
apart, whatever the phases they started with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import keep_latest
from swim.protocol.base.loss import LossEstimate
from swim.protocol.base.outbox import Way
from swim.protocol.detector.probes import Probes
from swim.protocol.detector.states import Evidence
from swim.protocol.detector.subjects import Subjects
from swim.protocol.detector.suspicion import Suspicion
from swim.protocol.detector.watch import Probe, Watch
from swim.protocol.gossip.dissemination import Dissemination
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.membership.asking import Asking
from swim.protocol.membership.links import OwnLinks
from swim.protocol.view.identity import pack_id
from swim.protocol.view.table import Record
from swim.types import Address
from swim.wire import unpack_address
from swim.wire.messages import Ack, Nack, Ping, PingReq

__all__ = ["Probing"]

_NACK_AFTER = 0.5
"""Seconds after which a member that was asked to ping another one says that it has heard nothing."""
_RELAYS_MAX = 1_024
_LOSSY_MAX = 64
"""Members that are observed no more, and of which it is remembered how many packets they lost."""
_WAIT_MIN, _WAIT_MAX = 0.25, 1.75  # of the period: a subject cannot shake its observers off


@dataclass(slots=True)
class _Relay:
    """A ping sent on behalf of another member."""

    requester: Address
    seq: int
    answered: bool = False


class Probing(Part):
    """The regular pings, and all answers; what silence means is decided by `Suspicion`."""

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        dissemination: Dissemination,
        links: OwnLinks,
        asking: Asking,
        subjects: Subjects,
        probes: Probes,
        suspicion: Suspicion,
        overlooked: Callable[[str, float], None],
    ) -> None:
        """`overlooked`: a subject has no turn for this node."""
        super().__init__(context)
        self.subjects = subjects
        self.acks = 0
        self._own = own
        self._dissemination = dissemination
        self._links = links
        self._asking = asking
        self._probes = probes
        self._suspicion = suspicion
        self._overlooked = overlooked
        self._relays: dict[int, _Relay] = {}
        self._rings_version = -1
        self._lossy: dict[str, LossEstimate] = {}

    # --- which members

    def refresh(self, now: float) -> None:
        """Follow the rings: take up new subjects, let go of those that others observe now."""
        rings = self._table.rings
        if rings.version == self._rings_version:
            return
        self._rings_version = rings.version
        names = rings.subjects(self._name) if self._name in rings else ()
        for name in [name for name in self.subjects if name not in names]:
            self._let_go(name, now)
        for name in names:
            record = self._table.get(name)
            boot = None if record is None else record.boot
            if name in self.subjects and (self.subjects[name].boot != boot or self.subjects[name].given_up):
                self._let_go(name, now)  # another process has its name
            if name not in self.subjects:
                self.subjects[name] = watch = Watch(boot, now)
                watch.loss = self._lossy.pop(name, watch.loss)
                first = now + self._rng.random() * self._config.probe_interval
                self._timers.set(("ping", name), first, partial(self.ping, name))
                self._suspicion.taken_up(name, watch, now)

    def _let_go(self, name: str, now: float) -> None:
        watch = self.subjects.pop(name)
        self._timers.cancel(("ping", name))
        self._probes.forget(watch.pinged)
        self._suspicion.dismissed(name, watch, now)
        if watch.loss.remarkable(0.0):
            # Removed for its losses: when it comes back as bad as it went, that is known at once.
            self._lossy[name] = watch.loss
            keep_latest(self._lossy, _LOSSY_MAX)

    def _period(self, record: Record) -> float:
        """Between two pings of this node to one subject.

        The observers of one of our own take turns; foreign members cannot tell us our turn and share
        this node's one ping per interval.
        """
        own = len(self._table.rings.observers(record.name)) if record.own else len(self.subjects)
        return self._config.probe_interval * max(1, own)

    # --- asking

    def ping(self, name: str, now: float) -> None:
        """The regular ping of a subject, unless it is doubted, and pinged all the time."""
        record, watch = self._table.get(name), self.subjects.get(name)
        if record is None or watch is None:
            return
        self._timers.set(("ping", name), now + self._period(record), partial(self.ping, name))
        if watch.learn(Evidence.PINGED, self._attention(now)):
            self._probes.forget(watch.pinged)
            ways: tuple[Way, ...] = ("udp", "stream") if watch.stream_only else ("udp",)
            watch.pinged = [self._probes.probe(record, now, way) for way in ways]
            self._suspicion.asked(name, now)

    # --- answering

    def receive_ping(
        self, ping: Ping, sender: Record | None, source: Address, now: float, *, streamed: bool = False
    ) -> None:
        """Acks go to where the ping came from, never to an address that it names (memberlist#371).

        What came over the stream is answered there only: what came by UDP is answered both ways.
        """
        if ping.node not in ("", self._name):
            self._outbox.drop("ping-name")
            if ping.sender_id:  # one of our own: tell it that another process is here
                self._outbox.send(source, Nack(ping.seq))
            return
        if not ping.sender_id:
            ack = Ack(ping.seq)
        else:
            # An observer needs the boot only; a node that names itself asks about a claim.
            own_id = self._own.id if ping.source_node else None
            ack = Ack(
                ping.seq,
                sender_id=pack_id(own_id),
                boot=self._own.boot.encode(),
                wait_ms=0 if sender is None else self._wait_ms(sender.name, now),
                bare=True,
                unknown=bool(ping.source_node) and not (self._own.speaks and self._knows(ping, source)),
            )
        if sender is not None:
            self._dissemination.send(source, ack, "stream" if streamed else None)
            return
        # A stranger gets no more than it sent (see `Reception._trim`): what is not needed is left out.
        codec = self._outbox.codec
        answer = codec.part(ack)
        if len(answer) > len(codec.part(ping)):
            answer = codec.part(Ack(ping.seq, bare=True))
        self._outbox.put(codec.packet((answer,)), source)

    def _knows(self, ping: Ping, source: Address) -> bool:
        """Is the node that names itself a member of this cluster? (Before it has one, no node is unknown.)"""
        record = self._table.get(ping.source_node)
        if record is None or not record.present:
            return self._own.record is None
        return record.address == source or pack_id(record.id) == ping.sender_id

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
        """Only for members, about members: so this node cannot be made to ping strangers."""
        target = self._table.at(unpack_address(request.target, request.port))
        if target is None or target.name != request.node:
            self._outbox.drop("ping-req-target")
            return
        if any(relay.seq == request.seq and relay.requester == requester for relay in self._relays.values()):
            return  # it came by UDP and over the stream
        if len(self._relays) >= _RELAYS_MAX:
            self._outbox.drop("relays-max")
            return
        seq = self._probes.next_seq()
        self._relays[seq] = _Relay(requester, request.seq)
        self._outbox.send(target.address, self._probes.make_ping(seq, target, now))
        self._timers.set(("relay", seq), now + _NACK_AFTER, lambda at: self._give_up(seq, request.nack))

    def _give_up(self, seq: int, nack: bool) -> None:
        relay = self._relays.pop(seq)
        if nack and not relay.answered:
            self._outbox.send(relay.requester, Nack(relay.seq))

    def receive_nack(self, nack: Nack, now: float) -> str | None:
        """Another process has the address that was pinged. Returns the subject that was expected, if any."""
        self._asking.receive_nack(nack.seq, now)
        flight = self._probes.of(nack.seq)
        return None if flight is None or flight[1].way == "helper" else flight[0]

    def receive_ack(self, ack: Ack, now: float, *, streamed: bool = False) -> str | None:
        """Returns the name of the member whose own answer to a direct ping this is."""
        if (flight := self._probes.of(ack.seq)) is not None:
            name, probe = flight
            if streamed and probe.way == "udp":
                # Which does not show that UDP works: that ack may yet come.
                probe = replace(probe, way="stream")
            else:
                self._probes.forget([probe])
            self.acks += 1
            self._landed(name, probe, ack, now)
            return None if probe.way == "helper" else name
        if (relay := self._relays.get(ack.seq)) is not None:
            if not relay.answered:
                relay.answered = True
                self._outbox.send(relay.requester, replace(ack, seq=relay.seq, payload=None, wait_ms=0))
        else:
            self._asking.receive_ack(ack, now)
        return None

    def _landed(self, name: str, probe: Probe, ack: Ack, now: float) -> None:
        watch = self.subjects.get(name)
        if watch is None:
            return
        if watch.ended is not None and probe.sent <= watch.ended:
            return  # the last breath of a process that may have died since
        watch.heard = self._attention(now)
        self._links.answered(now)
        if probe.way != "helper":
            self._table.meet(name)
            # A stream repeats what is lost: by what that takes, every loss would be noticed late.
            if probe.way == "udp" or watch.stream_only:
                watch.round_trip.add(max(0.0, self._attention(now) - probe.sent))
            self._follow_turn(name, ack.wait_ms / 1000, now)
        self._suspicion.answered(name, probe, ack, now)
        if ack.boot and not ack.wait_ms and probe.way != "helper":
            self._overlooked(name, now)

    def _follow_turn(self, name: str, wait: float, now: float) -> None:
        record = self._table.get(name)
        if record is None or not wait:
            return
        period = self._period(record)
        wait = min(max(wait, _WAIT_MIN * period), _WAIT_MAX * period)
        self._timers.set(("ping", name), now + wait, partial(self.ping, name))
