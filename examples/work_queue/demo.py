"""Four workers on this machine, one job, two deaths: is every result in the report, exactly once?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, replace
from functools import partial

import trio

import swim
from examples.work_queue.kinds import PRIMES_STEP, Job, new_job
from examples.work_queue.node import pack, unpack

SECONDS_MAX = 120
WORKER_DIES, OWNER_DIES = 1 / 4, 1 / 2  # when so much is done


async def demo(tasks: int, calm: bool) -> float:
    """How many seconds the job took."""
    end = tasks * PRIMES_STEP
    with tempfile.TemporaryDirectory() as folder:
        job = new_job("primes", [str(end)], f"{folder}/report.jsonl")
        seconds = await carry_out(job, calm)
        report = await trio.Path(job.report).read_text(encoding="utf-8")
    sieve = bytearray([0, 0]) + bytearray([1]) * (end - 2)
    for divisor in range(2, int(end**0.5) + 1):
        sieve[divisor * divisor :: divisor] = bytes(len(range(divisor * divisor, end, divisor)))
    parts = [slice(start, start + PRIMES_STEP) for start in range(0, end, PRIMES_STEP)]
    right = [{"task": f"{part.start}-{part.stop}", "result": sum(sieve[part])} for part in parts]
    assert list(map(json.loads, report.splitlines())) == right, "the report is not right"
    print(f"the report has {tasks:,} results, each exactly once, and all are right")
    return seconds


async def carry_out(job: Job, calm: bool, module: str = "examples.work_queue") -> float:
    """How many seconds it took four workers, each a process that runs this module."""
    begun, alive = trio.current_time(), dict[str, trio.Process]()

    def say(text: str) -> None:
        print(f"{trio.current_time() - begun:6.2f} s  {text}", flush=True)

    def kill(name: str, what: str) -> None:
        alive.pop(name).kill()
        say(f"SIGKILL for {name}, {what}")

    async def start(name: str) -> None:
        command = [sys.executable, "-m", module, "--name", name, "--join", str(cluster.address)]
        run = partial(trio.run_process, command, stdout=subprocess.DEVNULL, check=False)
        alive[name] = await nursery.start(run)
        await cluster.wait_for(lambda cluster: cluster.member(name) is not None)

    with trio.fail_after(SECONDS_MAX):
        async with (
            trio.open_nursery() as nursery,
            swim.open_cluster("demo", bind="127.0.0.1:0", electable=False) as cluster,
            cluster.messages(job.name) as news,
        ):
            for name in ("w1", "w2", "w3", "w4"):
                await start(name)
            since = trio.current_time()
            await cluster.request("w1", pack(astuple(replace(job, since=time.time())), 0), topic="job")
            say("w1 leads, and owns a job that all four work on")
            async for message in news:
                assert isinstance(message, swim.Broadcast)
                done, total, summary = unpack(message.payload)
                if summary:
                    break
                if not calm and "w2" in alive and done >= WORKER_DIES * total:
                    kill("w2", "a worker")
                elif not calm and "w1" in alive and done >= OWNER_DIES * total:
                    kill("w1", "which leads and owns it")
                    await start("w5")
                    say("w5 has come")
            seconds = trio.current_time() - since
            say(summary)
            nursery.cancel_scope.cancel()  # ends the processes: they leave on SIGTERM
    return seconds
