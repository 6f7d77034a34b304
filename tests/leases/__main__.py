"""The command: many seeds, and what replays each finding."""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from functools import partial

from tests.leases.model import play
from tests.leases.whole import play_whole


def _one(seed: int, *, whole: bool) -> tuple[int, int, float, str]:
    """The seed, the grants, the leases of calm until a leader stayed (0 without voters), what was found."""
    try:
        if not whole:
            return seed, play(seed).grants, 0.0, ""
        town = play_whole(seed)
        return seed, town.grants, town.calm_after if town.arena.voters else 0.0, ""
    except Exception as error:
        return seed, 0, 0.0, f"{type(error).__name__}: {error}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.leases", description=__doc__)
    parser.add_argument("--seeds", default="0:200", metavar="FIRST:END")
    parser.add_argument("--whole", action="store_true", help="whole nodes in simulated time")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args(argv)
    first, _, end = given.seeds.partition(":")
    seeds = range(int(first), int(end or int(first) + 1))
    began, grants, failed = time.monotonic(), 0, 0
    waits: list[float] = []
    with multiprocessing.Pool(given.jobs) as pool:
        for seed, count, wait, finding in pool.imap_unordered(partial(_one, whole=given.whole), seeds):
            grants += count
            waits += [wait] if wait else []
            if finding:
                failed += 1
                more = " --whole" if given.whole else ""
                print(
                    f"seed {seed}: {finding}\n  replay: python -m tests.leases --seeds {seed}{more}",
                    flush=True,
                )
    if waits:
        median = statistics.median(waits)
        print(f"leases of calm until a leader stays: median {median:.3f}, worst {max(waits):.2f}")
    print(f"{len(seeds)} seeds, {grants} grants, {failed} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
