"""The example `work_queue`: many small tasks handed out to four processes by one of them.

First in peace, then with SIGKILL for a worker at a quarter and for the leader at half of the tasks. A run
counts only when its report has the right result of every task exactly once. Last, tasks that do nothing: what
the queue itself costs, beside Dask's scheduler and Celery with Redis, with four workers each. (They hand out
tasks one by one, the example up to 200 at a time; none of the tasks comes from a file or goes to one.)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any

import trio

from benchmarks import empty_tasks, record
from benchmarks.peers import Absent
from benchmarks.ports import Ports
from examples.work_queue.demo import carry_out, demo
from examples.work_queue.kinds import new_job

__all__ = ["main"]

TASKS, RUNS_IN_PEACE, RUNS_WITH_DEATHS = 50_000, 5, 10
QUICK_TASKS = 15_000
EMPTY = {"swim": 200_000, "dask": 10_000, "celery": 5_000}
RUNS_EMPTY = 3
PATIENCE_S = 250


def main(argv: Sequence[str] | None = None) -> int:
    parser = record.parser("work_queue", __doc__)
    parser.add_argument("--only", choices=["peace", "deaths", "empty"], help="one of the three")
    parser.add_argument("--python", default=sys.executable, help="one that has Dask and Celery")
    args = record.parse(parser, argv)
    tasks = QUICK_TASKS if args.quick else TASKS
    results: list[dict[str, Any]] = []
    skipped: list[str] = []
    for name, runs, calm in ("peace", RUNS_IN_PEACE, True), ("deaths", RUNS_WITH_DEATHS, False):
        if args.only in (None, name):
            runs = 1 if args.quick else runs
            results.append(row(name, tasks, runs, repeated(tasks, runs, calm)))
            record.write(args, results=results)
    if args.only in (None, "empty"):
        empty(args.python, quick=args.quick, results=results, skipped=skipped)
        record.write(args, results=results, skipped=skipped)
    print(f"recorded in {args.json}")
    return 0 if all(result["right"] == result["runs"] for result in results) else 1


def repeated(tasks: int, runs: int, calm: bool) -> list[float]:
    """How long each of the runs took, up to the first that was not right."""
    seconds: list[float] = []
    with suppress(AssertionError, trio.TooSlowError):
        for _ in range(runs):
            seconds.append(trio.run(demo, tasks, calm))
    return seconds


def row(name: str, tasks: int, runs: int, seconds: list[float]) -> dict[str, Any]:
    speed = tasks / median(seconds) if seconds else None
    return {
        "name": name,
        "tasks": tasks,
        "workers": empty_tasks.WORKERS,
        "runs": runs,
        "right": len(seconds),
        "seconds": seconds,
        "tasks_per_second": speed,
    }


def empty(python: str, *, quick: bool, results: list[dict[str, Any]], skipped: list[str]) -> None:
    """A run of each in turn, so that all have the same machine."""
    found = {name: why for name in EMPTY if (why := why_not(name, python)) is not None}
    skipped += map(str, found.values())
    print(*skipped, sep="\n")
    runs, seconds = 1 if quick else RUNS_EMPTY, {name: list[float]() for name in EMPTY if name not in found}
    counts = {name: EMPTY[name] // 10 if quick else EMPTY[name] for name in seconds}
    for _ in range(runs):
        for name, count in counts.items():
            seconds[name].append(once(name, count, python))
            print(f"{count:,} empty tasks, {name}: {count / seconds[name][-1]:,.0f} a second", flush=True)
    results += [row(f"empty, {name}", counts[name], runs, taken) for name, taken in seconds.items()]


def why_not(name: str, python: str) -> Absent | None:
    """Why its tasks cannot be run."""
    if name == "swim":
        return None
    modules = {"dask": "distributed", "celery": "celery, redis"}[name]
    install = f'pip install "dask[distributed]" celery redis  # or: --python, here {python}'
    if subprocess.run([python, "-c", f"import {modules}"], capture_output=True, check=False).returncode:
        return Absent(name, f"{modules} cannot be imported", install)
    if name == "celery" and shutil.which("redis-server") is None:
        return Absent(name, "there is no redis-server", "apt-get install redis-server")
    return None


def once(name: str, count: int, python: str) -> float:
    if name == "swim":
        return trio.run(play, count)
    command = [python, "-P", empty_tasks.__file__, name, str(count)]
    if name == "dask":
        return measured(command)
    with redis() as url:
        return measured([*command, url])


def measured(command: Sequence[str]) -> float:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=True)
    return float(done.stdout.split()[-1])


@contextmanager
def redis() -> Iterator[str]:
    """A server of our own, which keeps nothing on disk."""
    ports = Ports()
    port = ports.take()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
        server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        try:
            time.sleep(1.0)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait()
            ports.close()


async def play(count: int) -> float:
    """From when the job was brought until its report was written."""
    empty_tasks.add_kind()
    with tempfile.TemporaryDirectory() as folder:
        job = new_job("empty", [str(count)], f"{folder}/report")
        seconds = await carry_out(job, True, empty_tasks.__spec__.name)
        report = await trio.Path(job.report).read_text(encoding="utf-8")
    assert len(report.splitlines()) == count, "not a result of each task"
    return seconds


if __name__ == "__main__":
    sys.exit(main())
