"""The examples run as they stand and show what they promise."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.test_house import run_python

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SECONDS_MAX = 240
"""An example takes some seconds on a machine that has nothing else to do."""
LINES_MAX = 60
SERVICES = {"dask_cluster.py": 120, "web_service.py": 120}
"""Run as several processes, each with a test module of its own; and how long they may be."""


def run(name: str) -> subprocess.CompletedProcess[str]:
    done = run_python(str(ROOT / "examples" / name), seconds=SECONDS_MAX)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done


def in_order(lines: list[str], *wanted: str) -> None:
    """These lines were printed, one after the other; others may come between."""
    left = iter(lines)
    for line in wanted:
        assert line in left, f"{line!r} is missing, or too late, in:\n" + "\n".join(lines)


def test_hello() -> None:
    lines = run("hello.py").stdout.splitlines()
    in_order(lines, "ann: I am a member of (ann), led by ann", "ann: bob joined", "ann: cid joined")
    for survivor in ("bob", "cid"):
        deaths = [line for line in lines if line.startswith(f"{survivor}: ann is dead (")]
        assert len(deaths) == 1
        in_order(lines, deaths[0], f"{survivor}: bob leads", f"{survivor}: ann joined")
    in_order(lines, "-- the queue: bob, cid, ann", "ann: cid left", "ann: bob left")


def test_registry() -> None:
    lines = run("registry.py").stdout.splitlines()
    in_order(
        lines,
        "databases in service: db-1",
        "databases in service: db-1, db-2",
        "databases in service: db-2",
        "databases in service: none",
    )
    assert lines.count("db-2 has died: what it was doing has to be done again") == 1
    assert "db-1 has died: what it was doing has to be done again" not in lines


def test_locks() -> None:
    lines = run("locks.py").stdout.splitlines()
    charged = [line.rpartition(" ")[2] for line in lines if " charges " in line]
    assert sorted(charged) == [f"invoice/{number}" for number in range(5)]
    assert sorted(line for line in lines if line.startswith("job")) == [f"job {i} runs" for i in range(6)]
    assert lines[-1] == "5 invoices, each charged once"


def test_shards() -> None:
    lines = [line.partition(": ") for line in run("shards.py").stdout.splitlines()]
    spread = {what: sorted(ast.literal_eval(counts).values()) for what, _, counts in lines}
    assert spread == {
        "three nodes": [21, 21, 22],
        "dan has come": [16, 16, 16, 16],
        "bob has left": [21, 21, 22],
        "ann has died": [32, 32],
    }


def test_cron() -> None:
    lines = run("cron.py").stdout.splitlines()
    shared, death = (lines.index(line) for line in lines if line.startswith("--"))
    runs = [re.fullmatch(r"(\d\d:\d\d)  cron/([\w-]+) on (\w+)", line) for line in lines]
    both, after = list(filter(None, runs[shared:death])), list(filter(None, runs[death:]))
    assert {found[3] for found in both} == {"ann", "bob"}
    assert {found[3] for found in after} == {"bob"}
    assert len({found[1] for found in after}) >= 3
    minutes: dict[str, list[str]] = {}
    for found in filter(None, runs):
        minutes.setdefault(found[2], []).append(found[1])
    for job in minutes.values():
        assert len(job) == len(set(job)), "no minute was run twice"


def test_fencing() -> None:
    lines = run("fencing.py").stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("too late: ann's second entry (token ..")
    assert lines[1:] == ["ann's first entry", "bob's entry"]


def test_testing() -> None:
    *told, last = run("testing.py").stdout.splitlines()
    assert last == "every shard was served, by one node at a time"
    assert re.fullmatch(r"seed 0, +20 s: all have started: .*", told[0])
    assert re.fullmatch(
        r"seed 0, +40 s: ann is cut off: shards served by \{'(bob|cat)': 6, '(bob|cat)': 6\}", told[1]
    )
    assert [line.split(",")[0] for line in told] == [f"seed {seed}" for seed in range(3) for _ in range(3)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_short_tutorials(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= SERVICES.get(path.name, LINES_MAX)
    assert ast.get_docstring(ast.parse(source)), "an example begins with what it shows"


def test_every_example_is_run() -> None:
    assert [path.name for path in EXAMPLES if path.name not in SERVICES] == [
        "cron.py",
        "fencing.py",
        "hello.py",
        "locks.py",
        "registry.py",
        "shards.py",
        "testing.py",
    ], "write a test for the new one"
    assert all((ROOT / f"tests/test_{name}").exists() for name in SERVICES)
