"""The work queue as users run it: processes, a job, and deaths in the middle of it."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio

from benchmarks.ports import Ports
from examples.work_queue.kinds import PRIMES_STEP
from tests.test_house import run_python
from tests.work_queue.nodes import SECONDS_MAX, NodeGroup


@pytest.fixture(autouse=True)
def in_this_checkout(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    monkeypatch.chdir(pytestconfig.rootpath)


def test_demo() -> None:
    done = run_python("-m", "examples.work_queue", "--demo", "--tasks", "50000", seconds=SECONDS_MAX)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    told = [line.rpartition("s  ")[2] for line in done.stdout.splitlines()]
    assert told[1:4] == ["SIGKILL for w2, a worker", "SIGKILL for w1, which leads and owns it", "w5 has come"]
    assert re.match(r"78,498 primes; 50,000 tasks in .* s, .* tasks/s; w\d ", told[4])
    assert told[5] == "the report has 50,000 results, each exactly once, and all are right"


def test_an_interrupted_demo_leaves_no_processes() -> None:
    command = [sys.executable, "-m", "examples.work_queue", "--demo"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert demo.stdout is not None
    while b"w1 leads" not in demo.stdout.readline():
        assert demo.poll() is None
    demo.terminate()
    _, errors = demo.communicate(timeout=SECONDS_MAX)
    assert (demo.returncode, errors) == (1, b"interrupted; all processes are stopped\n")
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)


def test_words_on_one_node(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.txt").write_text("to be or not to be\n" * number)
    report = tmp_path / "report.jsonl"
    done = run_python(
        *("-m", "examples.work_queue", "--name", "alone", "--report", str(report), "words", str(folder))
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(
        r"^words-\w+: 2,610 words; 30 tasks in .* s, .* tasks/s; alone 30$", done.stdout, re.MULTILINE
    )
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert {Path(line["task"]).stem: line["result"] for line in lines} == {str(n): 6 * n for n in range(30)}


def check(report: Path, tasks: int) -> None:
    """Every task once, in their order, with its result."""
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    starts = range(0, tasks * PRIMES_STEP, PRIMES_STEP)
    assert [line["task"] for line in lines] == [f"{start}-{start + PRIMES_STEP}" for start in starts]
    for line, start in zip(lines, starts, strict=True):
        assert line["result"] == sum(map(is_prime, range(start, start + PRIMES_STEP)))


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


async def test_a_node_that_brought_the_job_may_die(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    async with trio.open_nursery() as nursery:
        group = NodeGroup(nursery)
        one = await group.start("w1")
        join = ("--join", one.address)
        two = await group.start("w2", *join)
        three = await group.start("w3", *join, "--report", str(report), "primes", "200000")
        await group.until("it has begun", lambda: two.find(r"primes-\w+: [1-9]\d* of 10000") is not None)
        three.process.kill()
        await group.until("it is finished", lambda: two.find(r"primes-\w+: 17,984 primes; .*") is not None)
        check(report, 10_000)
        nursery.cancel_scope.cancel()


async def test_the_leader_may_bring_a_job_and_leave_after_it(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    with trio.fail_after(SECONDS_MAX), closing(Ports()) as ports:
        async with trio.open_nursery() as nursery:
            group = NodeGroup(nursery)
            place = f"127.0.0.1:{ports.take()}"
            two = await group.launch("w2", "--join", place)  # waits for the first
            one = await group.start("w1", "--bind", place, "--report", str(report), "primes", "400000")
            assert await one.process.wait() == 0
            await group.until("w2 leads", lambda: two.find(r"w2: the leader is w2 .*") is not None)
            assert two.find(r"primes-\w+: 33,860 primes; .*") is not None
            check(report, 20_000)
            report.unlink()
            again = await group.start("w3", "--join", two.address, "--report", str(report), "primes", "20")
            assert await again.process.wait() == 0
            assert again.find(r"primes-\w+: 8 primes; 1 tasks .*; w[23] 1") is not None
            check(report, 1)
            nursery.cancel_scope.cancel()


async def test_a_signal_lets_a_node_leave() -> None:
    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            group = NodeGroup(nursery)
            one = await group.start("w1")
            for name, number in ("w2", signal.SIGINT), ("w3", signal.SIGTERM):
                node = await group.start(name, "--join", one.address)
                node.process.send_signal(number)
                assert await node.process.wait() == 0
                await group.until(
                    "it has left", lambda gone=rf"w1: {name} .* left": one.find(gone) is not None
                )
            nursery.cancel_scope.cancel()


async def test_a_signal_ends_the_search_for_a_cluster() -> None:
    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            group = NodeGroup(nursery)
            node = await group.launch("w1", "--join", "127.0.0.1:1")
            await group.until("it looks", lambda: node.find(".* no way in .*") is not None)
            node.process.send_signal(signal.SIGINT)
            assert await node.process.wait() == 0


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    report = tmp_path / "gone" / "report.jsonl"
    done = run_python("-m", "examples.work_queue", "--report", str(report), "primes", "100")
    assert done.returncode == 1
    assert "failed: [Errno 2] No such file or directory" in done.stdout
    assert done.stderr == "the job could not be done\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["words"], "words of what?"),
        (["words", "/no/such/file"], "No such file"),
        (["words", *["."] * 20_000], "name a directory"),
        (["primes", "many"], "invalid literal"),
        (["--bind", "127.0.0.1:many"], "port"),
        (["--bind", "192.0.2.1:0"], "not an address of this machine"),
        (["--join", "nowhere.invalid:1"], "none of the seeds resolves"),
    ],
)
def test_mistakes(arguments: list[str], problem: str) -> None:
    done = run_python("-m", "examples.work_queue", *arguments)
    assert done.returncode != 0
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
