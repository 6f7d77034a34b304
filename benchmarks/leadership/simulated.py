"""Leadership in virtual time: large clusters, and thousands of random schedules of faults.

    python -m benchmarks.leadership.simulated [--only death rolling voters derived] [--nodes 1024]
                                              [--trials 20] [--seeds 0:20000] [--jobs 2] [--quick]

- death: the leader's process dies (its kernel closes its sockets), or its host is lost; seconds until every
  member names the same new leader.
- rolling: a tenth of the members is replaced per minute, the leader now and then among them; every other one
  is killed, and every other one leaves. How often the leader changed for those who were there all the time,
  and how often a leader went.
- voters: 3 to 9 nodes, 3 to 5 of them voters; crash, lost host, leave, pause, partition, restart, loss,
  duplicates, delays, clocks that are 1 % off. Two holders of the lease at one instant of true time are an
  error, and so is none after 60 s of calm. `calm`: seconds until there was one.
- derived: the same without voters. The leader's id must not fall for anybody outside solo periods; all
  agree after calm.

A seed that fails is printed; `python -m benchmarks.leadership.simulated --only voters --seeds 17:18` is
that one again.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random
from typing import Any

from benchmarks import record, show
from benchmarks.detector.warm import Figures, Start, Trial, build, forks
from swim.events import Event, LeaderChanged
from swim.simulation import World
from swim.simulation.host import SimulatedNode
from swim.simulation.leases import Run, run_derived, run_leases

__all__ = ["main"]

KINDS = ("death", "rolling", "voters", "derived")
PATIENCE_S = 60.0
ROLLING_S = 60.0
REPLACED_PER_MINUTE = 0.1
LEADER_EVERY = 10
"""Of those who are replaced, so many is the leader."""
BACK_AFTER_S = 5.0
CHUNK = 20


# --- one large cluster


def death(world: World, rng: Random, how: Callable[[World, str], None]) -> Figures:
    """From the death until every other member names the same new leader."""
    world.run(rng.uniform(0.0, 1.0))
    leader = world.leader("n0")
    assert leader is not None
    pending = {node.name for node in world.running() if node.name != leader}
    named: Counter[str] = Counter()
    times: list[float] = []
    start = world.now

    def note(node: SimulatedNode, event: Event) -> None:
        if isinstance(event, LeaderChanged) and event.leader is not None and node.name in pending:
            pending.remove(node.name)
            named[event.leader.name] += 1
            times.append(world.now - start)

    world.watchers.append(note)
    how(world, leader)
    world.run_until(lambda: not pending, PATIENCE_S)
    acting = [at - start for at, name, _ in world.invariants.terms if at >= start and name in named]
    return {
        "first": times[0],
        "all": times[-1] if not pending else None,
        "leaders": len(named),
        "acts": min(acting, default=None),
    }


def rolling(world: World, rng: Random) -> Figures:
    """A tenth of the members is replaced per minute; what does who stays see of leaders?"""
    names = list(world.nodes)
    count = round(len(names) * REPLACED_PER_MINUTE * ROLLING_S / 60)
    leaving = rng.sample(names, count)
    departed = 0
    changes: Counter[str] = Counter()

    def note(node: SimulatedNode, event: Event) -> None:
        if isinstance(event, LeaderChanged):
            changes[node.name] += 1

    world.watchers.append(note)
    replaced = set()
    for number, name in enumerate(leaving):
        leader = next(node for node in world.running() if node.name not in replaced).core.leader
        if number % LEADER_EVERY == 0 and leader is not None:
            name = leader.name
        if world.nodes[name].running and name not in replaced:
            replaced.add(name)
            departed += leader is not None and leader.name == name
            (world.crash if number % 2 else world.leave)(name)
            seeds = rng.sample([other for other in names if other not in replaced], 3)
            world.after(BACK_AFTER_S, partial(world.restart, name, seeds=seeds))
        world.run(ROLLING_S / count)
    world.run(BACK_AFTER_S + 15.0)
    stayed = [changes[name] for name in names if name not in replaced]
    leaders = {world.leader(node.name) for node in world.running()}
    return {
        "replaced": len(replaced),
        "leaders gone": departed,
        "changes least": min(stayed),
        "changes most": max(stayed),
        "leaders at the end": len(leaders),
        "false deaths": len(world.invariants.false_deaths),
    }


TRIALS: dict[str, dict[str, Trial]] = {
    "death": {
        "process": partial(death, how=World.crash),
        "host": partial(death, how=World.lose_host),
    },
    "rolling": {"rolling": rolling},
}


def trials(args: argparse.Namespace, kind: str) -> int:
    return int(args.trials) if kind == "death" else max(1, int(args.trials) // 10)


def large(args: argparse.Namespace, kind: str, done: Callable[[], object]) -> Iterator[Figures]:
    plan = [(name, trial) for name in TRIALS[kind] for trial in range(trials(args, kind))]
    labelled = [(f"{name} {trial}", TRIALS[kind][name]) for name, trial in plan]
    for index, figures in forks(build(Start(args.nodes), args.seed), labelled, args.jobs):
        done()
        if "error" in figures:
            raise RuntimeError(figures["error"])
        yield {"scenario": plan[index][0], "nodes": args.nodes, "trial": plan[index][1], **figures}


# --- random schedules


def attempt(run: Callable[[int], Run], seed: int) -> Run | tuple[int, str]:
    try:
        return run(seed)
    except Exception as error:
        return seed, f"{type(error).__name__}: {error}"


def schedules(args: argparse.Namespace, kind: str, done: Callable[[], object]) -> Figures:
    run = run_leases if kind == "voters" else run_derived
    first, last = args.seeds
    failed, terms, worst, total = [], 0, [0.0], 0.0
    with ProcessPoolExecutor(args.jobs) as pool:
        for outcome in pool.map(partial(attempt, run), range(first, last), chunksize=CHUNK):
            done()
            if isinstance(outcome, tuple):
                failed.append(outcome[0])
                print(f"{kind}, seed {outcome[0]}: {outcome[1].splitlines()[0]}", file=sys.stderr)
            else:
                terms += outcome.terms
                total += outcome.seconds
                worst.append(outcome.calm_after)
    worst.sort()
    return {
        "scenario": kind,
        "seeds": f"{first}:{last}",
        "failed": failed,
        "terms": terms,
        "simulated s": round(total),
        "calm median": worst[len(worst) // 2],
        "calm worst": worst[-1],
    }


# --- what is shown


def show_all(results: list[Figures]) -> None:
    console = show.console()
    deaths = [one for one in results if "first" in one]
    rows = []
    for scenario in dict.fromkeys(one["scenario"] for one in deaths):
        ours = [one for one in deaths if one["scenario"] == scenario]
        known = [one["all"] for one in ours if one["all"] is not None]
        acts = [one["acts"] for one in ours if one["acts"] is not None]
        agreed = sum(one["leaders"] == 1 for one in ours)
        firsts = [one["first"] for one in ours]
        rows.append([scenario, *map(show.middle, (firsts, acts, known)), f"{agreed} of {len(ours)}"])
    if rows:
        columns = ("the leader's", "first knows", "next acts", "all know", "same leader")
        console.print(show.table("seconds; median (least-greatest)", columns, rows))
    for one in results:
        if "first" not in one:
            console.print(", ".join(f"{name}: {value}" for name, value in one.items()))


def span(text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    return int(first), int(last)


def main(argv: Sequence[str] | None = None) -> int:
    parser = record.parser("leadership.simulated", __doc__, seed=1)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--nodes", type=int, default=1_024)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seeds", type=span, default=(0, 20_000), metavar="A:B")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    args = record.parse(parser, argv)
    if args.quick:
        args.nodes, args.trials, args.seeds = min(args.nodes, 128), 2, (0, 20)
    results: list[dict[str, Any]] = []
    with show.progress() as bar:
        for kind in args.only:
            seeds = args.seeds[1] - args.seeds[0]
            total = len(TRIALS[kind]) * trials(args, kind) if kind in TRIALS else seeds
            task = bar.add_task(kind, total=total)
            done = partial(bar.advance, task)
            if kind in TRIALS:
                results += large(args, kind, done)
            else:
                results.append(schedules(args, kind, done))
            record.write(args, results=results)
    show_all(results)
    print(f"recorded in {args.json}")
    return 1 if any(one.get("failed") for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
