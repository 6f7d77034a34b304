"""How fast news reaches everyone: a join storm, one join, a tag change, a leave, a SIGKILL.

    python -m benchmarks.convergence [--nodes 8 32] [--runs 5] [--peers swim,memberlist]

Real processes on loopback. Each run does all scenarios once for every peer, in changing order, so that a
busy machine is busy for both: compare by the ratio. The node that is killed, the seed and the newcomer are
alone in their processes; the other nodes share two. All profiles are the peers' defaults (`--profile lan`).
Before each scenario the cluster rests for a second or more.

first / half / all: seconds until the first, half and all of the observers had reported it.
- join storm: from the moment when the last node was listening (`bound`) until each saw all.
- one node joins: from its `bound` until the others report `join`.
- tag change: from the command until the others report `update` with it.
- graceful leave: from the command until the others report `leave` (a `dead` instead does not count).
- SIGKILL: from the signal until the others report `dead`; first suspicion: the first `suspect` anywhere.
  The table says on what grounds: on a machine that lives on, a closed port tells of the death at once
  (`process-gone`), which memberlist does not use; a machine that vanishes is noticed by silence only.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import trio

from benchmarks import clusters, record, show
from benchmarks.driver import Agent, Fleet, Spread, Watch, drive, open_fleet, reports
from benchmarks.peers import Peer, find_peers

SUSPICION = "first suspicion"
SCENARIOS = ("join storm", "one node joins", "tag change", "graceful leave", "SIGKILL", SUSPICION)
PATIENCE = 60.0
"""Seconds after which a scenario is over, whoever has not reported."""

Figures = dict[str, Spread]


async def one_run(peer: Peer, nodes: int, rng: random.Random) -> Figures:
    """All scenarios once, with a fresh cluster."""
    figures: Figures = {}
    async with open_fleet() as fleet:
        victim, names = await _join_storm(fleet, peer, nodes, figures)
        await trio.sleep(rng.uniform(1, 2))
        newcomer = await _one_joins(fleet, peer, names, figures)
        await trio.sleep(rng.uniform(1, 2))
        with fleet.watch(reports("update", "newcomer", tags={"meta": "v2"}), names) as updates:
            figures["tag change"] = await _spread(updates, await newcomer.command("meta v2"))
        await trio.sleep(rng.uniform(1, 2))
        with fleet.watch(reports("leave", "newcomer"), names) as leaves:
            figures["graceful leave"] = await _spread(leaves, await newcomer.command("leave"))
        await trio.sleep(rng.uniform(2, 3))
        others = [name for name in names if name != victim.name]
        with (
            fleet.watch(reports("suspect", victim.name), others) as suspicions,
            fleet.watch(reports("dead", victim.name), others) as deaths,
        ):
            killed = victim.kill()
            figures["SIGKILL"] = await _spread(deaths, killed)
            figures[SUSPICION] = suspicions.after(killed)
    return figures


async def _join_storm(fleet: Fleet, peer: Peer, nodes: int, figures: Figures) -> tuple[Agent, list[str]]:
    agents = await clusters.start(fleet, peer, nodes, ["victim"])
    names = clusters.names_of(agents)
    with fleet.watch_all_see(names) as complete:
        await fleet.until_bound(*agents)
        figures["join storm"] = await _spread(complete, max(fleet.bound[name] for name in names))
    return agents[-1], names


async def _one_joins(fleet: Fleet, peer: Peer, names: list[str], figures: Figures) -> Agent:
    seed = fleet.agents[0]
    with fleet.watch(reports("join", "newcomer"), names) as joins:
        newcomer = await fleet.start(peer, "newcomer", join=[seed.address])
        await fleet.until_bound(newcomer)
        figures["one node joins"] = await _spread(joins, fleet.bound["newcomer"])
    return newcomer


async def _spread(watch: Watch, start: float) -> Spread:
    await watch.complete(PATIENCE)
    return watch.after(start)


# --- the table


def _numbers(spreads: Iterable[Spread], which: str) -> tuple[list[float], int]:
    values = [getattr(spread, which) for spread in spreads]
    return [value for value in values if value is not None], sum(value is None for value in values)


def _cell(spreads: list[Spread], which: str, scenario: str) -> str:
    numbers, missing = _numbers(spreads, which)
    if scenario == SUSPICION and which != "first":
        return ""
    if not numbers:
        return "none before the verdict" if scenario == SUSPICION else f"never in {PATIENCE:.0f} s"
    return show.middle(numbers) + (f", {missing} of {len(spreads)} never" if missing else "")


def _ratio(ours: list[Spread], theirs: list[Spread], which: str) -> str:
    (mine, _), (other, _) = _numbers(ours, which), _numbers(theirs, which)
    if not mine or not other:
        return "-"
    return f"{statistics.median(mine) / max(statistics.median(other), 1e-6):.2f}"


def print_table(results: dict[tuple[str, int], list[Figures]], peers: list[str], sizes: list[int]) -> None:
    """One row for each scenario, size and peer; the ratio is the first peer's median over this one's."""
    columns = ("", "N", "peer", "first", "half", "all", f"{peers[0]} / peer")
    table = show.table("seconds: median (min-max)", columns, ())
    for scenario in SCENARIOS:
        which = "first" if scenario == SUSPICION else "all"
        for nodes in sizes:
            ours = [figures[scenario] for figures in results[peers[0], nodes]]
            for peer in peers:
                spreads = [figures[scenario] for figures in results[peer, nodes]]
                cells = [_cell(spreads, column, scenario) for column in ("first", "half", "all")]
                ratio = "" if peer == peers[0] else _ratio(ours, spreads, which)
                table.add_row(scenario, str(nodes), peer, *cells, ratio)
        table.add_section()
    console = show.console()
    console.print(table)
    for peer in peers:
        reasons = Counter[str]()
        for nodes in sizes:
            for figures in results[peer, nodes]:
                reasons.update(figures["SIGKILL"].reasons)
        told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        console.print(f"{peer}: grounds for the verdict after SIGKILL (observers): {told or 'none'}")


# --- the record


def _plain(results: dict[tuple[str, int], list[Figures]]) -> list[dict[str, Any]]:
    return [
        {"peer": kind, "nodes": nodes, "run": run, "scenario": scenario, **asdict(spread)}
        for (kind, nodes), runs in results.items()
        for run, figures in enumerate(runs)
        for scenario, spread in figures.items()
    ]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = record.parser("convergence", __doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[8, 32], help="cluster sizes, 3 or more")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", default="swim,memberlist", help="comma-separated; the first is the base")
    args = record.parse(parser, argv)
    if args.quick:
        args.nodes, args.runs = [8], 1
    if min(args.nodes) < 3 or args.runs < 1:
        parser.error("--nodes needs 3 or more, --runs 1 or more")
    return args


async def measure(args: argparse.Namespace, peers: list[Peer]) -> dict[tuple[str, int], list[Figures]]:
    rng = random.Random(args.seed)
    results: dict[tuple[str, int], list[Figures]] = {
        (peer.kind, nodes): [] for nodes in args.nodes for peer in peers
    }
    with show.progress() as bar:
        task = bar.add_task("", total=args.runs * len(results))
        for run in range(args.runs):
            for nodes in args.nodes:
                for peer in rng.sample(peers, len(peers)):
                    bar.update(task, description=f"run {run + 1} of {args.runs}: {peer.kind}, N={nodes}")
                    results[peer.kind, nodes].append(await one_run(peer, nodes, rng))
                    bar.advance(task)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    print(f"seed {args.seed}", flush=True)
    peers, skipped = find_peers(args.peers)
    if not peers:
        return 1
    results = drive(measure, args, peers)
    print_table(results, [peer.kind for peer in peers], args.nodes)
    versions = {peer.kind: peer.version for peer in peers}
    path = record.write(args, results=_plain(results), versions=versions, skipped=skipped)
    print(f"recorded in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
