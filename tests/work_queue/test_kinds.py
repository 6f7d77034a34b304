"""The kinds of work, and the report."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from examples.work_queue.kinds import KINDS, Job, Result, list_tasks, work_on, write_report
from examples.work_queue.node import pack, unpack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts" / "more").mkdir(parents=True)
    (tmp_path / "texts" / "b.txt").write_text("to be or not to be\n")
    (tmp_path / "texts" / "a.txt").write_text("  once\n\n  upon a time")
    (tmp_path / "texts" / "more" / "c.txt").write_bytes(b"\xff \xfe")
    return tmp_path / "texts"


def job(kind: str, *arguments: str, report: Path = Path("report")) -> Job:
    return Job("job", kind, tuple(map(KINDS[kind].argument, arguments)), str(report), 0.0)


def work(kind: str, tasks: list[str]) -> dict[str, Result]:
    return {task: work_on(kind, task) for task in tasks}


def test_words(folder: Path) -> None:
    tasks = list_tasks(job("words", str(folder), str(folder / "a.txt")))
    assert tasks == [str(folder / name) for name in ("a.txt", "b.txt", "more/c.txt", "a.txt")]
    results = work("words", tasks)
    assert list(results.values()) == [4, 6, 2]
    assert KINDS["words"].total(list(results.values())) == "12 words"


def test_hash(folder: Path) -> None:
    (task,) = list_tasks(job("hash", str(folder / "a.txt")))
    assert work("hash", [task]) == {task: hashlib.sha256(Path(task).read_bytes()).hexdigest()}


def test_primes() -> None:
    tasks = list_tasks(job("primes", "1_010"))
    assert (tasks[0], tasks[-1], len(tasks)) == ("0-20", "1000-1010", 51)
    assert KINDS["primes"].total(list(work("primes", tasks).values())) == "169 primes"


def test_what_cannot_be_read_is_a_result_too(folder: Path) -> None:
    gone = str(folder / "gone")
    assert work("hash", [gone])[gone] == "failed: FileNotFoundError(2, 'No such file or directory')"
    with pytest.raises(FileNotFoundError):
        job("words", gone)


def test_only_files(folder: Path) -> None:
    os.mkfifo(folder / "a-pipe")
    (folder / "a-link").symlink_to(folder / "gone")
    odd = os.fsdecode(os.fsencode(folder) + b"/\xff")
    Path(odd).write_text("odd")
    tasks = list_tasks(job("words", str(folder)))
    assert [os.path.basename(task) for task in tasks] == ["a.txt", "b.txt", os.path.basename(odd), "c.txt"]
    assert unpack(pack("job", tasks)) == ["job", tasks]


def test_the_report_is_written_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    path.write_text("from the leader before")
    results: dict[str, Result] = {"0-20": 8, "20-40": 4}
    assert write_report(job("primes", "40", report=path), "token", results) == "12 primes"
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"task": "0-20", "result": 8},
        {"task": "20-40", "result": 4},
    ]
    assert list(tmp_path.iterdir()) == [path]
