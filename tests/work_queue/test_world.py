"""The work queue as it is, on real clusters, in worlds in which much goes wrong."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

import swim
from examples.work_queue.kinds import Job
from examples.work_queue.node import ROLE, Node
from swim.testing import World, for_each_seed, inflict, random_faults

WORKERS = ["w1", "w2", "w3"]
BRINGER = "w4"
NAMES = [*WORKERS, BRINGER]
PRIMES, TASKS = "4000", 200
FAULTS_S = 15.0


class SlowCluster:
    """In a world work takes no time by itself: to ask for it does here, more of it the more ask."""

    def __init__(self, cluster: swim.Cluster) -> None:
        self._cluster = cluster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    async def request(self, member: swim.Member, payload: bytes, *, topic: str) -> bytes:
        if topic.startswith("jobs/"):
            await trio.sleep(0.3 * len(self._cluster.members()))
        return await self._cluster.request(member, payload, topic=topic)


async def take_part(name: str, job: Job | None = None) -> str:
    async with swim.open_cluster(name, seeds=NAMES, tags=ROLE) as cluster:
        return await Node(cast(swim.Cluster, SlowCluster(cluster))).run(job)


def prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, number))


PRIMES_BELOW = sum(map(prime, range(int(PRIMES))))


@pytest.mark.long
def test_every_result_is_in_the_report_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for_each_seed(lambda world: scenario(world, tmp_path, monkeypatch), 2)


def scenario(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.work_queue.ledger.time", SimpleNamespace(time=lambda: world.now))
    report = folder / f"{world.seed}.jsonl"
    for name in WORKERS:
        world.start(name, take_part, name)
    world.run(3)
    world.start(BRINGER, take_part, BRINGER, Job("primes-1", "primes", (PRIMES,), str(report), world.now))
    inflict(world, random_faults(world.random("faults"), NAMES, FAULTS_S, 6))
    world.run(FAULTS_S + 15)
    done = world.run_until(lambda: not world.running(BRINGER), limit=120)
    assert done is not None, f"the job is not finished\n{world.describe()}\n{world.report()}"
    for name in NAMES:
        assert world.error(name) is None, world.error(name)
    assert world.result(BRINGER).startswith(f"{PRIMES_BELOW} primes; {TASKS} tasks")
    results = [json.loads(line) for line in report.read_text().splitlines()]
    assert len(results) == TASKS
    assert set(Counter(each["task"] for each in results).values()) == {1}
    assert sum(each["result"] for each in results) == PRIMES_BELOW
