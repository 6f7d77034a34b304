"""What a node costs while nothing happens: packets, bytes, processor time, memory; in clusters of any size.

    python -m benchmarks.overhead [--nodes 8 32 128] [--runs 2] [--seconds 60]

Real processes on loopback, each peer with a fresh cluster in its turn, in changing order. The seed is alone
in its process, the other nodes share two. What is counted begins `--settle` seconds after all nodes have seen
all (for half a minute a new swim node looks every second for others that were founded apart), by the nodes'
own counters (`stats`): packets and bytes are what they send, without headers of UDP and TCP.
CPU is that of whole processes, divided by their nodes; memory is that of a process with a single node.
"""

from __future__ import annotations

import random
import statistics
import sys
from argparse import Namespace as Arguments
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import trio

from benchmarks import clusters, record, show
from benchmarks.driver import Agent, Line, drive, open_fleet
from benchmarks.peers import Peer, find_peers

STATS_SECONDS = 5.0

Row = dict[str, Any]


async def idle(peer: Peer, nodes: int, settle: float, seconds: float) -> Row:
    """One cluster's cost, per node and second."""
    async with open_fleet() as fleet:
        await clusters.gather(fleet, peer, nodes)
        await trio.sleep(settle)
        before = [await fresh(agent) for agent in fleet.agents]
        await trio.sleep(seconds)
        after = [await fresh(agent) for agent in fleet.agents]
    return costs(before, after) | {"rss_kib": after[0]["rss_kib"]}


async def fresh(agent: Agent) -> Line:
    """Statistics that were made after this call."""
    last = agent.stats.get("t", 0.0)
    with trio.fail_after(STATS_SECONDS):
        while agent.stats.get("t", 0.0) == last:  # noqa: ASYNC110  (the driver has no event for it)
            await trio.sleep(0.01)
    return agent.stats


def costs(before: Sequence[Line], after: Sequence[Line]) -> Row:
    """All processes' statistics at two times, as costs per node and second."""

    def rate(*fields: str, only: Callable[[Line], bool] = lambda line: True) -> float:
        spans = [(old, new) for old, new in zip(before, after, strict=True) if only(new)]
        spent = sum(new[field] - old[field] for old, new in spans for field in fields)
        return float(spent / sum(new["count"] * (new["t"] - old["t"]) for old, new in spans))

    return {
        "packets": rate("tx_packets"),
        "udp_bytes": rate("tx_bytes"),
        "tcp_bytes": rate("stream_tx_bytes"),
        "cpu_ms": 1000 * rate("cpu_s"),
        "cpu_ms_alone": 1000 * rate("cpu_s", only=lambda line: line["count"] == 1),
    }


# --- the table

FIGURES = {
    "packets": "packets",
    "udp_bytes": "UDP bytes",
    "tcp_bytes": "TCP bytes",
    "cpu_ms": "CPU ms",
    "cpu_ms_alone": "CPU ms, alone",
    "rss_kib": "RSS of a process, MiB",
}


def print_table(rows: Sequence[Row], peers: Sequence[str], sizes: Iterable[int]) -> None:
    """Medians; the first peer's over each other's behind it."""
    lines = []
    for nodes in sizes:
        base = _medians(rows, peers[0], nodes)
        for peer in peers:
            mine = _medians(rows, peer, nodes)
            cells = [f"{mine[name] / 1024 if name == 'rss_kib' else mine[name]:.2f}" for name in FIGURES]
            if peer != peers[0]:
                ratios = [f" ({base[name] / mine[name]:.2f})" if mine[name] else "" for name in FIGURES]
                cells = [cell + ratio for cell, ratio in zip(cells, ratios, strict=True)]
            lines.append((f"{peer}, {nodes} nodes", *cells))
    title = f"per node and second, idle; in brackets {peers[0]} / peer"
    show.console().print(show.table(title, ("", *FIGURES.values()), lines))


def _medians(rows: Sequence[Row], peer: str, nodes: int) -> dict[str, float]:
    found = [row for row in rows if (row["peer"], row["nodes"]) == (peer, nodes)]
    return {name: statistics.median(row[name] for row in found) for name in FIGURES}


# --- all of it


async def measure(args: Arguments, peers: Sequence[Peer], rows: list[Row]) -> None:
    rng = random.Random(args.seed)
    with show.progress() as bar:
        task = bar.add_task("idle", total=args.runs * len(args.nodes) * len(peers))
        for run in range(args.runs):
            for nodes in args.nodes:
                for peer in rng.sample(peers, len(peers)):
                    bar.update(task, description=f"{peer.kind}, N={nodes}")
                    cost = await idle(peer, nodes, args.settle, args.seconds)
                    rows.append({"peer": peer.kind, "nodes": nodes, "run": run} | cost)
                    bar.advance(task)


def parse(argv: Sequence[str] | None) -> Arguments:
    parser = record.parser("overhead", __doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[8, 32, 128], help="cluster sizes")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--settle", type=float, default=35.0, help="seconds before that")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which a cluster is watched")
    parser.add_argument("--peers", default="swim,memberlist", help="comma-separated; the first is the base")
    args = record.parse(parser, argv)
    if args.quick:
        args.nodes, args.runs, args.settle, args.seconds = [32], 1, 15.0, 10.0
    if min(args.nodes) < 3 or args.runs < 1 or args.seconds < 1:
        parser.error("--nodes needs 3 or more, --runs and --seconds 1 or more")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    print(f"seed {args.seed}", flush=True)
    peers, skipped = find_peers(args.peers)
    if not peers:
        return 1
    rows: list[Row] = []
    drive(measure, args, peers, rows)
    print_table(rows, [peer.kind for peer in peers], args.nodes)
    versions = {peer.kind: peer.version for peer in peers}
    print(f"recorded in {record.write(args, results=rows, versions=versions, skipped=skipped)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
