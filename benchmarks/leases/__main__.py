"""Leases on names between real processes on loopback: locks beside etcd's and kazoo's, shards that move.

    python -m benchmarks.leases [--quick] [alone turns rate shards many]

alone   five processes, one acquires a name that is free: how long that takes
turns   three processes take turns at one name: from the end of a use to the beginning of the next one
rate    four processes, each with many tasks and a name for each of them: locks a second in all
shards  64 shards on five nodes: for how long none owned a shard when a node joined, left, was killed, or led
        and was killed; whether ever two owned one; without voters and with three
many    10,000 names at 100 members, in simulated time: what they cost a leader, and when a new one knows all

The locks also of etcd (three servers, its lock service by the JSON gateway) and of ZooKeeper (three servers,
kazoo), where they are installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import trio

from benchmarks import record
from benchmarks.leadership.servers import open_servers, why_not
from benchmarks.leases.many import many

SCENARIOS = ("alone", "turns", "rate", "shards", "many")
OTHERS = ("etcd", "zookeeper")
PATIENCE = 60.0
SHARDS = 64
NODES = ("n0", "n1", "n2", "n3", "n4")
VOTERS = NODES[:3]
SETTLED_S = 4.0
AFTER_KILL_S = 14.0

Row = dict[str, Any]


@dataclass
class Peer:
    """A `benchmarks.leases.peer` and what it has said."""

    name: str
    process: trio.Process
    lines: list[Row] = field(default_factory=list)

    async def read(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for chunk in self.process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            self.lines += map(json.loads, lines)

    async def order(self, *words: object) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(f"{' '.join(map(str, words))}\n".encode())

    async def answer(self, event: str, count: int = 1) -> Row:
        """The next line of this kind."""
        with trio.fail_after(PATIENCE):
            while len(found := [line for line in self.lines if line["event"] == event]) < count:  # noqa: ASYNC110
                await trio.sleep(0.01)
        return found[count - 1]


@asynccontextmanager
async def peers(
    kind: str, names: Sequence[str], *, voters: Sequence[str] = ()
) -> AsyncIterator[dict[str, Peer]]:
    """Processes of this kind that all know each other."""
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(open_servers(kind)) if kind in OTHERS else []
        nursery = await stack.enter_async_context(trio.open_nursery())
        started: dict[str, Peer] = {}
        try:
            for name in names:
                known = servers or [peer.lines[0]["address"] for peer in started.values()][:1]
                started[name] = await start(nursery, kind, name, known, voters)
            yield started
        finally:
            for peer in started.values():
                peer.process.kill()
            nursery.cancel_scope.cancel()


async def start(
    nursery: trio.Nursery, kind: str, name: str, known: Sequence[str], voters: Sequence[str] = ()
) -> Peer:
    command = [sys.executable, "-m", "benchmarks.leases.peer", kind, name, ",".join(known), ",".join(voters)]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    peer = Peer(name, process)
    nursery.start_soon(peer.read)
    await peer.answer("bound")
    return peer


# --- locks


async def alone(kind: str, quick: bool) -> Row:
    async with peers(kind, NODES) as started:
        await started["n3"].order("alone", 20)
        await started["n3"].answer("alone")
        await started["n3"].order("alone", 200 if quick else 2_000)
        seconds = (await started["n3"].answer("alone", 2))["seconds"]
    return {"acquires": len(seconds), **milliseconds(seconds)}


async def turns(kind: str, quick: bool) -> Row:
    count = 100 if quick else 500
    count = count if kind == "swim" else count // 5  # each is written to three disks
    async with peers(kind, NODES) as started:
        users = [started[name] for name in ("n1", "n2", "n3")]
        for peer in users:
            await peer.order("turns", count)
        uses = [use for peer in users for use in (await peer.answer("turns"))["uses"]]
    uses.sort()
    gaps = [begins - ends for (_, ends), (begins, _) in pairwise(uses)]
    return {"uses": len(uses), "overlaps": sum(gap < 0 for gap in gaps), **milliseconds(gaps)}


async def rate(kind: str, quick: bool) -> Row:
    seconds, tasks = (2, 32) if quick else (5, 64)
    async with peers(kind, NODES[:4]) as started:
        await started["n3"].order("alone", 20)
        await started["n3"].answer("alone")
        for peer in started.values():
            await peer.order("rate", seconds, tasks if kind == "swim" else 16)
        answers = [await peer.answer("rate") for peer in started.values()]
    return {
        "processes": len(answers),
        "per_second": round(sum(answer["count"] for answer in answers) / seconds),
        "cpu_s": [round(answer["cpu_s"] / seconds, 2) for answer in answers],
    }


def milliseconds(seconds: Sequence[float]) -> Row:
    ordered = sorted(seconds)
    return {
        "median_ms": round(1e3 * statistics.median(ordered), 3),
        "p99_ms": round(1e3 * ordered[int(0.99 * (len(ordered) - 1))], 3),
        "worst_ms": round(1e3 * ordered[-1], 3),
    }


# --- shards


@dataclass
class Ownership:
    """From when to when each shard was owned: by what processes have said, and by when they were killed."""

    started: dict[str, Peer]
    killed: dict[str, float] = field(default_factory=dict)

    def spans(self) -> dict[str, list[tuple[float, float, str]]]:
        found: dict[str, list[tuple[float, float, str]]] = {}
        for name, peer in self.started.items():
            open_ones: dict[str, float] = {}
            for line in peer.lines:
                if line["event"] == "begin":
                    open_ones[line["shard"]] = line["t"]
                elif line["event"] == "end":
                    found.setdefault(line["shard"], []).append(
                        (open_ones.pop(line["shard"]), line["t"], name)
                    )
            end = self.killed.get(name, time.monotonic())
            for shard, began in open_ones.items():
                found.setdefault(shard, []).append((began, end, name))
        return {shard: sorted(spans) for shard, spans in found.items()}

    def gaps(self, since: float, whose: Callable[[str], bool] = lambda name: True) -> list[float]:
        """For how long nobody had a shard, for each that has gone from these nodes to another since then."""
        return [
            begins - ends
            for spans in self.spans().values()
            for (_, ends, name), (begins, _, _) in pairwise(spans)
            if begins >= since and whose(name)
        ]

    def overlaps(self) -> int:
        return sum(gap < 0 for gap in self.gaps(0.0))

    def counts(self) -> list[int]:
        owners = Counter(spans[-1][2] for spans in self.spans().values())
        return sorted(owners.values())


async def shards(kind: str, quick: bool, voters: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    async with peers(kind, NODES, voters=voters) as started, trio.open_nursery() as nursery:
        ownership = Ownership(started)
        for peer in started.values():
            await peer.order("own", SHARDS)
        with trio.fail_after(PATIENCE):
            while ownership.counts() != [12, 13, 13, 13, 13]:  # noqa: ASYNC110
                await trio.sleep(0.1)
        await trio.sleep(SETTLED_S)

        async def told(what: str, since: float, wait: float, **more: Any) -> None:
            await trio.sleep(wait)
            gaps = ownership.gaps(since, more.pop("whose", lambda name: True))
            row = {"what": what, "moved": len(gaps), "longest_gap_s": round(max(gaps, default=0.0), 3)}
            rows.append({**row, "spread": ownership.counts(), "overlaps": ownership.overlaps(), **more})

        since = time.monotonic()
        new = await start(nursery, kind, "n5", [started["n0"].lines[0]["address"]], voters)
        started["n5"] = new
        await new.order("own", SHARDS)
        await told("joins", since, SETTLED_S)
        since = time.monotonic()
        await new.order("leave")
        await told("leaves", since, SETTLED_S)
        leader = [line["leader"] for line in started["n0"].lines if line["event"] == "leader"][-1]
        victim = next(name for name in ("n4", "n3") if name != leader)
        for what, name in (("is killed", victim), ("leader is killed", leader)):
            since = ownership.killed[name] = time.monotonic()
            started[name].process.kill()
            others = ownership.gaps
            await trio.sleep(AFTER_KILL_S)
            interrupted = len(others(since, lambda who, name=name: who != name))  # type: ignore[misc]
            await told(what, since, 0.0, moved_of_others=interrupted)
        new.process.kill()
        nursery.cancel_scope.cancel()
    return rows


# --- the command


async def measure(args: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    kinds = ["swim", *(kind for kind in OTHERS if why_not(kind) is None)]
    for scenario, function in (("alone", alone), ("turns", turns), ("rate", rate)):
        for kind in kinds if scenario in args.scenarios else ():
            rows.append({"scenario": scenario, "of": kind, **await function(kind, args.quick)})
            print(rows[-1], flush=True)
    for voters in ((), VOTERS) if "shards" in args.scenarios else ():
        for row in await shards("swim", args.quick, voters):
            rows.append({"scenario": "shards", "of": "swim", "voters": len(voters), **row})
            print(rows[-1], flush=True)
    for voters in ((), ("n0", "n1", "n2")) if "many" in args.scenarios else ():
        counts = (10, 100) if args.quick else (100, 10_000)
        rows.append({"scenario": "many", "of": "swim", **many(*counts, voters)})
        print(rows[-1], flush=True)
    for kind in OTHERS:
        if kind not in kinds:
            print(f"skipped: {kind}: {why_not(kind)}")
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = record.parser("leases", __doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of: {', '.join(SCENARIOS)}")
    args = record.parse(parser, argv)
    args.scenarios = args.scenarios or list(SCENARIOS)
    record.check_known(parser, "scenario", args.scenarios, SCENARIOS)
    results = trio.run(measure, args)
    absent = filter(None, map(why_not, OTHERS))
    record.write(args, results=results, skipped=list(map(str, absent)))


if __name__ == "__main__":
    main()
