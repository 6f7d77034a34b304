"""Dask on machines that die, as it is run: processes, many tasks, and the death of two leaders meanwhile."""

from __future__ import annotations

import os
import sys
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from subprocess import PIPE

import pytest
import trio

import swim
from benchmarks.ports import Ports
from tests.house import ROOT

pytest.importorskip("distributed", reason="needs the extra examples")

SECONDS_MAX, POLL = 400, 0.05
TASKS = int(os.environ.get("DASK_TASKS", "2000"))
"""10,000 take 23 s on two idle cores, which is more than each run of the tests needs."""
PROGRAM = str(ROOT / "examples/dask_cluster.py")


class Output:
    """What a program has printed so far."""

    def __init__(self) -> None:
        self.text = b""

    async def read(self, process: trio.Process) -> None:
        async for chunk in process.stdout:
            self.text += chunk

    async def has(self, lines: int) -> None:
        while self.text.count(b"\n") < lines:  # noqa: ASYNC110
            await trio.sleep(POLL)


def children() -> list[Path]:
    """Schedulers and workers that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().split(b"\0")[1:3] == [PROGRAM.encode(), b"--child"]:
                found.append(path)
    return found


@pytest.mark.long
async def test_every_result_is_there_once_though_two_leaders_are_killed_and_their_processes_end() -> None:
    machines: dict[str, trio.Process] = {}
    output = Output()
    with trio.fail_after(SECONDS_MAX), closing(Ports()) as ports:
        first = f"127.0.0.1:{ports.take()}"
        options = {
            "a": ["--bind", first],
            "b": ["--join", first],
            "c": ["--join", first, "--squares", str(TASKS)],
        }
        async with trio.open_nursery() as nursery:
            for name, more in options.items():
                command = [sys.executable, PROGRAM, name, *more]
                run = partial(trio.run_process, command, stdout=PIPE, check=False)
                machines[name] = await nursery.start(run)
                if name == "a":
                    cluster = await nursery.start(watch, first)
                await cluster.wait_for(lambda cluster, name=name: cluster.member(name) is not None)
            nursery.start_soon(output.read, machines["c"])
            for number, name in enumerate(("a", "b"), 1):
                await output.has(number * TASKS // 3)
                assert cluster.leader.name == name
                machines[name].kill()
            assert await machines["c"].wait() == 0
            while children():  # noqa: ASYNC110
                await trio.sleep(POLL)
            nursery.cancel_scope.cancel()
    found = sorted(tuple(map(int, line.split())) for line in output.text.splitlines())
    assert found == [(number, number * number) for number in range(TASKS)]


async def watch(seed: str, *, task_status: trio.TaskStatus[swim.Cluster]) -> None:
    async with swim.open_cluster("test", bind="127.0.0.1:0", seeds=[seed], electable=False) as cluster:
        task_status.started(cluster)
        await trio.sleep_forever()
