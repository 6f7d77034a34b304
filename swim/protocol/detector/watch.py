"""All that a node knows of one member that it observes: its state, what was measured, and its open case.

Times are of the attention clock, unless said otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from swim.protocol.base.loss import LossEstimate
from swim.protocol.base.outbox import Way
from swim.protocol.detector.accrual import RoundTrip
from swim.protocol.detector.states import SUSPECTED, TRANSITIONS, Evidence, State
from swim.wire.messages import ObserverMessage

__all__ = ["Case", "Poll", "Probe", "Watch"]

_ASKERS_MAX = 16
_FIRST_PROBES, _LAST_PROBES = 16, 48
"""Of a case, so many are waited for: see `Case.add`."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One ping or ping-req that waits for an answer."""

    seq: int
    sent: float
    way: Way


@dataclass(slots=True)
class Case:
    """The member is doubted: since the first of its probes that was not answered."""

    since: float
    probes: list[Probe] = field(default_factory=list)
    round: int = 0
    alive: float = -math.inf
    """When the last probe was sent that it answered over the stream."""
    kernel_answered: float = -math.inf
    askers: dict[str, ObserverMessage] = field(default_factory=dict)
    """Observers that have polled this node, and wait for its conclusion."""
    accusers: dict[str, str] = field(default_factory=dict)
    hinted: dict[str, None] = field(default_factory=dict)
    succeeded: bool = False
    """Another process of its name asks to be let in: see `Suspicion.succeeded`."""

    def silence(self, attention: float) -> float:
        """For how long nothing has come from it, by any way."""
        return attention - max(self.since, self.alive)

    def overdue(self, attention: float, timeout: float) -> list[Probe]:
        """Its probes that are most likely lost. A stream repeats what is lost: those are only late."""
        return [
            probe
            for probe in self.probes
            if probe.way != "stream" and attention - probe.sent > timeout * (1 + (probe.way == "helper"))
        ]

    def add(self, probes: list[Probe]) -> list[Probe]:
        """Further probes; returns those that are not waited for any more.

        When a long silence ends, the first probes are what is answered: the buffers hold the oldest.
        """
        self.probes += probes
        excess = slice(_FIRST_PROBES, max(_FIRST_PROBES, len(self.probes) - _LAST_PROBES))
        given_up = self.probes[excess]
        del self.probes[excess]
        return given_up

    def ask(self, asker: str, poll: ObserverMessage) -> None:
        self.accusers[asker] = "poll"
        if len(self.askers) < _ASKERS_MAX:
            self.askers[asker] = poll


@dataclass(slots=True)
class Poll:
    """What the other observers were asked, and what they have said."""

    round: int
    asked: tuple[str, ...]
    certain: bool
    excuses_silent: bool
    """It has been silent for so long that only the observers that answer at all are counted."""
    awaited: tuple[str, ...]
    """The observers that are waited for. One that does not answer this node either may be dead as well."""
    agreed: dict[str, None] = field(default_factory=dict)
    vetoed: bool = False

    @property
    def complete(self) -> bool:
        """Nothing that may still come would change the outcome."""
        return self.vetoed or (bool(self.awaited) and all(name in self.agreed for name in self.awaited))


@dataclass(slots=True)
class _Noted:
    """When a kind of evidence was there first, and last."""

    first: float
    last: float
    times: int = 1


class Watch:
    """One observed member."""

    __slots__ = (
        "_history",
        "able",
        "boot",
        "case",
        "ended",
        "heard",
        "kernel_known",
        "loss",
        "lossy",
        "lossy_poll",
        "pinged",
        "poll",
        "refused",
        "round_trip",
        "since",
        "state",
        "udp_lost",
    )

    def __init__(self, boot: str | None, since: float) -> None:
        self.state = State.ANSWERING
        self.boot = boot
        """Of its process; None for a foreign member."""
        self.since = since
        """When this node began to observe it, by the driver's clock."""
        self.round_trip = RoundTrip()
        self.loss = LossEstimate()
        self.lossy = -math.inf
        """When most of its packets were found lost, last."""
        self.heard = -math.inf
        """Its last ack."""
        self.pinged: list[Probe] = []
        """The last regular ping: by UDP, and where that is silent over the stream, too."""
        self.udp_lost = 0
        """Pings by UDP in cases before this one that were lost, since the last that was answered."""
        self.kernel_known = False
        """Its kernel has answered us before, so that its silence would mean something."""
        self.ended: float | None = None
        """When a stream with its process ended unasked; nothing that was sent later was answered since."""
        self.refused = -math.inf
        self.case: Case | None = None
        self.poll: Poll | None = None
        self.lossy_poll: Poll | None = None
        """The other question: do most packets to it get lost?"""
        self.able: dict[str, None] = {}
        """Observers that have answered a poll about it."""
        self._history: dict[Evidence, _Noted] = {}
        """What was learnt since it answered last."""

    def learn(self, evidence: Evidence, attention: float) -> bool:
        """Note a piece of evidence. Whether it changed the state."""
        if self.state is State.ANSWERING:
            self._history.clear()  # what led to an earlier verdict, or to none, is over
        noted = self._history.get(evidence)
        if noted is None:
            self._history[evidence] = _Noted(attention, attention)
        else:
            noted.last, noted.times = attention, noted.times + 1
        following = TRANSITIONS.get((self.state, evidence))
        if following is None:
            return False
        self.state = following
        return True

    @property
    def ever_heard(self) -> bool:
        """Has it ever answered? Without keys anybody can make up members, and these do not."""
        return self.heard > -math.inf

    @property
    def suspected(self) -> bool:
        return self.state in SUSPECTED

    @property
    def doubtful(self) -> bool:
        """Something speaks against it."""
        return self.suspected or self.ended is not None or self.refused > self.heard

    @property
    def asked(self) -> bool:
        """A regular ping is on its way."""
        return self.state in (State.ASKED, State.STREAM_ASKED)

    @property
    def given_up(self) -> bool:
        return self.state is State.GIVEN_UP

    @property
    def stream_only(self) -> bool:
        return self.state in (State.STREAM_ONLY, State.STREAM_ASKED)

    @property
    def proven(self) -> bool:
        """Its process is gone: it ended its stream as a dying one does, and what was sent then is refused."""
        return self.ended is not None and self.refused > self.ended

    def evidence(self, attention: float) -> str:
        """What led to the present state, for a trace: the oldest first, with the seconds since then."""
        return "; ".join(
            f"{evidence.value} {attention - noted.first:.3f} s ago"
            + (f" ({noted.times} times, last {attention - noted.last:.3f})" if noted.times > 1 else "")
            for evidence, noted in self._history.items()
        )
