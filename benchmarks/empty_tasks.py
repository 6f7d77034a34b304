"""Tasks that do nothing, for what a queue itself costs: the example, and Dask and Celery to compare it with.

    python -m benchmarks.empty_tasks OPTIONS empty COUNT    a node of the example that knows them
    PYTHON benchmarks/empty_tasks.py dask COUNT              with four worker processes
    PYTHON benchmarks/empty_tasks.py celery COUNT REDIS      with four worker processes

The last two print the seconds from the first task to the last result; their Python needs nothing of ours.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

__all__ = ["WORKERS"]

WORKERS = 4
WARM_UP = 100
PATIENCE_S = 240


def nothing(number: int) -> int:
    return number


def add_kind() -> None:
    """One more kind of work in the example's table."""
    from examples.work_queue import kinds

    def numbers(counts: Sequence[str]) -> Iterator[str]:
        return map(str, range(int(counts[0])))

    kinds.KINDS["empty"] = kinds.Kind(kinds.number, numbers, lambda task: 1, kinds.add("results"))


def node() -> None:
    """The example as it is, but for that."""
    import runpy

    add_kind()
    runpy.run_module("examples.work_queue", run_name="__main__", alter_sys=True)


def dask(count: int) -> float:
    distributed: Any = import_module("distributed")
    with (
        distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.gather(client.map(nothing, range(WARM_UP), pure=False))
        began = time.perf_counter()
        client.gather(client.map(nothing, range(count), pure=False))
        return time.perf_counter() - began


def celery_app(redis: str) -> tuple[Any, Any]:
    import celery

    app = celery.Celery("empty", broker=redis, backend=redis)
    app.conf.worker_prefetch_multiplier = 200  # as many as the example has on their way to a worker
    return app, app.task(name="nothing")(nothing)


def celery(count: int, redis: str) -> float:
    from celery.result import ResultSet

    _, task = celery_app(redis)
    worker = subprocess.Popen(
        [sys.executable, "-P", __file__, "celery-worker", redis], start_new_session=True
    )
    try:
        ResultSet([task.delay(number) for number in range(WARM_UP)]).join_native(timeout=PATIENCE_S)
        began = time.perf_counter()
        ResultSet([task.delay(number) for number in range(count)]).join_native(timeout=PATIENCE_S)
        return time.perf_counter() - began
    finally:
        worker.terminate()
        worker.wait()


def celery_worker(redis: str) -> None:
    app, _ = celery_app(redis)
    app.worker_main(["worker", f"--concurrency={WORKERS}", "--loglevel=ERROR", "--without-gossip"])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["dask", count]:
            print(dask(int(count)))
        case ["celery", count, redis]:
            print(celery(int(count), redis))
        case ["celery-worker", redis]:
            celery_worker(redis)
        case _:
            node()
