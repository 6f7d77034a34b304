"""Probes of subjects that are on their way: direct pings, and pings through others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from swim.protocol.base.context import Context, Part
from swim.protocol.base.outbox import Way
from swim.protocol.detector.freshness import Freshness
from swim.protocol.detector.watch import Probe
from swim.protocol.gossip.dissemination import Dissemination
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.view.identity import pack_id
from swim.protocol.view.table import Record
from swim.wire import pack_host
from swim.wire.messages import Ping, PingReq

__all__ = ["Probes"]


class Probes(Part):
    """Sends them, and remembers them until they are answered or forgotten."""

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        dissemination: Dissemination,
        freshness: Freshness,
        view_at_rest: Callable[[float], bytes],
    ) -> None:
        super().__init__(context)
        self.pings = self.ping_reqs = 0
        self._own = own
        self._dissemination = dissemination
        self._freshness = freshness
        self._view_at_rest = view_at_rest
        self._flights: dict[int, tuple[str, Probe]] = {}

    def probe(self, record: Record, now: float, way: Way = "udp") -> Probe:
        """One direct ping."""
        probe = self._fly(record.name, now, way)
        self._dissemination.send(record.address, self.make_ping(probe.seq, record, now), way)
        return probe

    def probe_through(self, record: Record, helper: Record, now: float) -> Probe:
        """One ping-req."""
        probe = self._fly(record.name, now, "helper")
        target, port = pack_host(record.address.host), record.address.port
        self._dissemination.send(helper.address, PingReq(probe.seq, record.name, target, port))
        return probe

    def make_ping(self, seq: int, record: Record, now: float) -> Ping:
        if not record.own or self._own.id is None:
            return Ping(seq, record.name)
        count, view = self._freshness.next_count(), self._view_at_rest(now)
        return Ping(seq, record.name, sender_id=pack_id(self._own.id), view=view, count=count)

    def of(self, seq: int) -> tuple[str, Probe] | None:
        """The probe of this number, and the name of its subject."""
        return self._flights.get(seq)

    def forget(self, probes: Iterable[Probe]) -> None:
        """Answers to these will not be waited for any more."""
        for probe in probes:
            self._flights.pop(probe.seq, None)

    def _fly(self, name: str, now: float, way: Way) -> Probe:
        probe = Probe(self.next_seq(), self._attention(now), way)
        self._flights[probe.seq] = (name, probe)
        if way == "helper":
            self.ping_reqs += 1
        else:
            self.pings += 1
        return probe

    def next_seq(self) -> int:
        """A random number, so that an ack can only be forged by those who have seen the ping."""
        while True:
            seq = self._rng.getrandbits(32)
            if seq not in self._flights:
                return seq
