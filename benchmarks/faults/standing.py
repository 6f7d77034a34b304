"""What larger clusters make of a silent host, processes that stand still, lost packets.

    python -m benchmarks.faults silent stand stutter lossy [--nodes 8 32 128] [--runs 3] [--minutes 5]

Real processes; each scenario runs for all peers, with fresh clusters. The seed and whoever is to suffer are
alone in their processes, the other nodes share two. All profiles are the peers' defaults (`--profile lan`).

- silent: all packets from and to the victim's address are dropped, its kernel's too. Seconds until all others
  report it `dead`, and from the end of it until all have it back.
- stand: the victim gets SIGSTOP for 1, 2, 4, 8 and 30 s, and SIGCONT. Who was declared dead, and by how many;
  for 30 s also when, and how soon after SIGCONT all have it back.
- stutter: four of 32 are stopped for 2 s and run for 5 ms, again and again, for 30 s. Healthy members that
  were declared dead: nobody should be.
- lossy: 16 nodes, 5 % and 20 % of all packets lost, for --minutes. Members that were declared dead.

`silent` takes the peers in changing order; the others, in which nodes mostly wait, have all of them run at
the same time. `silent` and `lossy` make network namespaces and need root, ip and nft: skipped without.
"""

from __future__ import annotations

import random
import time
from argparse import Namespace as Arguments
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import trio

from benchmarks import clusters, show
from benchmarks.driver import Agent, Fleet, Line, Spread, open_fleet, reports
from benchmarks.namespaces import open_network
from benchmarks.peers import Peer

PATIENCE = 60.0
SETTLED_SECONDS = 4.0
"""Until all who observe somebody have met it and have a stream to it."""
AFTERMATH_SECONDS = 3.0
PAUSES = (1, 2, 4, 8)
LONG_PAUSE = 30
STUTTER_NODES, STUTTERERS = 32, 4
STUTTER_SECONDS, STOPPED, RUNNING = 30.0, 2.0, 0.005
LOSS_NODES = 16
LOSSES = (5, 20)

Row = dict[str, Any]


def deaths(fleet: Fleet, since: float) -> list[Line]:
    return [line for line in fleet.lines if line["event"] == "dead" and line["t"] >= since]


def told(lines: Iterable[Line]) -> Row:
    """Who was declared dead, and by how many."""
    found = list(lines)
    return {"dead": sorted({line["member"] for line in found}), "verdicts": len(found)}


# --- a silent host


async def silent(peer: Peer, nodes: int, rng: random.Random) -> list[Row]:
    with open_network([clusters.REST, "victim"]) as network:
        async with open_fleet() as fleet:
            cluster = await clusters.gather(fleet, peer, nodes, ["victim"], network)
            others = [name for name in cluster if name != "victim"]
            await trio.sleep(SETTLED_SECONDS + rng.random())
            with fleet.watch(reports("dead", "victim"), others) as died:
                began = time.monotonic()
                network.cut([(clusters.REST, "victim"), ("victim", clusters.REST)])
                await died.complete(PATIENCE)
                await trio.sleep(1.0)
                returned = await back(fleet, "victim", others, network.heal)
            lines = [line for line in deaths(fleet, began) if line["node"] != "victim"]
            others_dead = [name for name in told(lines)["dead"] if name != "victim"]
            return [{"dead": asdict(died.after(began)), "back": asdict(returned), "others": others_dead}]


async def back(fleet: Fleet, name: str, others: Sequence[str], resume: Callable[[], object]) -> Spread:
    """Until all who have given it up have it back."""
    without = [other for other in others if name not in fleet.views[other]]
    with fleet.watch(reports("join", name), without) as joins:
        began = time.monotonic()
        resume()
        await joins.complete(PATIENCE)
    return joins.after(began)


# --- processes that stand still


async def stand(peer: Peer, nodes: int, rng: random.Random) -> list[Row]:
    async with open_fleet() as fleet:
        cluster = await clusters.gather(fleet, peer, nodes, ["victim"])
        others = [name for name in cluster if name != "victim"]
        rows = []
        for seconds in (*PAUSES, LONG_PAUSE):
            await trio.sleep(SETTLED_SECONDS + rng.random())
            rows.append({"seconds": seconds} | await _paused(fleet, cluster["victim"], others, seconds))
        return rows


async def _paused(fleet: Fleet, victim: Agent, others: Sequence[str], seconds: int) -> Row:
    with fleet.watch(reports("dead", victim.name), others) as died:
        began = victim.pause()
        await trio.sleep(seconds)
        returned = await back(fleet, victim.name, others, victim.resume)
        await trio.sleep(AFTERMATH_SECONDS)
    lines = deaths(fleet, began)
    return told(lines) | {"spread": asdict(died.after(began)), "back": asdict(returned)}


async def stutter(peer: Peer, nodes: int, rng: random.Random) -> list[Row]:
    slow = [f"slow{number}" for number in range(STUTTERERS)]
    async with open_fleet() as fleet:
        cluster = await clusters.gather(fleet, peer, nodes, slow)
        await trio.sleep(SETTLED_SECONDS)
        began = time.monotonic()
        async with trio.open_nursery() as nursery:
            for name in slow:
                nursery.start_soon(_stop_and_go, cluster[name], began + STUTTER_SECONDS, rng.random())
        await trio.sleep(AFTERMATH_SECONDS)
        lines = deaths(fleet, began)
        healthy = [line for line in lines if line["member"] not in slow]
        seen = [line for line in healthy if line["node"] not in slow]
        return [{"healthy": told(healthy), "healthy_by_healthy": told(seen), "all": told(lines)}]


async def _stop_and_go(agent: Agent, until: float, phase: float) -> None:
    await trio.sleep(phase * STOPPED)
    while time.monotonic() < until:
        agent.pause()
        await trio.sleep(STOPPED)
        agent.resume()
        await trio.sleep(RUNNING)


# --- lost packets


async def lossy(peer: Peer, nodes: int, percent: int, minutes: float) -> list[Row]:
    with open_network([clusters.REST]) as network:
        async with open_fleet() as fleet:
            await clusters.gather(fleet, peer, nodes, (), network)
            await trio.sleep(SETTLED_SECONDS)
            began = time.monotonic()
            network.lose(clusters.REST, percent)
            await trio.sleep(60 * minutes)
            lines = deaths(fleet, began)
            suspicions = [line for line in fleet.lines if line["event"] == "suspect" and line["t"] >= began]
    return [{"percent": percent, "minutes": minutes, "suspicions": len(suspicions)} | told(lines)]


# --- all of them


async def measure(args: Arguments, peers: Sequence[Peer], rows: list[Row]) -> None:
    rng = random.Random(args.seed)
    if "silent" in args.scenarios:
        for run in range(args.runs):
            for nodes in args.nodes:
                for peer in rng.sample(peers, len(peers)):
                    await _note(rows, "silent", peer, nodes, run, silent(peer, nodes, rng))
    for run in range(args.runs):
        for scenario, sizes in ((stand, args.nodes), (stutter, [STUTTER_NODES])):
            if scenario.__name__ in args.scenarios:
                for nodes in sizes:
                    await _side_by_side(rows, scenario, peers, nodes, run, rng)
    if "lossy" in args.scenarios:
        async with trio.open_nursery() as nursery:
            for peer in peers:
                for percent in LOSSES:
                    lost = lossy(peer, LOSS_NODES, percent, args.minutes)
                    nursery.start_soon(_note, rows, "lossy", peer, LOSS_NODES, 0, lost)


async def _side_by_side(
    rows: list[Row],
    scenario: Callable[[Peer, int, random.Random], Awaitable[list[Row]]],
    peers: Sequence[Peer],
    nodes: int,
    run: int,
    rng: random.Random,
) -> None:
    async with trio.open_nursery() as nursery:
        for peer in peers:
            steps = scenario(peer, nodes, random.Random(rng.random()))
            nursery.start_soon(_note, rows, scenario.__name__, peer, nodes, run, steps)


async def _note(
    rows: list[Row], scenario: str, peer: Peer, nodes: int, run: int, steps: Awaitable[list[Row]]
) -> None:
    began = time.monotonic()
    about = {"scenario": scenario, "peer": peer.kind, "nodes": nodes, "run": run}
    rows.extend(about | row for row in await steps)
    print(f"{scenario}, run {run + 1}: {peer.kind}, N={nodes}: {time.monotonic() - began:.0f} s", flush=True)


NAMES = ("silent", "stand", "stutter", "lossy")
NEED_ROOT = ("silent", "lossy")


# --- the tables


def print_tables(rows: Sequence[Row]) -> None:
    console = show.console()
    for scenario, (columns, line) in TABLES.items():
        groups: dict[tuple[object, ...], list[Row]] = {}
        for row in rows:
            if row["scenario"] == scenario:
                case = row.get("seconds", row.get("percent"))
                groups.setdefault((row["nodes"], case, row["peer"]), []).append(row)
        if groups:
            ordered = sorted(groups.items(), key=lambda item: [str(part).rjust(4) for part in item[0]])
            console.print(show.table(scenario, columns, [line(*item) for item in ordered]))


def _middle(rows: Sequence[Row], which: str, when: str = "all") -> str:
    values = [row[which][when] for row in rows]
    found = [value for value in values if value is not None]
    missing = (
        f", {len(values) - len(found)} of {len(values)} never" if found and len(found) < len(values) else ""
    )
    return show.middle(found) + missing


def _silent(case: Sequence[object], rows: Sequence[Row]) -> tuple[str, ...]:
    wrong = sum(len(row["others"]) for row in rows)
    dead = (_middle(rows, "dead", "first"), _middle(rows, "dead"))
    return f"{case[2]}, {case[0]} nodes", *dead, _middle(rows, "back"), str(wrong)


def _stand(case: Sequence[object], rows: Sequence[Row]) -> tuple[str, ...]:
    given_up = [row for row in rows if row["spread"]["seen"]]
    others = sum(name != "victim" for row in rows for name in row["dead"])
    by = "/".join(f"{row['spread']['seen']} of {row['spread']['of']}" for row in rows)
    times = [""] * 3
    if given_up:
        times = [_middle(given_up, "spread", "first"), _middle(given_up, "spread"), _middle(given_up, "back")]
    return f"{case[2]}, {case[0]} nodes, {case[1]} s", by, *times, str(others)


def _stutter(case: Sequence[object], rows: Sequence[Row]) -> tuple[str, ...]:
    counts = [sum(len(row[which]["dead"]) for row in rows) for which in ("healthy", "healthy_by_healthy")]
    return f"{case[2]}, {len(rows)} runs", *map(str, counts), str(sum(row["all"]["verdicts"] for row in rows))


def _lossy(case: Sequence[object], rows: Sequence[Row]) -> tuple[str, ...]:
    (row,) = rows
    figures = (len(row["dead"]), row["verdicts"], row["suspicions"])
    return f"{case[2]}, {case[0]} nodes, {case[1]} %", f"{row['minutes']:g}", *map(str, figures)


TABLES = {
    "silent": (("host silent", "first dead", "all dead", "all have it back", "others dead"), _silent),
    "stand": (("stopped", "declared it dead", "first", "all", "all have it back", "others dead"), _stand),
    "stutter": (("4 of 32 stop and go", "healthy dead", "of them by healthy", "all verdicts"), _stutter),
    "lossy": (("packets lost", "minutes", "dead", "verdicts", "suspicions"), _lossy),
}
