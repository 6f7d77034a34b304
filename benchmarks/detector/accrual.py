"""Hayashibara's accrual detector as a baseline, beside the likelihood of probes that swim uses.

One pair, a heartbeat a second, threshold 8: after how long a crash is noticed, and how often a live member
is taken for dead because heartbeats were lost. Hayashibara et al. 2004 fit a normal distribution to the
times between arrivals; Akka and Pekko add a least deviation and an acceptable pause.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from random import Random
from statistics import NormalDist
from typing import Any

from rich.table import Table

from benchmarks.detector.report import short
from swim.config import Config
from swim.protocol.detector.accrual import PHI_DEAD, phi
from swim.simulation.network import Fabric, Network

__all__ = ["Hayashibara", "silence_needed", "table"]

PERIOD = 1.0
HOURS = 100.0
WINDOW = 1_000


@dataclass
class Hayashibara:
    """The estimator: phi(t) = -log10 P(the next heartbeat arrives later than t after the last one)."""

    deviation_min: float = 1e-3
    pause: float = 0.0
    """Akka's `acceptable-heartbeat-pause`: added to the mean."""

    def __post_init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=WINDOW)
        self._last: float | None = None
        self._sum = self._squares = 0.0

    def heartbeat(self, now: float) -> None:
        if self._last is not None:
            if len(self._gaps) == WINDOW:
                oldest = self._gaps[0]
                self._sum -= oldest
                self._squares -= oldest * oldest
            gap = now - self._last
            self._gaps.append(gap)
            self._sum += gap
            self._squares += gap * gap
        self._last = now

    def _normal(self) -> NormalDist:
        mean = self._sum / len(self._gaps)
        variance = max(0.0, self._squares / len(self._gaps) - mean * mean)
        return NormalDist(mean + self.pause, max(self.deviation_min, math.sqrt(variance)))

    def phi(self, now: float) -> float:
        if self._last is None or not self._gaps:
            return 0.0
        normal = self._normal()
        deviations = (now - self._last - normal.mean) / normal.stdev
        later = 0.5 * math.erfc(deviations / math.sqrt(2.0))
        return math.inf if later <= 0.0 else max(0.0, -math.log10(later))

    def patience(self, threshold: float) -> float:
        """Seconds after the last heartbeat at which phi reaches the threshold."""
        normal = self._normal()
        return normal.mean - normal.stdev * NormalDist().inv_cdf(10.0**-threshold)


def classic(estimator: Hayashibara, loss: float, rng: Random, hours: float) -> tuple[float, float]:
    """Mean seconds from a crash to phi 8, and false alarms per hour."""
    fabric = Fabric(Network.lan(), rng, rng)
    alarms, delays = 0, []
    last = 0.0
    for beat in range(int(hours * 3600 / PERIOD)):
        sent = beat * PERIOD
        if rng.random() < loss:
            continue
        arrived = sent + fabric.delay("one", "other")
        if beat > 100:
            patience = estimator.patience(PHI_DEAD)
            alarms += arrived - last > patience
            crashed = rng.uniform(0.0, PERIOD)  # at any time of the period after this heartbeat
            delays.append(max(0.0, patience - crashed))
        estimator.heartbeat(arrived)
        last = arrived
    return sum(delays) / len(delays), alarms / hours


def probes(loss: float, triage: bool = False) -> tuple[float, float]:
    """The same for swim's likelihood: the silence at which phi is 8, when a round of probes goes out every
    `round_max`; false alarms as the product of the losses says (they are too rare to be simulated)."""
    tolerance = Config.lan().silence_tolerance * (1.0 if triage else 1.5)
    silence, rounds = silence_needed(tolerance, loss)
    true_loss = 1 - (1 - loss) ** 2
    return PERIOD / 2 + silence, 3600 / PERIOD * true_loss**rounds


def silence_needed(tolerance: float, loss: float) -> tuple[float, int]:
    """The silence at which phi is 8, in seconds, and the direct probes that are unanswered then."""
    lost = max(0.005, 1 - (1 - loss) ** 2)
    silence = step = 0.01
    while phi(silence, tolerance, [lost] * _overdue(silence)) < PHI_DEAD:
        silence += step
    return silence, _overdue(silence)


def _overdue(silence: float) -> int:
    """How many direct probes have gone unanswered: rounds grow from `rtt_min` to `round_max`."""
    config = Config.lan()
    sent, wait, count = 0.0, config.rtt_min, 0
    while sent + config.rtt_min <= silence:
        count += 1
        sent += wait
        wait = min(config.round_max, wait * 1.6)
    return count


def table(args: Any) -> list[Table]:
    hours = 2.0 if args.quick else HOURS
    title = "One pair, T = 1 s, phi 8: mean detection in s / false alarms per hour"
    found = Table(title=f"{title}; {hours:.0f} h, seed {args.seed}")
    columns: dict[str, dict[str, float]] = {
        "Hayashibara": {},
        "least deviation 0.1 s": {"deviation_min": 0.1},
        "Akka (0.1 s, pause 3 s)": {"deviation_min": 0.1, "pause": 3.0},
    }
    for column in ("loss", *columns, "swim, kernel unknown", "swim"):
        found.add_column(column)
    for loss in (0.0, 0.01, 0.05, 0.2):
        cells = []
        for name, options in columns.items():
            rng = Random(f"{args.seed}:{loss}:{name}")
            delay, alarms = classic(Hayashibara(**options), loss, rng, hours)
            cells.append(f"{short(delay)} / {alarms:.2g}")
        for triage in (False, True):
            delay, alarms = probes(loss, triage)
            cells.append(f"{short(delay)} / {alarms:.0e} (computed)")
        found.add_row(f"{100 * loss:.0f} %", *cells)
    return [found]
