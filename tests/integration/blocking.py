"""A node whose leadership function blocks the event loop once, for longer than its lease; it tells of it in
lines like those of `swim agent --json`.

    python -m tests.integration.blocking --name a --bind 127.0.0.1:7946 --voters a,b,c --block 3 --lease 1
"""

from __future__ import annotations

import argparse
import json
import time

import trio

import swim


def say(node: str, event: str, **fields: object) -> None:
    print(json.dumps({"t": time.monotonic(), "node": node, "event": event, **fields}), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("--name", "--bind", "--voters", "--join"):
        parser.add_argument(option, default="")
    parser.add_argument("--block", type=float)
    parser.add_argument("--lease", type=float)
    args, _ = parser.parse_known_args()
    blocked = False

    async def act(term: swim.Term) -> None:
        nonlocal blocked
        say(args.name, "leading", on=True, token=term.token)
        try:
            if not blocked:
                blocked = True
                time.sleep(args.block)  # noqa: ASYNC251 - that is the point
                say(args.name, "tick", token=term.token)  # too late: nobody could stop it in time
                await trio.lowlevel.checkpoint()
                say(args.name, "tick", token=term.token)
            await trio.sleep_forever()
        finally:
            say(args.name, "leading", on=False, token=term.token)

    config = swim.Config.lan(lease=args.lease)
    seeds = args.join.split(",") if args.join else []
    async with swim.open_cluster(
        args.name, bind=args.bind, seeds=seeds, voters=args.voters.split(","), config=config
    ) as cluster:
        say(args.name, "bound", address=str(cluster.address))
        await cluster.run_while_leader(act)


trio.run(main)
