"""The figures of both READMEs, from the records: nobody types them.

    python -m benchmarks.readme            # write them between the two marks of each page
    python -m benchmarks.readme --check    # exit status 1 if they are not those of benchmarks/results/

`benchmarks/README.md` has a table for each record, with the command that made it and what it was made on;
`README.md` has six of these figures (see `headlines`).
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import headlines, record, show
from benchmarks.faults.rows import ROWS, TOLERATED
from benchmarks.hostile import WHAT

__all__ = ["BEGIN", "END", "FIGURES", "README", "command_of", "main", "section"]

README = record.RESULTS.parent.parent / "README.md"
FIGURES = record.RESULTS.parent / "README.md"
BEGIN, END = "<!-- figures: python -m benchmarks.readme -->", "<!-- end of the figures -->"
SCENARIOS = ("join storm", "one node joins", "tag change", "graceful leave", "SIGKILL")

Record = dict[str, Any]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _select(results: list[Record], **fields: Any) -> list[Record]:
    return [one for one in results if fields.items() <= one.items()]


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    if not ours or not theirs:
        return "-"
    return f"{statistics.median(ours) / statistics.median(theirs):.2g}"


def convergence(results: list[Record]) -> str:
    """Seconds until all knew; beside each size the ratio to memberlist."""
    sizes = sorted({one["nodes"] for one in results})
    columns = [
        "seconds until all others know",
        *(f"{peer}, {size}" for size in sizes for peer in ("swim", "memberlist", "ratio")),
    ]
    rows = []
    for scenario in SCENARIOS:
        row = [scenario]
        for size in sizes:
            known = {}
            for peer in ("swim", "memberlist"):
                runs = [one["all"] for one in _select(results, peer=peer, nodes=size, scenario=scenario)]
                known[peer] = [seconds for seconds in runs if seconds is not None]
                missed = len(runs) - len(known[peer])
                row.append(show.middle(known[peer]) + (f", {missed} of {len(runs)} never" if missed else ""))
            row.append(_ratio(known["swim"], known["memberlist"]))
        rows.append(row)
    return _table([column.replace("ratio, ", "ratio at ") for column in columns], rows)


OVERHEAD = {
    "packets": ("packets", ".2f", 1),
    "udp_bytes": ("UDP bytes", ".0f", 1),
    "tcp_bytes": ("TCP bytes", ".0f", 1),
    "cpu_ms": ("CPU ms", ".2f", 1),
    "cpu_ms_alone": ("CPU ms of the seed, alone in its process", ".1f", 1),
    "rss_kib": ("memory of a process, MiB", ".0f", 1024),
}
"""How each figure is called and written, and its unit."""


def overhead(results: list[Record]) -> str:
    """What an idle node costs, per second; swim's with the ratio to its peer's."""
    rows = []
    for size in sorted({one["nodes"] for one in results}):
        runs = {peer: _select(results, peer=peer, nodes=size) for peer in ("swim", "memberlist")}
        for peer, own in runs.items():
            cells = []
            for name, (_, form, unit) in OVERHEAD.items():
                ours, theirs = (
                    statistics.median([run[name] for run in found]) / unit if found else 0.0
                    for found in (own, runs["memberlist"])
                )
                ratio = f" ({ours / theirs:.2f}x)" if peer == "swim" and theirs else ""
                cells.append(format(ours, form) + ratio)
            if own:
                rows.append([f"{peer}, {size} nodes", *cells])
    return _table(("an idle node, per second", *(title for title, _, _ in OVERHEAD.values())), rows)


def leadership(results: dict[str, list[Record]]) -> str:
    """Seconds until another node's function runs."""
    titles = {"kill": "SIGKILL of the leader", "leave": "it leaves", "pause": "it stands still for 20 s"}
    modes = list(
        dict.fromkeys(what.partition(", ")[2] for what in results if what.partition(", ")[0] in titles)
    )
    rows = []
    for mode in modes:
        cells = []
        for scenario in titles:
            runs = results.get(f"{scenario}, {mode}", [])
            times = [run["to_the_next"] for run in runs if run.get("to_the_next") is not None]
            cells.append(show.middle(times) if runs else "-")
        of_mode = {what: runs for what, runs in results.items() if what.endswith(f", {mode}")}
        late = [run.get("ticks_after_waking", 0) for runs in of_mode.values() for run in runs]
        both = [  # one that stood still and then acts on is counted in the column before
            run.get("overlap", 0)
            for what, runs in of_mode.items()
            if not what.startswith("pause")
            for run in runs
        ]
        name = f"swim, {mode}" if mode in ("derived", "voters") else mode
        rows.append([name, *cells, str(sum(late)), str(sum(both))])
    columns = (
        "seconds until another node leads",
        *titles.values(),
        "ticks after it woke",
        "ticks of two at once",
    )
    return _table(columns, rows)


def messages(results: dict[str, Any]) -> str:
    rows = []
    if direct := results.get("direct"):
        rows.append(["direct messages of 100 bytes, one pair", f"{direct['per_second']:,} a second"])
    if bulk := results.get("bulk"):
        rows.append(["direct messages of 1 MiB, one pair", f"{bulk['mb_per_second']:,} MB a second"])
    if killed := results.get("kill"):
        times = killed["seconds_until_the_last_has_its_error"]
        rows.append(["SIGKILL of the receiver: until all senders know", f"{show.middle(times)} s"])
    for key, words in (("broadcast", ""), ("loss", ", {percent} % loss")):
        if found := results.get(key):
            what = "broadcast of 400 bytes to {nodes} nodes" + words + ": until the last has it"
            rows.append([what.format(**found), f"{show.middle(found['seconds_until_the_last'])} s"])
    return _table(("messages", ""), rows)


def core(results: list[Record]) -> str:
    by_what = {one["what"]: one for one in results}
    node = next(one for one in results if one["part"] == "node")
    memory = next(one for one in results if one["part"] == "memory")
    rows = [
        ["a ping in, its ack out: codec and core", f"{by_what['ping in, ack out']['us']:.0f} us"],
        ["the same in a process on loopback, system calls included", f"{node['CPU us each']:.0f} us of CPU"],
        [
            "pings that one node answers",
            f"{node['datagrams/s']:,.0f} a second ({node['datagrams/s of a whole core']:,.0f} per core)",
        ],
        [
            "memory for each member, beyond its own data",
            f"{memory['bytes beyond']:.0f} bytes ({memory['bytes a member']:,.0f} in all)",
        ],
        *(
            [f"{one['what']}, simulated", f"{one['node-seconds/s']:,.0f} seconds of a node in one of CPU"]
            for one in results
            if one["part"] == "simulation"
        ),
        ["`import swim`, beyond trio's own", f"{by_what['import swim, beyond trio']['seconds']:.2f} s"],
    ]
    return _table(("what it costs", ""), rows)


def simulated(results: list[Record]) -> str:
    """The largest cluster."""
    size = max(one["nodes"] for one in results if one["scenario"] == "host is lost")
    networks = list(dict.fromkeys(one["network"] for one in results))
    rows = []
    for scenario in dict.fromkeys(one["scenario"] for one in _select(results, nodes=size)):
        cells = []
        for network in networks:
            trials = _select(results, network=network, nodes=size, scenario=scenario)
            values = [math.inf if one["all"] is None else one["all"] for one in trials]
            cells.append(show.middle(values) if values else "-")
        rows.append([scenario, *cells])
    return _table((f"{size:,} members, simulated: seconds until all know", *networks), rows)


def faults(results: list[Record]) -> str:
    """The worst of all runs and sizes."""
    rows = []
    for row in ROWS.values():
        for short in (True, False):
            own = [
                one for one in results if one["row"] == row.name and (one["seconds"] <= TOLERATED) is short
            ]
            if own:
                lasting = [
                    f"{seconds:g}" for seconds in row.seconds if seconds in {one["seconds"] for one in own}
                ]
                what = f"{row.what}, {' and '.join(lasting)} s" if any(row.seconds) else row.what
                rows.append([what, *_suffered(_select(own, peer="swim"), True)])
                rows[-1] += _suffered(_select(own, peer="memberlist"), False)
    columns = ["fault", "swim: deaths", "leaders", "whole after", "memberlist: deaths", "whole after"]
    return _table(columns, rows)


def _suffered(runs: list[Record], leads: bool) -> list[str]:
    done = [one for one in runs if "failed" not in one]
    if not done:
        return ["-"] * (3 if leads else 2)
    deaths = max(one["wrong"] for one in done)
    whole = [one["whole_s"] for one in done]
    missing = whole.count(None)
    worst = max([0.0, *(seconds for seconds in whole if seconds is not None)])
    said = "at once" if worst == 0 else f"{worst:.1f} s"
    return [
        str(deaths),
        *([str(max(one["leaders"] for one in done))] if leads else []),
        (f"never in {missing} of {len(whole)}" if missing else said),
    ]


def hostile(results: list[Record]) -> str:
    """A row for each attack; where memberlist stood beside it, by the same bytes."""
    rows = []
    for name, what in WHAT.items():
        cells: list[str] = [what]
        used = {one["peer"]: one["cpu of all"] for one in _select(results, row=name)}
        for peer in ("swim", "memberlist"):
            for one in _select(results, row=name, peer=peer):
                cells += [f"{used[peer]:.2f}", *_harm(one)]
        if used.get("memberlist"):
            cells[1] += f" ({used['swim'] / used['memberlist']:.2f}x)"
            rows.append(cells)
    columns = (
        "CPU of all five, s",
        "longest wait, of it no wait for a core, s",
        "newcomer, s",
        "told, ended",
    )
    titles = [f"{peer}: {column}" for peer in ("swim", "memberlist") for column in (*columns, "memory, MiB")]
    return _table(("from one socket", *titles), rows)


def _harm(one: Record) -> list[str]:
    memory = "-".join("?" if size is None else f"{size:.0f}" for size in one["rss"])
    newcomer = "never" if one["newcomer"] is None else f"{one['newcomer']:.1f}"
    told = f"{len(one['told'])}, {len(one['ended'])}"
    return [f"{one['longest wait']:.2f}, {one['longest stall']:.2f}", newcomer, told, memory]


def detector(_: str) -> list[str]:
    """How often the detector was wrong, of all trials in its folder of records."""
    rows = [
        [title, ", ".join(f"{size:,}" for size in sizes), f"{trials:,}", f"{wrong:.0f}"]
        for title, sizes, trials, wrong in headlines.detected()
    ]
    if not rows:
        return []
    table = _table(("simulated", "members", "trials", "healthy members wrongly given up"), rows)
    told = (
        "In the views of healthy members, that is: one that hears nobody at all for 15 s gives up everybody, "
        "for itself alone, as it cannot tell that from being the last."
    )
    source = "[each cell and its goal](results/detector/summary.txt)"
    return [table, told, f"`python -m benchmarks.detector --scenario all`, in parts: {source}."]


def records(name: str, make: Callable[[Any], str] | None = None) -> list[str]:
    """What each record of this name tells, and what it was made on."""
    own = record.RESULTS / f"{name}.json"
    more = sorted(record.RESULTS.glob(f"{name}-*.json"), key=lambda path: (len(path.name), path.name))
    blocks = []
    for path in [path for path in (own, *more) if path.exists()]:
        found = json.loads(path.read_text(encoding="utf-8"))
        blocks += [make(found["results"])] if make is not None else []
        blocks.append(f"`{command_of(found)}`: {_made_on(found)}")
    return blocks


PARTS: tuple[tuple[str, str, Callable[[str], list[str]]], ...] = (
    (
        "convergence",
        "**How fast news reaches everyone**: real processes on loopback, beside memberlist's LAN profile; "
        "median (least-greatest).",
        partial(records, make=convergence),
    ),
    (
        "simulated",
        "**In large clusters**: simulated, the real core in virtual time; median (least-greatest).",
        partial(records, make=simulated),
    ),
    (
        "faults",
        "**What it makes of networks that refuse, block and lose**: 5 and 8 real processes in network "
        "namespaces, beside memberlist under the same fault; the worst of all runs. Wrong deaths (of members "
        "that could exchange packets, or could not for less than is tolerated), changes of the leader, and "
        "how long after the fault all saw all again.",
        partial(records, make=faults),
    ),
    ("detector", "**How often it is wrong**: simulated, all trials together.", detector),
    (
        "tradeoff",
        "**What it pays for being quick**: detection time against false deaths, as each detector is tuned.",
        records,
    ),
    (
        "leadership",
        "**Leadership**: five real processes; median (least-greatest).",
        partial(records, make=leadership),
    ),
    ("messages", "**Messages**: real processes; median (least-greatest).", partial(records, make=messages)),
    (
        "overhead",
        "**What an idle node costs**: real processes, beside memberlist.",
        partial(records, make=overhead),
    ),
    ("core", "**What a message costs.**", partial(records, make=core)),
    (
        "hostile",
        "**What a stranger's bytes do**: five real processes, one of them attacked from one socket, beside "
        "memberlist by the same bytes. `nothing` is what the measuring costs, which is part of each row. "
        "Waits are for the answer to a ping of the attacked node; `told`: how often any node suspected "
        "another or gave it up; memory of the attacked node: before, at most, and when it is over.",
        partial(records, make=hostile),
    ),
)
ALTERNATIVES = {
    "simulated": "seconds until all know, against the number of members: LAN, LAN with loss, WAN",
    "tradeoff": "false deaths an hour against seconds until a lost machine is given up: swim has the fewest",
}


def section() -> str:
    """All of it, as Markdown."""
    parts = []
    for name, introduction, make in PARTS:
        blocks = make(name)
        if name in ALTERNATIVES and blocks:
            blocks.insert(0, f"![{ALTERNATIVES[name]}](results/{name}.svg)")
        if blocks:
            parts.append("\n\n".join([introduction, *blocks]))
    return "\n\n".join(parts)


def command_of(found: Record) -> str:
    """Without the place that its record was first written to; of one made in slices, those of all."""
    commands = [part["command"] for part in found.get("slices", [found])]
    return re.sub(r" --json \S+", "", "; ".join(commands))


def _made_on(found: Record) -> str:
    machine, versions = found["machine"], found["versions"]
    loads = [part["load"] for part in found.get("slices", [])] or machine["load_average"][:1]
    load = "load " + "-".join(dict.fromkeys(f"{load:.0f}" for load in (min(loads), max(loads))))
    others = [f"{name} {version}" for name, version in versions.items() if name not in ("swim", "msgpack")]
    return (
        ", ".join([f"{machine['cores']} cores ({machine['cpu']}), {load}", machine["python"], *others]) + "."
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    pages = [(README, headlines.section()), (FIGURES, section())]
    stale = [path for path, figures in pages if not _write(path, figures, args.check)]
    return int(args.check and bool(stale))


def _write(path: Path, figures: str, check: bool) -> bool:
    """Put the figures between the marks of this page, unless it is only checked. Were they there already?"""
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    new = f"{head}{BEGIN}\n\n{figures}\n\n{END}{tail}"
    if not check:
        path.write_text(new, encoding="utf-8")
    return new == text


if __name__ == "__main__":
    sys.exit(main())
