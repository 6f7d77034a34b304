"""What a cluster makes of the faults that networks have, firewalls first of all.

    python -m benchmarks.faults [ROW ..] [--nodes 5 8] [--runs 3] [--seconds 1 1.5 5 60] [--jobs 2]

Real processes, each alone in a network namespace of its own around a router; all profiles are the peers'
defaults (`--profile lan`). In each trial all peers suffer the same at the same time, each in a network of its
own. `--list` shows the rows. The victim, where there is one, is the leader in every other run.

- deaths: how often a node declared one dead whose process ran. Where those who are given up could exchange
  packets by neither UDP nor TCP for longer than the silence that is tolerated, it is right: "(due)".
- leaders: terms that began at another node than the one before, and "+n" at the same one, which had stopped
  to act as it heard nobody; two leaders: seconds for which two nodes acted at once, and how long at most
  later than a second after the network was whole.
- whole: seconds from the end of the fault until all see all, follow one leader, and do so for two seconds.
- stalled: seconds for which processes were late to serve their timers. It is a busy machine's fault, not the
  network's: where it is seconds, repeat the row.

Scenarios for larger clusters, whose nodes share processes, are `silent`, `stand`, `stutter` and `lossy`:
see `benchmarks.faults.standing`.

Needs root, ip and nft: skipped without.
"""

from __future__ import annotations

import random
import sys
from argparse import Namespace as Arguments
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from benchmarks import namespaces, record, show
from benchmarks.driver import drive
from benchmarks.faults import standing
from benchmarks.faults.rows import ROWS, TOLERATED, Row, letters
from benchmarks.faults.stage import GATHER_SECONDS, SETTLED_SECONDS, Cut, open_stage
from benchmarks.peers import Peer, find_peers

LATE = 0.4
"""For so long a firewall may be late to end a fault that must be shorter than the silence tolerance."""
KEY = "00112233445566778899aabbccddeeff"
Outcome = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """One strike at one cluster of each peer."""

    row: Row
    seconds: float
    nodes: int
    run: int

    def __str__(self) -> str:
        lasting = f", {self.seconds:g} s" if self.seconds else ""
        return f"{self.row.name}{lasting}, {self.nodes} nodes, run {self.run + 1}"


# --- one trial


async def suffer(trial: Trial, peer: Peer) -> Outcome:
    row = trial.row
    rng = random.Random(str(trial))
    names = [*(f"n{number}" for number in range(trial.nodes)), "newcomer"]
    tags = {name: {"tag": letters(rng, row.tag_size)} for name in names} if row.tag_size else {}
    options = ("--key", KEY) if row.keyed else ()
    victim = 0 if row.strikes_all else trial.run % 2
    about = {"row": row.name, "seconds": trial.seconds, "nodes": trial.nodes, "run": trial.run}
    about |= {"peer": peer.kind}
    async with open_stage(
        peer, trial.nodes, victim=victim, tags=tags, wildcard=row.wildcard, options=options
    ) as stage:
        if row.early:
            stage.network.route("meta l4proto udp drop")
        if not row.founds:
            try:
                await stage.gather(GATHER_SECONDS)
            except TimeoutError as error:
                if not row.early:
                    return about | {"failed": str(error)}
            await trio.sleep(SETTLED_SECONDS + rng.random())
        stage.begin()
        await row.strike(stage, trial.seconds)
        if stage.healed is None:
            stage.heal()
        whole = await stage.until_whole(row.patience)
        lasted = stage.figures.get("lasted_s", 0.0)
        if trial.seconds <= TOLERATED < lasted - LATE:
            return about | {"failed": f"this machine was busy, and the fault lasted for {lasted:.2f} s"}
        severed = row.cut if row.may_die(trial.seconds) else Cut.NOBODY
        outcome = about | {"whole_s": whole} | stage.summary(severed)
        return outcome | ({"history": stage.history()} if misses(outcome) else {})


async def measure(
    args: Arguments, peers: Sequence[Peer], outcomes: list[Outcome], save: Callable[[], object]
) -> None:
    trials = [
        Trial(row, seconds, nodes, run)
        for run in range(args.runs)
        for row in (ROWS[name] for name in args.rows)
        for seconds in row.seconds
        if not args.seconds or seconds in args.seconds or row.seconds == (0.0,)
        for nodes in args.nodes
    ]
    crowd = [trial for trial in trials if not trial.row.alone]
    crowd.sort(key=lambda trial: -trial.seconds - 120 * (trial.row.name == "flap"))  # the long ones first
    alone = [trial for trial in trials if trial.row.alone]
    limiter = trio.CapacityLimiter(args.jobs)
    async with trio.open_nursery() as nursery:
        for trial in crowd:
            await limiter.acquire_on_behalf_of(trial)
            nursery.start_soon(_attempt, trial, peers, outcomes, limiter, save)
    for trial in alone:
        for peer in peers:
            await _note(trial, peer, outcomes)
        save()


async def _attempt(
    trial: Trial,
    peers: Sequence[Peer],
    outcomes: list[Outcome],
    limiter: trio.CapacityLimiter,
    save: Callable[[], object],
) -> None:
    try:
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(_note, trial, peer, outcomes)
        save()
    finally:
        limiter.release_on_behalf_of(trial)


async def _note(trial: Trial, peer: Peer, outcomes: list[Outcome]) -> None:
    outcome = await suffer(trial, peer)
    outcomes.append(outcome)
    missed = ", ".join(misses(outcome))
    print(f"{trial}: {peer.kind}: {missed or 'as promised'}", flush=True)


# --- what is promised


def misses(outcome: Outcome, lenience: float = 0.0) -> list[str]:
    """In what an outcome falls short of its row's promise; a busy machine may add `lenience` seconds."""
    if "failed" in outcome:
        return [outcome["failed"]]
    row: Row = ROWS[outcome["row"]]
    found = []
    calm = not row.may_die(outcome["seconds"])
    moved = calm and outcome["row"] not in CHANGES_THE_LEADER
    if outcome["wrong"]:
        found.append(f"{outcome['wrong']} deaths")
    if moved and outcome["leaders"]:
        found.append(f"{outcome['leaders']} leaders")
    if outcome["two_leaders_connected_s"] > 0:
        found.append(f"two leaders for {outcome['two_leaders_connected_s']:.1f} s")
    for name, most in (("whole_s", row.whole), *row.limits):
        value = outcome.get(name, None)
        if most is not None and (value is None or value > most + lenience):
            found.append(f"{name.removesuffix('_s')} {show.seconds(value)}, not {most:g} s")
    return found


CHANGES_THE_LEADER = (
    *("swap", "move", "kill-again", "term-again", "kill", "kill-beside", "frozen", "pause"),
    *("substitute", "usurper", "squatter", "founding"),
)
"""Since they end its process, or stop it for so long that it may do so again; or have one of their own."""


# --- the table

COLUMNS = ("", "deaths", "leaders", "two leaders", "whole", "further", "stalled", "short of the promise")


def cells(row: Row, seconds: float, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Of one row, one duration and one peer, over all runs."""
    good = [outcome for outcome in outcomes if "failed" not in outcome]
    failed = len(outcomes) - len(good)
    short = [", ".join(misses(outcome)) for outcome in outcomes if misses(outcome)]
    due = " (due)" if any(outcome["deaths"] > outcome["wrong"] for outcome in good) else ""
    doubled = [(outcome["two_leaders_s"], outcome["two_leaders_connected_s"]) for outcome in good]
    worst = max(doubled, default=(0.0, 0.0))
    further = [
        key
        for key in ("joined_s", "killed_s", "known_s", "moved_s", "led_s", "tags_s", "one_s", "merged")
        if any(key in one for one in good)
    ]
    return (
        _spread([outcome["deaths"] for outcome in good]) + due,
        _spread([outcome["leaders"] for outcome in good])
        + (f"+{most}" if (most := max([0, *(one["interrupted"] for one in good)])) else ""),
        f"{worst[0]:.1f}/{worst[1]:.1f}" if worst[0] else "0",
        middle([outcome["whole_s"] for outcome in good]),
        "; ".join(
            [
                *(f"{key.removesuffix('_s')} {middle([one.get(key) for one in good])}" for key in further),
                *(one["arrived"] for one in good[:1] if "arrived" in one),
            ]
        ),
        f"{max([0.0, *(outcome['stalled_s'] for outcome in good)]):.1f}",
        f"{len(short)} of {len(outcomes)}: {short[0]}" if short else f"{failed} failed" if failed else "",
    )


def _spread(counts: Sequence[int]) -> str:
    if not counts:
        return "-"
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}-{high}"


def middle(values: Sequence[float | None]) -> str:
    """As `show.middle`, where some may be missing."""
    found = [value for value in values if value is not None]
    missing = len(values) - len(found)
    text = "0" if found and not any(found) else show.middle(found)
    return f"{text}, {missing} of {len(values)} never" if found and missing else text


def groups(outcomes: Sequence[Outcome]) -> dict[tuple[str, float, int, str], list[Outcome]]:
    """By row, duration, size and peer, in the order of the rows."""
    found: dict[tuple[str, float, int, str], list[Outcome]] = {}
    order = {name: place for place, name in enumerate(ROWS)}
    for outcome in sorted(
        outcomes, key=lambda one: (order[one["row"]], one["seconds"], one["nodes"], one["peer"] != "swim")
    ):
        found.setdefault((outcome["row"], outcome["seconds"], outcome["nodes"], outcome["peer"]), []).append(
            outcome
        )
    return found


def print_table(outcomes: Sequence[Outcome]) -> None:
    lines = []
    for (name, seconds, nodes, peer), some in groups(outcomes).items():
        lasting = f" {seconds:g} s" if seconds else ""
        lines.append((f"{name}{lasting}, {nodes}: {peer}", *cells(ROWS[name], seconds, some)))
    show.console().print(show.table("faults", COLUMNS, lines))


# --- all of it


def parse(argv: Sequence[str] | None) -> Arguments:
    parser = record.parser("faults", __doc__)
    known = [*ROWS, *standing.NAMES]
    parser.add_argument("rows", nargs="*", metavar="ROW", help="by default all that `--list` shows")
    parser.add_argument("--list", action="store_true", help="show the rows, and end")
    parser.add_argument(
        "--nodes", type=int, nargs="+", help="by default 5 and 8; for silent and stand 8, 32 and 128"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, nargs="+", help="only with these durations")
    parser.add_argument("--jobs", type=int, default=2, help="trials at the same time")
    parser.add_argument("--minutes", type=float, default=5.0, help="of lossy")
    parser.add_argument(
        "--peers", default="swim,memberlist", help="comma-separated; swim@DIR: another checkout"
    )
    args = record.parse(parser, argv)
    if args.quick:
        args.rows, args.nodes, args.runs = args.rows or ["reject-udp", "kill"], [5], 1
        args.seconds, args.minutes = args.seconds or [1.0], 0.3
    args.rows = args.rows or list(ROWS)
    record.check_known(parser, "row", args.rows, known)
    args.scenarios = [name for name in args.rows if name in standing.NAMES]
    args.rows = [name for name in args.rows if name in ROWS]
    if min(args.nodes or [2]) < 2 or args.runs < 1 or args.jobs < 1:
        parser.error("--nodes needs 2 or more, --runs and --jobs 1 or more")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    if args.list:
        for row in ROWS.values():
            lasting = ", ".join(f"{seconds:g}" for seconds in row.seconds if seconds)
            print(f"{row.name:14}{row.what}{f' ({lasting} s)' if lasting else ''}")
        return 0
    print(f"seed {args.seed}", flush=True)
    peers, skipped = find_peers(args.peers)
    reason = namespaces.why_not()
    if reason is not None:
        left_out = [*args.rows, *(name for name in args.scenarios if name in standing.NEED_ROOT)]
        skipped += [namespaces.skipped(f"faults {name}", reason) for name in left_out]
        args.rows = []
        args.scenarios = [name for name in args.scenarios if name not in standing.NEED_ROOT]
        print(*skipped[-len(left_out) :], sep="\n", flush=True)
    if not peers:
        return 1
    outcomes: list[Outcome] = []
    versions = {peer.kind: peer.version for peer in peers}

    def save() -> Path:
        return record.write(args, results=outcomes, versions=versions, skipped=skipped)

    if args.rows:
        args.nodes = args.nodes or [5, 8]
        drive(measure, args, peers, outcomes, save)
        print_table(outcomes)
    if args.scenarios:
        args.nodes = args.nodes or [8, 32, 128]
        drive(standing.measure, args, peers, outcomes)
        standing.print_tables(outcomes)
    print(f"recorded in {save()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
