"""How soon another one leads, and that never two do: five processes, in both modes.

    python -m benchmarks.leadership [--runs 20] [--only kill leave] [--modes derived voters] [--quick]

- kill: SIGKILL of the leader; leave: SIGTERM; pause: SIGSTOP for 20 s, then SIGCONT. Seconds from the signal
  until the leadership function runs at another node (`leading` lines). The old one is then started again.
- part (with voters): the network between namespaces is cut 2|3, 1|4 and one way, for 10 s; needs root.
- attack (with voters and a key): the leader is cut off from most voters for 20 s, and a box without the key
  sends its datagrams back to it (reflect), or those that it receives once more from other voters' addresses
  (multiply); needs root. together: seconds of two leaders at once. leader_stopped: its last tick.
- replace (with voters): five new machines become the voters one after the other, by `swim voters`; each time
  the leader is killed, or leaves. gap: the longest time in which nobody acted.
- zookeeper, etcd: three servers, five clients, the same three signals; skipped where they are not installed.
- pysyncobj: five nodes, likewise.

While a node leads it ticks every 20 ms. overlap: ticks of a node while another one led, by both their words.
late ticks: those of the stopped leader after it was continued. late: by how much the next one came later than
it knew of the death and most voters were free to grant the lease (they tell: `witness`).

Figures of scenarios that are not run this time are kept in the record; its `slices` say what measured which.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TypeAlias

import trio

from benchmarks import namespaces, record, show
from benchmarks.driver import drive
from benchmarks.leadership import others, scenarios, servers
from benchmarks.leadership.attacks import ATTACKS, KEY, attack, replace
from benchmarks.leadership.crew import NAMES, Crew, open_crew
from benchmarks.leadership.scenarios import CUTS, Figures
from benchmarks.leadership.servers import SETTINGS
from benchmarks.leadership.tenures import Tenure
from benchmarks.peers import Absent, Peer, find_peer

Results: TypeAlias = dict[str, list[Figures]]
"""By "scenario, mode"."""
Run: TypeAlias = Callable[[Crew, Tenure], Awaitable[Figures]]

SCENARIOS = ("kill", "leave", "pause", "part", "attack", "replace", *SETTINGS)
MODES = ("derived", "voters")
RUNS = 20
RUNS_PER_CUT = 10
RUNS_OF_OTHERS = 3
SIDE_BY_SIDE = 6
"""Clusters at once, where nothing short is measured. Each run has a fresh one there: a process that is given
up for the second time counts as flapping, and is held off for a minute."""


class Session:
    """The scenarios of one call, their figures as they come."""

    def __init__(self, args: argparse.Namespace, swim: Peer, results: Results) -> None:
        self.args = args
        self.results = results
        self.skipped: list[str] = []
        self.measured: dict[str, None] = {}
        """Which of the results are of this call."""
        self._swim = swim
        witness = (sys.executable, "-m", "benchmarks.leadership.witness", "agent", "--json")
        self._witness = Peer("swim", witness, swim.version)

    async def run(self) -> None:
        for scenario in self.args.only:
            if scenario == "part":
                await self._part()
            elif scenario == "attack":
                await self._attack()
            elif scenario == "replace":
                await self._replace()
            elif scenario in SETTINGS:
                await self._other(scenario)
            else:
                for mode in self.args.modes:
                    await self._repeat(scenario, mode)

    async def _repeat(self, scenario: str, mode: str) -> None:
        found = self.results[f"{scenario}, {mode}"] = []
        voters = NAMES if mode == "voters" else ()
        left = iter(range(self.args.runs))
        run: Run = getattr(scenarios, scenario)

        async def same_crew() -> None:
            async with open_crew(self._swim if mode == "derived" else self._witness, voters=voters) as crew:
                leader = await crew.gather()
                for _ in left:
                    found.append(await run(crew, leader))
                    self._tell(f"{scenario}, {mode}", found)
                    leader = await crew.settled()

        async def fresh_crews() -> None:
            for _ in left:
                async with open_crew(self._swim, voters=voters) as crew:
                    figures = await run(crew, await crew.gather())
                found.append(figures)
                self._tell(f"{scenario}, {mode}", found)

        if scenario != "pause":
            await same_crew()
            return
        async with trio.open_nursery() as nursery:
            for _ in range(SIDE_BY_SIDE):
                nursery.start_soon(fresh_crews)

    def _has_networks(self, scenario: str) -> bool:
        reason = namespaces.why_not()
        if reason is not None:
            self.skipped.append(namespaces.skipped(f"leadership {scenario}", reason))
        return reason is None

    async def _part(self) -> None:
        if not self._has_networks("part"):
            return
        cuts = [cut for cut in CUTS if cut in self.args.cuts] if self.args.cuts else list(CUTS)
        found: Results = {f"part {cut}, voters": [] for cut in cuts}
        self.results.update(found)
        left = iter([cut for _ in range(min(self.args.runs, RUNS_PER_CUT)) for cut in cuts])

        async def crews(network: namespaces.Network) -> None:
            for cut in left:
                async with open_crew(self._swim, voters=NAMES, network=network) as crew:
                    figures = await scenarios.part(crew, await crew.gather(), cut)
                found[f"part {cut}, voters"].append(figures)
                self._tell(f"part {cut}, voters", found[f"part {cut}, voters"])

        await self._side_by_side(crews)

    async def _side_by_side(self, crews: Callable[[namespaces.Network], Awaitable[None]]) -> None:
        """Each in a network of its own."""
        with ExitStack() as stack:
            networks = [stack.enter_context(namespaces.open_network(NAMES)) for _ in range(SIDE_BY_SIDE)]
            async with trio.open_nursery() as nursery:
                for network in networks:
                    nursery.start_soon(crews, network)

    async def _attack(self) -> None:
        if not self._has_networks("attack"):
            return
        left = iter([how for _ in range(min(self.args.runs, RUNS_PER_CUT)) for how in ATTACKS])

        async def crews(network: namespaces.Network) -> None:
            for how in left:
                options = ("--key", KEY)
                async with open_crew(self._swim, voters=NAMES, options=options, network=network) as crew:
                    figures = await attack(crew, await crew.gather(), how)
                found = self.results.setdefault(f"attack {how}, voters", [])
                found.append(figures)
                self._tell(f"attack {how}, voters", found)

        for how in ATTACKS:
            self.results.pop(f"attack {how}, voters", None)
        await self._side_by_side(crews)

    async def _replace(self) -> None:
        found = self.results["replace, voters"] = []
        for _ in range(min(self.args.runs, RUNS_OF_OTHERS)):
            async with open_crew(self._swim, voters=NAMES) as crew:
                found.append(await replace(crew, await crew.gather()))
            self._tell("replace, voters", found)

    async def _other(self, kind: str) -> None:
        absent = servers.why_not(kind)
        if absent is not None:
            self.skipped.append(str(absent))
            return
        for setting, seconds in SETTINGS[kind].items():

            def tell(scenario: str, figures: Figures, setting: str = setting) -> None:
                found = self.results[f"{scenario}, {kind}, {setting}"]
                found.append(figures)
                self._tell(f"{scenario}, {kind}, {setting}", found)

            for scenario in ("kill", "leave", "pause"):
                self.results[f"{scenario}, {kind}, {setting}"] = []
            await others.measure(kind, seconds, min(self.args.runs, RUNS_OF_OTHERS), tell)

    def _tell(self, what: str, found: list[Figures]) -> None:
        self.measured[what] = None
        print(f"{what}, run {len(found)}: {json.dumps(found[-1])}", flush=True)


# --- tables


def rows(results: Results) -> Iterator[list[str]]:
    """One for each scenario and mode."""
    for what, runs in results.items():
        if not runs:
            continue
        times = [run["to_the_next"] for run in runs if run.get("to_the_next") is not None]
        yield [
            what,
            str(len(runs)),
            show.middle(times),
            show.middle([run["late"] for run in runs if "late" in run]) if "late" in runs[0] else "",
            str(sum(run.get("overlap", 0) for run in runs)),
            str(sum(run.get("ticks_after_waking", 0) for run in runs)),
            _all(runs, "stayed"),
            _all(runs, "tokens_rise"),
        ]


def _all(runs: Sequence[Figures], what: str) -> str:
    said = [run[what] for run in runs if what in run]
    return f"{sum(said)}/{len(said)}" if said else ""


COLUMNS = (
    "",
    "runs",
    "until another leads (s)",
    "late (s)",
    "overlap",
    "late ticks",
    "stayed",
    "tokens rise",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = record.parser("leadership", __doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="of each scenario (of each cut: at most 10)")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--cuts", nargs="+", choices=CUTS, help="of the partitions, only these")
    args = record.parse(parser, argv)
    if args.runs < 1:
        parser.error("--runs needs 1 or more")
    if args.quick:
        args.runs, args.only = 1, [name for name in args.only if name in ("kill", "leave")]
    return args


def kept(args: argparse.Namespace) -> dict[str, Any]:
    """The record of earlier runs."""
    try:
        found: dict[str, Any] = json.loads(args.json.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def slices(args: argparse.Namespace, measured: Sequence[str], before: Sequence[Figures]) -> list[Figures]:
    """By which commands all the results were measured, and under which load."""
    earlier = [
        {**each, "measured": [what for what in each["measured"] if what not in measured]} for each in before
    ]
    load = record.machine()["load_average"][0]
    now = {"command": args.command, "load": load, "swim": record.swim_version(), "measured": list(measured)}
    return [each for each in (*earlier, now) if each["measured"]]


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    swim = find_peer("swim")
    if isinstance(swim, Absent):
        print(swim)
        return 1
    before = {} if args.quick else kept(args)
    session = Session(args, swim, before.get("results", {}))
    drive(session.run)
    show.console().print(show.table("Leadership", COLUMNS, rows(session.results)))
    parts = slices(args, list(session.measured), before.get("slices", []))
    path = record.write(args, results=session.results, skipped=session.skipped, slices=parts)
    print(*session.skipped, f"recorded in {path}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
