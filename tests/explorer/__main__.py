"""The command: many seeds, a table of what they came to, and what replays each finding."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.explorer.schedules import KINDS, Outcome, run

LIMIT_MEDIAN, LIMIT_WORST = 1.0, 3.0
"""In lengths of a lease: from calm after random faults to a leader that stays, with voters."""

ENOUGH = 20
"""Seeds, for a median to mean something."""


@dataclass
class Failure:
    kind: str
    seed: int
    what: str


def _one(job: tuple[int, str | None, bool]) -> Outcome | Failure:
    seed, only, verbose = job
    try:
        return run(seed, only)
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", []))
        replay = next(
            (line for line in notes.splitlines() if line.startswith("replay:")), f"replay: seed {seed}"
        )
        kind = replay.rsplit(" ", 1)[-1]
        text = "".join(traceback.format_exception(error)) if verbose else f"{type(error).__name__}: {error}"
        return Failure(kind, seed, f"{text.strip()}\n  {replay}")


def _all(jobs: list[tuple[int, str | None, bool]], processes: int) -> Iterator[Outcome | Failure]:
    if processes == 1:
        yield from map(_one, jobs)
    else:
        with multiprocessing.Pool(processes) as pool:
            yield from pool.imap_unordered(_one, jobs, chunksize=1 + len(jobs) // 1_000)


def _row(kind: str, outcomes: list[Outcome], failures: list[Failure]) -> str:
    waits = sorted((one.calm_after / one.lease, one.seed) for one in outcomes if one.calm_after is not None)
    if not waits:
        return f"{kind:18} {len(outcomes) + len(failures):6} {len(failures):6}"
    at = [waits[int(share * (len(waits) - 1))][0] for share in (0.5, 0.99)]
    joined = max(one.joined_after for one in outcomes)
    return (
        f"{kind:18} {len(outcomes) + len(failures):6} {len(failures):6}   {at[0]:6.3f} {at[1]:6.2f} "
        f"{waits[-1][0]:6.2f} (seed {waits[-1][1]}); members {joined:.1f} s"
    )


def _too_slow(outcomes: list[Outcome]) -> list[str]:
    """What is over the limits, in words."""
    waits = sorted((one.calm_after / one.lease, one.seed) for one in outcomes if one.calm_after is not None)
    slow = [f"seed {seed}: {wait:.2f} leases" for wait, seed in waits if wait > LIMIT_WORST]
    if waits and waits[len(waits) // 2][0] > LIMIT_MEDIAN:
        slow.append(f"median: {waits[len(waits) // 2][0]:.3f} leases")
    return slow


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.explorer", description=__doc__)
    parser.add_argument("--seeds", default="0:200", metavar="FIRST:END")
    parser.add_argument("--only", choices=sorted(KINDS), help="all seeds are of this kind")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--verbose", action="store_true", help="tell where, and what happened last")
    given = parser.parse_args(argv)
    first, _, end = given.seeds.partition(":")
    jobs = [(seed, given.only, given.verbose) for seed in range(int(first), int(end or int(first) + 1))]
    began = time.monotonic()
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    failures: dict[str, list[Failure]] = defaultdict(list)
    for result in _all(jobs, given.jobs):
        if isinstance(result, Failure):
            print(f"seed {result.seed} ({result.kind}): {result.what}", flush=True)
            failures[result.kind].append(result)
        else:
            outcomes[result.kind].append(result)
    print(f"{'kind':18} {'seeds':>6} {'failed':>6}   median    p99  worst: leases until a leader that stays")
    for kind in KINDS:
        if kind in outcomes or kind in failures:
            print(_row(kind, outcomes[kind], failures[kind]))
    slow = _too_slow(outcomes["weather"]) if len(outcomes["weather"]) >= ENOUGH else []
    for what in slow:
        print(f"weather: too long until a leader stays: {what}")
    failed = sum(map(len, failures.values()))
    print(f"{len(jobs)} seeds, {failed} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed or slow else 0


if __name__ == "__main__":
    sys.exit(main())
