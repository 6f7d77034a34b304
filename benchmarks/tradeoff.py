"""Detection time against false deaths: what a failure detector pays for being quick.

    python -m benchmarks.tradeoff [--hours 500] [--loss 0.05] [--quick]

One observer and one member, a heartbeat or ping a second. The weather is the same for all: each packet is
lost with probability `--loss`, and once a minute the member's process stands still (garbage collection, a
blocked event loop) for a time that is log-normal, of median 0.2 s and sigma 1.2: 2.7 % of the pauses are
longer than 2 s, 0.02 % longer than 15 s. Each curve changes the one setting with which a detector is tuned:

- classic phi (Hayashibara et al. 2004): the threshold, from 1 to 16, over 1,000 heartbeats; the deviation is
  at least 0.1 s.
- Akka and Pekko: the same with 3 s of acceptable pause added.
- memberlist: the suspicion multiplier, from 1 to 8; time-outs as its documentation computes them for 128
  members (a probe's cycle, then multiplier x log10(N) s). Loss alone never reaches it: others probe as well.
- swim: the silence tolerance, from 0.5 to 8 s, the pause tolerance always 7.5 times that, as the defaults
  are. Its probes are the core's own formula. Where the process stands still its kernel answers: the *pause*
  tolerance applies; the time to detect is that of a machine that is lost, whose kernel does not.

Classic phi is simulated for `--hours`; swim and memberlist are computed, their false deaths are too rare.
Polls, by which swim's observers outvote a wrong one, are left out. A process that is killed is told by its
kernel, which only swim asks: that takes milliseconds at any setting, and is not in the picture.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from random import Random
from statistics import NormalDist
from typing import Any

from benchmarks import pictures, record, show
from benchmarks.detector.accrual import Hayashibara, silence_needed
from swim.config import Config

__all__ = ["main"]

PERIOD = 1.0
PAUSES_PER_HOUR, PAUSE_MEDIAN, PAUSE_SIGMA = 60.0, 0.2, 1.2
THRESHOLDS = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 16.0)
MULTIPLIERS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
TOLERANCES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
PAUSE_RATIO = Config.lan().pause_tolerance / Config.lan().silence_tolerance
FLOOR = 1e-5
"""False deaths an hour; fewer are drawn here."""
DEFAULTS = {"classic phi": 8.0, "Akka, Pekko": 8.0, "memberlist": 4.0, "swim": Config.lan().silence_tolerance}
SETTINGS = {
    "classic phi": "threshold",
    "Akka, Pekko": "threshold",
    "memberlist": "multiplier",
    "swim": "silence tolerance, s",
}

Point = dict[str, Any]


def heartbeats(rng: Random, loss: float, hours: float, pause: float) -> list[Point]:
    """All thresholds over the same heartbeats."""
    estimator = Hayashibara(deviation_min=0.1, pause=pause)
    alarms, delays = [0] * len(THRESHOLDS), [0.0] * len(THRESHOLDS)
    scores = [NormalDist().inv_cdf(10.0**-threshold) for threshold in THRESHOLDS]
    last, count, awake = 0.0, 0, 0.0
    next_pause = rng.expovariate(PAUSES_PER_HOUR / 3600)
    for beat in range(int(hours * 3600 / PERIOD)):
        sent = beat * PERIOD
        if sent >= next_pause:
            awake = next_pause + PAUSE_MEDIAN * rng.lognormvariate(0.0, PAUSE_SIGMA)
            next_pause += rng.expovariate(PAUSES_PER_HOUR / 3600)
        if sent < awake:
            continue  # it sends again when it wakes, at its next beat
        if rng.random() < loss:
            continue
        if beat > 100:
            normal = estimator._normal()
            count += 1
            for place, score in enumerate(scores):
                patience = normal.mean - normal.stdev * score
                alarms[place] += sent - last > patience
                delays[place] += max(0.0, patience - rng.uniform(0.0, PERIOD))
        estimator.heartbeat(sent)
        last = sent
    return [
        {"setting": threshold, "detection": delays[place] / count, "false": alarms[place] / hours}
        for place, threshold in enumerate(THRESHOLDS)
    ]


def longer_than(seconds: float) -> float:
    """Pauses an hour that are."""
    deviations = math.log(seconds / PAUSE_MEDIAN) / PAUSE_SIGMA
    return PAUSES_PER_HOUR * 0.5 * math.erfc(deviations / math.sqrt(2))


def swim_points(loss: float) -> list[Point]:
    return [
        {
            "setting": tolerance,
            "detection": PERIOD / 2 + silence_needed(tolerance, loss)[0],
            "false": longer_than(tolerance * PAUSE_RATIO) + _lost_together(tolerance, loss),
        }
        for tolerance in TOLERANCES
    ]


def _lost_together(tolerance: float, loss: float) -> float:
    """How often an hour all of these probes are lost by chance."""
    return 3600 / PERIOD * (1 - (1 - loss) ** 2) ** silence_needed(tolerance, loss)[1]


def memberlist_points(nodes: int = 128) -> list[Point]:
    first = PERIOD * math.e / (math.e - 1)  # the first probe of it (SWIM section 5), then its own time-out
    found = []
    for multiplier in MULTIPLIERS:
        suspicion = multiplier * math.log10(nodes) * PERIOD
        found.append(
            {"setting": multiplier, "detection": first + suspicion, "false": longer_than(PERIOD + suspicion)}
        )
    return found


def draw(path: Any, curves: dict[str, list[Point]], loss: float) -> None:
    title = f"{100 * loss:.0f} % loss, one pause a minute; dots: the defaults"
    with pictures.picture(
        path, title, x="seconds until a lost machine is given up, mean", y="false deaths an hour", log="xy"
    ) as axes:
        for colour, (name, points) in zip(
            pictures.COLOURS[1:4] + pictures.COLOURS[:1], curves.items(), strict=True
        ):
            ys = [max(FLOOR, point["false"]) for point in points]
            xs = [point["detection"] for point in points]
            pictures.line(axes, xs, ys, name, color=colour, marker="")
            default = next(i for i, point in enumerate(points) if point["setting"] == DEFAULTS[name])
            axes.plot(xs[default], ys[default], "o", color=colour, markersize=8)
        axes.set_xticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
        axes.minorticks_off()
        axes.legend()


def main(argv: Sequence[str] | None = None) -> int:
    parser = record.parser("tradeoff", __doc__, seed=1)
    parser.add_argument("--hours", type=float, default=500.0, help="of heartbeats, simulated")
    parser.add_argument("--loss", type=float, default=0.05, help="share of packets lost, 0 to 0.5")
    args = record.parse(parser, argv)
    args.hours = min(args.hours, 50.0) if args.quick else args.hours
    if args.hours <= 0 or not 0 <= args.loss <= 0.5:
        parser.error("--hours must be positive, --loss between 0 and 0.5")
    curves: dict[str, list[Point]] = {}
    with show.progress() as bar:
        task = bar.add_task("heartbeats", total=2)
        for name, pause in (("classic phi", 0.0), ("Akka, Pekko", 3.0)):
            curves[name] = heartbeats(Random(f"{args.seed}:{name}"), args.loss, args.hours, pause)
            bar.advance(task)
    curves |= {"memberlist": memberlist_points(), "swim": swim_points(args.loss)}
    rows = [
        (
            name,
            f"{SETTINGS[name]} {point['setting']:g}",
            show.seconds(point["detection"]),
            f"{point['false']:.2g}",
        )
        for name, points in curves.items()
        for point in points
    ]
    columns = ("", "setting", "lost machine given up, s", "false deaths an hour")
    show.console().print(show.table("one observer, one member", columns, rows))
    if pictures.available():
        draw(args.json, curves, args.loss)
    print(f"recorded in {record.write(args, results=curves)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
