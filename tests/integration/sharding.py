"""One node that serves its share of 64 shards, for `test_leases`.

    python -m tests.integration.sharding NAME HOST:PORT SEED,.. VOTER,..

Prints lines of a time of CLOCK_MONOTONIC, and "tick" or "end" with a shard and the token under which it is
served, or "leads" with a name and the token of its term.
"""

from __future__ import annotations

import sys
import time

import trio

import swim

SHARDS = [f"shard/{number}" for number in range(64)]
TICK_S = 0.1
CONFIG = swim.Config.lan(lease=1.0, session=2.0)


def say(*words: str) -> None:
    print(time.monotonic(), *words, flush=True)


async def serve(lease: swim.Lease) -> None:
    try:
        while True:
            say("tick", lease.name, lease.token)
            await trio.sleep(TICK_S)
    finally:
        say("end", lease.name, lease.token)


async def main(name: str, bind: str, seeds: str, voters: str) -> None:
    async with swim.open_cluster(
        name, bind=bind, seeds=seeds.split(","), voters=voters.split(","), config=CONFIG
    ) as cluster:

        async def lead(term: swim.Term) -> None:
            say("leads", name, term.token)
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cluster.run_while_leader, lead)
            await cluster.run_shards(SHARDS, serve)


if __name__ == "__main__":
    name, bind, seeds, voters = sys.argv[1:]
    trio.run(main, name, bind, seeds, voters)
