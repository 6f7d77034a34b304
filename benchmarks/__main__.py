"""All benchmarks, one after the other, each as the command of its own that it is.

    python -m benchmarks [--quick] [NAME ..]

`--quick` takes a few minutes and needs neither root nor any other system: what is absent is skipped, with the
command that installs it. Records (JSON with seed, machine and versions) and pictures are written to
`benchmarks/results/`, those of `--quick` to `benchmarks/results/quick/`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks import pictures, record

__all__ = ["main"]

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A command: `python -m benchmarks.NAME`, with further words for a full run and for a quick one.

    `beyond`: what a quick run leaves out, apart from larger clusters and more runs.
    """

    name: str
    what: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    beyond: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one command. `record` is None where it wrote none."""

    benchmark: Benchmark
    status: int
    seconds: float
    record: Path | None
    skipped: Sequence[str]


ALL = (
    Benchmark("core", "what a message costs: codec, core, one node on real sockets; memory, import time"),
    Benchmark("convergence", "how fast news reaches everyone; real processes, beside memberlist"),
    Benchmark(
        "faults",
        "firewalls, blocked UDP, forged ICMP, partitions, pauses, loss; real processes, beside memberlist",
        beyond="all but one firewall and one death",
    ),
    Benchmark("overhead", "what an idle node costs; real processes, beside memberlist"),
    Benchmark(
        "leadership",
        "fail-over, partitions, two leaders at once; real processes, beside ZooKeeper, etcd, pysyncobj",
        beyond="pauses, partitions; ZooKeeper, etcd, pysyncobj",
    ),
    Benchmark(
        "simulated",
        "the same in simulation, in larger clusters, over a WAN, and with loss",
        quick=("--jobs", "2"),
    ),
    Benchmark(
        "leadership.simulated",
        "leaders in simulation: deaths and replacements in large clusters, random schedules of faults",
        ("--seeds", "0:2000"),
        ("--jobs", "2"),
    ),
    Benchmark("messages", "messages between members, one to one and to all; slow readers, deaths, loss"),
    Benchmark(
        "leases",
        "locks beside etcd's and kazoo's; 64 shards whose nodes join, leave and are killed; real processes",
    ),
    Benchmark(
        "hostile",
        "what a stranger's bytes do to five real processes, beside memberlist",
        beyond="all but the row of made-up deaths",
    ),
    Benchmark("work_queue", "the example: tasks through one leader, and through two deaths"),
    Benchmark("tradeoff", "detection time against false deaths; classic phi and memberlist beside swim"),
    Benchmark(
        "detector",
        "the failure detector in simulation",
        ("--scenario", "all"),
        ("--scenario", "A", "accrual", "--jobs", "2"),
        beyond="all but crashes and classic phi",
    ),
)


def run(benchmark: Benchmark, quick: bool, which: str) -> Outcome:
    words = [
        "-m",
        f"benchmarks.{benchmark.name}",
        *(("--quick", *benchmark.quick) if quick else benchmark.full),
    ]
    print(f"\n== {which}: {benchmark.what}\n$ {shlex.join(['python', *words])}", flush=True)
    began, written = time.monotonic(), time.time()
    status = subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode
    seconds = time.monotonic() - began
    print(f"({seconds:.0f} s)", flush=True)
    path = (record.RESULTS / "quick" if quick else record.RESULTS) / f"{benchmark.name}.json"
    if not path.exists() or path.stat().st_mtime < written - 1:
        return Outcome(benchmark, status, seconds, None, ())
    skipped = json.loads(path.read_text(encoding="utf-8")).get("skipped", [])
    return Outcome(benchmark, status, seconds, path, skipped)


def summary(outcomes: Sequence[Outcome], quick: bool) -> Iterator[tuple[str, ...]]:
    """A row for each: how long it took, its record, and what a quick run leaves out."""
    for one in outcomes:
        where = "none" if one.record is None else str(one.record.relative_to(ROOT))
        said = where if one.status == 0 else f"failed, exit status {one.status}"
        yield one.benchmark.name, f"{one.seconds:.0f}", said, *([one.benchmark.beyond] if quick else [])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = [benchmark.name for benchmark in ALL]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these, of: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a small run of each, a few minutes in all")
    args = parser.parse_args(argv)
    record.check_known(parser, "benchmark", args.names, names)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if find_spec("rich") is None:
        print(f"rich is absent, which makes the tables; install it with: {pictures.INSTALL}", file=sys.stderr)
        return 2
    from benchmarks import show

    chosen = [benchmark for benchmark in ALL if not args.names or benchmark.name in args.names]
    outcomes = [
        run(benchmark, args.quick, f"{number} of {len(chosen)}") for number, benchmark in enumerate(chosen, 1)
    ]
    columns = ("", "seconds", "record", *(["only in a full run"] if args.quick else []))
    title = f"\nall in {sum(one.seconds for one in outcomes):.0f} s"
    show.console().print(show.table(title, columns, summary(outcomes, args.quick)))
    skipped = [line for one in outcomes for line in one.skipped]
    if not pictures.available():
        skipped.append(f"pictures are skipped: matplotlib is absent; install it with: {pictures.INSTALL}")
    print("\n".join(dict.fromkeys(skipped)) or "nothing was skipped")
    return 1 if any(one.status for one in outcomes) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
