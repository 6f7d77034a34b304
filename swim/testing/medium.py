"""How packets get from one machine of a world to another, or what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swim.simulation.network import Cut, Fabric, Protocol, Refusal
from swim.simulation.schedule import Schedule
from swim.simulation.trace import Trace
from swim.testing.station import Station, is_loopback

__all__ = ["Medium", "Slowness"]

LOOPBACK_DELAY = 0.00002


@dataclass(frozen=True, eq=False, slots=True)
class Slowness:
    """What passes only slowly: `delay` is added one way, in seconds; `bandwidth` is in bytes per second."""

    between: Cut
    delay: float
    bandwidth: float | None


class Medium:
    """The network of a world, and which machine is where in it."""

    def __init__(self, fabric: Fabric, schedule: Schedule, trace: Trace) -> None:
        self.fabric = fabric
        self.schedule = schedule
        self.trace = trace
        self.machines: dict[str, Station] = {}
        """By address."""
        self.slow: list[Slowness] = []
        self._busy: dict[tuple[str, str], float] = {}
        """Until when a link of bounded bandwidth is taken up."""

    def machine_at(self, host: str, seen_from: Station) -> Station | None:
        """Which machine has this address, from this one's point of view."""
        return seen_from if is_loopback(host) else self.machines.get(host)

    def passage(self, source: Station, target: Station, protocol: Protocol, size: int) -> float | None:
        """How long one packet with so many bytes of content takes that is sent now; None if it gets lost."""
        if source.lost:
            return None
        if source is target:
            return LOOPBACK_DELAY
        size += protocol.headers
        fabric = self.fabric
        if not fabric.passes(source.name, target.name, self.schedule.now, protocol, size):
            return None
        delay = fabric.delay(source.name, target.name)
        for slow in self.slow:
            if slow.between.severs(source.name, target.name, protocol, size):
                delay += slow.delay + self._queue(source, target, size, slow.bandwidth)
        return delay

    def send(
        self,
        source: Station,
        target: Station,
        protocol: Protocol,
        land: Callable[[], object],
        *,
        size: int = 0,
        not_before: float = 0.0,
        refused: Callable[[Refusal], object] | None = None,
    ) -> float:
        """Send one packet: `land` is called when it arrives at a machine that is there.

        Returns when that will be, or `not_before` if it gets lost. `refused` is called if a firewall says so.
        """
        delay = self.passage(source, target, protocol, size)
        if delay is not None:
            when = max(not_before, self.schedule.now + delay)
            self.schedule.at(when, _land, target, land)
            return when
        if refused is not None:
            self.refuse(source, target, protocol, size, refused)
        return not_before

    def refuse(
        self,
        source: Station,
        target: Station,
        protocol: Protocol,
        size: int,
        refused: Callable[[Refusal], object],
    ) -> None:
        """If it was lost to a firewall that answers: that answer, if it arrives."""
        if source.lost or target.lost:
            return
        cut = self.fabric.barrier(source.name, target.name, protocol, size + protocol.headers)
        if cut is None or cut.refusal is None:
            return
        refusal = cut.refusal
        there = self.fabric.delay(source.name, target.name)
        back: float | None = 0.0  # a router sits half of the way there
        if not refusal.by_router:
            by_reset = protocol is Protocol.TCP and refusal.resets
            back = self.passage(target, source, protocol if by_reset else Protocol.ICMP, 0)
        if back is not None:
            self.schedule.after(there + back, _land, source, lambda: refused(refusal))

    def delivered(self, source: Station, target: Station, data: bytes) -> None:
        """A datagram or a part of a stream has arrived: it goes into the digest."""
        self.trace.packet(self.schedule.now, source.number, target.number, data)

    def _queue(self, source: Station, target: Station, size: int, bandwidth: float | None) -> float:
        if bandwidth is None:
            return 0.0
        now, link = self.schedule.now, (source.name, target.name)
        self._busy[link] = max(now, self._busy.get(link, 0.0)) + size / bandwidth
        return self._busy[link] - now


def _land(target: Station, land: Callable[[], object]) -> None:
    if not target.lost:
        land()
