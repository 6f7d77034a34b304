"""The members that this node observes."""

from __future__ import annotations

from swim.config import Config
from swim.protocol.base.loss import LossEstimate
from swim.protocol.base.middle import median
from swim.protocol.detector.states import SUSPECTED
from swim.protocol.detector.watch import Watch

__all__ = ["Subjects"]


class Subjects(dict[str, Watch]):
    """Each by its name, with all that is known of its health. See `Probing.refresh` for which they are."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.ended: dict[str, tuple[str, float]] = {}
        """Of other members, streams that have ended lately: of which process, and when (attention clock)."""
        self._config = config

    def timeout(self, name: str) -> float:
        """Seconds in which an ack of this subject can be expected."""
        return self[name].round_trip.timeout(self._config.rtt_min, self._config.rtt_max)

    def patience(self) -> float:
        """How long an answer of those that answer may take."""
        answering = [name for name, watch in self.items() if watch.case is None]
        return max(map(self.timeout, answering or self), default=self._config.rtt_min)

    def suspects(self, name: str) -> bool:
        watch = self.get(name)
        return watch is not None and watch.suspected

    def suspected(self) -> list[str]:
        """All of them: those that this node `suspects`."""
        return [name for name, watch in self.items() if watch.state in SUSPECTED]

    def usual_loss(self, without: str = "") -> float:
        """The share of probes that the other subjects do not answer."""
        others = [watch.loss.share for name, watch in self.items() if name != without]
        return median(others) if others else LossEstimate().share

    def stream_only(self) -> list[str]:
        """Those that answer over their streams and not by UDP."""
        return [name for name, watch in self.items() if watch.stream_only]

    def observed_for(self, seconds: float, now: float) -> list[str]:
        """Those that have been this node's for so long."""
        return [name for name, watch in self.items() if now - watch.since >= seconds]

    def silent_for(self, seconds: float, attention: float) -> list[str]:
        """Those that have answered in no way for so long."""
        cases = ((name, watch.case) for name, watch in self.items())
        return [name for name, case in cases if case is not None and case.silence(attention) >= seconds]
