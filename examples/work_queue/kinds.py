"""The kinds of work there are. To add your own, write four functions and enter them in `KINDS`.

A task is a text, and working on it twice does no harm. Every node lists, opens and reads the same files: have
them, and the report, on a file system that all nodes share.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Result = int | str
PRIMES_STEP = 20


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    kind: str
    arguments: Sequence[str]
    """From these an owner makes the list of tasks, and each later one the same list again."""
    report: str
    since: float  # when it was brought, in seconds since the epoch

    @property
    def name(self) -> str:  # of its lease, and of what is said about it
        return f"jobs/{self.id}"


def new_job(kind: str, what: Iterable[str], report: str) -> Job:
    """Raises ValueError or OSError, saying why it cannot be done."""
    arguments = list(map(KINDS[kind].argument, what))
    return Job(f"{kind}-{secrets.token_hex(4)}", kind, arguments, os.path.abspath(report), time.time())


@dataclass(frozen=True, slots=True)
class Kind:
    argument: Callable[[str], str]
    """What the user typed, as all nodes understand it. Raises ValueError or OSError, saying why not."""
    tasks: Callable[[Sequence[str]], Iterable[str]]
    """From the arguments, the same at every time and place."""
    work: Callable[[str], Result]
    """In a thread. What it raises becomes the result."""
    total: Callable[[Sequence[Result]], str]
    """All results, in the order of the tasks, in a few words."""


def list_tasks(job: Job) -> list[str]:
    return list(KINDS[job.kind].tasks(job.arguments))


def work_on(kind: str, task: str) -> Result:
    try:
        return KINDS[kind].work(task)
    except Exception as error:
        return f"failed: {error!r}"


def write_report(job: Job, token: str, results: Mapping[str, Result]) -> str:
    """One JSON object a line, at once or not at all. Returns the total."""
    unfinished = Path(f"{job.report}.{token}")  # another owner has another token
    with unfinished.open("w", encoding="utf-8") as file:
        for task, result in results.items():
            file.write(json.dumps({"task": task, "result": result}) + "\n")
    unfinished.replace(job.report)
    return KINDS[job.kind].total(list(results.values()))


def existing(path: str) -> str:
    return str(Path(path).resolve(strict=True))


def files(paths: Sequence[str]) -> Iterator[str]:
    """These files, and all in these directories; but no devices, pipes and the like."""
    for path in paths:
        if os.path.isfile(path):
            yield path
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from filter(os.path.isfile, (os.path.join(folder, name) for name in sorted(names)))


def count_words(path: str) -> int:
    with open(path, "rb") as file:
        return sum(len(line.split()) for line in file)


def hash_file(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_all(results: Sequence[Result]) -> str:
    return f"sha256 of all: {hashlib.sha256(json.dumps(results).encode()).hexdigest()}"


def number(text: str) -> str:
    return str(int(text))


def ranges(ends: Sequence[str]) -> Iterator[str]:
    end = max(map(int, ends))
    for start in range(0, end, PRIMES_STEP):
        yield f"{start}-{min(start + PRIMES_STEP, end)}"


def count_primes(numbers: str) -> int:
    start, end = map(int, numbers.split("-"))
    return sum(all(n % d for d in range(2, math.isqrt(n) + 1)) for n in range(max(start, 2), end))


def add(what: str) -> Callable[[Sequence[Result]], str]:
    return lambda results: f"{sum(result for result in results if isinstance(result, int)):,} {what}"


KINDS = {
    "words": Kind(existing, files, count_words, add("words")),
    "hash": Kind(existing, files, hash_file, hash_all),
    "primes": Kind(number, ranges, count_primes, add("primes")),
}
