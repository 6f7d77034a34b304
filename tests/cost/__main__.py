"""Look for inputs that are expensive.

    python -m tests.cost --seconds 3600 --seed 1

Prints the worst, with their bytes; fails when one takes more than 2 microseconds a byte, or 1 ms a packet,
above a ping, or when the memory of the process has grown by a fifth.

    python -m tests.cost --process --seconds 3600

The same inputs, as packets and streams to a node in a process of its own, one of three: how its memory has
grown some minutes after that, and which members anybody has given up meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.driver import drive
from tests.cost.fuzz import fuzz
from tests.cost.live import attack_process

GROWTH_MAX = 1.2


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slack", type=float, default=1.0, help="how much slower this machine may be")
    parser.add_argument("--cases", type=Path, help="a directory for the bytes of what is beyond the limits")
    parser.add_argument("--process", action="store_true", help="at a node in a process of its own")
    options = parser.parse_args()
    if options.seconds is None and options.count is None:
        options.seconds = 60.0
    if options.process:
        return at_a_process(options.seed, options.seconds or 60.0)
    report = fuzz(options.seed, seconds=options.seconds, count=options.count, slack=options.slack)
    before, after = report.rss
    print(f"seed {options.seed}: {report.count} inputs, a ping takes {1e6 * report.ping:.0f} us")
    if before:
        print(f"memory: {before / 2**20:.1f} MiB before, {after / 2**20:.1f} after")
    for found in report.worst[:8]:
        print(f"  {found}")
    for number, found in enumerate(report.beyond):
        print(f"BEYOND (--seed {options.seed}): {found}\n    {found.input.data[:200].hex()}")
        if options.cases is not None:
            options.cases.mkdir(parents=True, exist_ok=True)
            (options.cases / f"{options.seed}-{number}.bin").write_bytes(found.input.data)
    grown = before > 0 and after > GROWTH_MAX * before
    return 1 if report.beyond or grown else 0


def at_a_process(seed: int, seconds: float) -> int:
    outcome = drive(attack_process, seed, seconds)
    before, most, after = outcome.rss
    print(f"seed {seed}: {outcome.count} inputs")
    print(f"memory: {before} MiB before, {most} at most, {after} after; ended: {outcome.ended}")
    print(*outcome.lost, sep="\n", end="")
    return 1 if outcome.lost or outcome.ended or after > GROWTH_MAX * before else 0


if __name__ == "__main__":
    sys.exit(main())
