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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import pictures, record

__all__ = ["main"]

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A command: `python -m benchmarks.NAME`, with further words for a full run and for a quick one."""

    name: str
    what: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()


ALL = (
    Benchmark("core", "what a message costs: codec, core, one node on real sockets; memory, import time"),
    Benchmark("convergence", "how fast news reaches everyone; real processes, beside memberlist"),
    Benchmark("faults", "silent hosts, pauses, lost packets; real processes, beside memberlist"),
    Benchmark("overhead", "what an idle node costs; real processes, beside memberlist"),
    Benchmark(
        "leadership",
        "fail-over, partitions, two leaders at once; real processes, beside ZooKeeper, etcd, Raft",
    ),
    Benchmark("simulated", "the same in simulation, in larger clusters, over a WAN, and with loss"),
    Benchmark(
        "leadership.simulated",
        "leaders in simulation: deaths and replacements in large clusters, random schedules of faults",
        ("--seeds", "0:2000"),
    ),
    Benchmark("messages", "messages between members, one to one and to all; slow readers, deaths, loss"),
    Benchmark("work_queue", "the example: tasks through one leader, and through two deaths"),
    Benchmark("tradeoff", "detection time against false deaths; classic phi and memberlist beside swim"),
    Benchmark(
        "detector",
        "the failure detector in simulation",
        ("--scenario", "all"),
        ("--scenario", "A", "accrual"),
    ),
)


def run(benchmark: Benchmark, quick: bool) -> tuple[int, list[str]]:
    """Its exit status, and what it skipped."""
    words = [
        "-m",
        f"benchmarks.{benchmark.name}",
        *(("--quick", *benchmark.quick) if quick else benchmark.full),
    ]
    print(f"\n== {benchmark.what}\n$ {shlex.join(['python', *words])}", flush=True)
    began, written = time.monotonic(), time.time()
    status = subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode
    print(f"({time.monotonic() - began:.0f} s)", flush=True)
    path = (record.RESULTS / "quick" if quick else record.RESULTS) / f"{benchmark.name}.json"
    if not path.exists() or path.stat().st_mtime < written - 1:
        return status, []
    return status, json.loads(path.read_text(encoding="utf-8")).get("skipped", [])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = [benchmark.name for benchmark in ALL]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these, of: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a small run of each, a few minutes in all")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.names if name not in names]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(names)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    skipped: list[str] = []
    if not pictures.available():
        skipped.append(f"pictures are skipped: matplotlib is absent; install it with: {pictures.INSTALL}")
    failed, began = [], time.monotonic()
    for benchmark in ALL:
        if not args.names or benchmark.name in args.names:
            status, left_out = run(benchmark, args.quick)
            skipped += left_out
            if status:
                failed.append(benchmark.name)
    print(f"\nall in {time.monotonic() - began:.0f} s")
    print("\n".join(dict.fromkeys(skipped)) or "nothing was skipped")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
