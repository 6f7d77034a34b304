"""Many schedules of faults for programs in worlds: our own trio layer, the chat, the shards.

    python -m tests.testing                         # 200 of the trio layer
    python -m tests.testing --seeds 0:2000 --only chat

Exit status 1 if one fails, or leaves a thread behind.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable

from swim.testing import World
from swim.testing.process import process_of
from tests.chat_cluster.test_world import scenario as chat
from tests.testing.crew import scenario as crew
from tests.testing.test_shards import scenario as shards

SCENARIOS: dict[str, Callable[[World], object]] = {"crew": crew, "chat": chat, "shards": shards}


def problem_with(scenario: Callable[[World], object], seed: int) -> str:
    """What went wrong, on a line; empty if nothing did."""
    try:
        with World(seed) as world:
            scenario(world)
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    left = [thread.name for thread in threading.enumerate() if process_of(thread) is not None]
    return f"threads are left: {left}" if left else ""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.testing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0:200", metavar="FIRST:END")
    parser.add_argument("--only", choices=sorted(SCENARIOS), default="crew", help="which (%(default)s)")
    given = parser.parse_args(argv)
    first, _, end = given.seeds.partition(":")
    seeds = range(int(first), int(end or int(first) + 1))
    begun, failed = time.process_time(), 0
    for seed in seeds:
        problem = problem_with(SCENARIOS[given.only], seed)
        if problem:
            failed += 1
            replay = f"python -m tests.testing --only {given.only} --seeds {seed}"
            print(f"seed {seed}: {problem}\n  to replay it: {replay}", flush=True)
    each = (time.process_time() - begun) / max(1, len(seeds))
    print(f"{len(seeds)} schedules of {given.only}, {failed} failed, {each:.2f} s of a core each")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
