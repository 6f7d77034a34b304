"""What the nodes say to each other, and its bytes.

Known      any node -> the leader    here is a job that is not finished yet
Recall     the leader -> a worker    I lead this job: tell me all that you have made for it
Made       a worker -> the leader    these are results of mine
Ready      a worker -> the leader    you know all of them: give me tasks
Tasks      the leader -> a worker    do these
Progress   the leader -> everybody   so much is done
Finished   the leader -> everybody   the report is written: forget the job
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

FILE_NAMES = "surrogateescape"
"""How Python keeps bytes in file names that are no UTF-8."""

Result = int | str
"""What a task comes to. A task itself is a text that all workers understand: see `kinds`."""


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    kind: str
    arguments: tuple[str, ...]
    """From these the leader makes the list of tasks, and each new leader the same list again."""
    report: str
    """Where the leader writes all results in the end."""
    since: float
    """When it was submitted, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Known:
    job: Job


@dataclass(frozen=True, slots=True)
class Recall:
    token: str
    """Of the leader's term, as in everything that belongs to one term. Workers follow the highest."""
    job: Job


@dataclass(frozen=True, slots=True)
class Made:
    job: str
    """Its id. Results have no token: right is right, whoever wanted to know."""
    results: dict[str, Result]


@dataclass(frozen=True, slots=True)
class Ready:
    token: str
    job: str


@dataclass(frozen=True, slots=True)
class Tasks:
    token: str
    tasks: list[str]


@dataclass(frozen=True, slots=True)
class Progress:
    job: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Finished:
    job: str
    summary: str


Message = Known | Recall | Made | Ready | Tasks | Progress | Finished


def encode(message: Message) -> bytes:
    fields: list[object]
    match message:
        case Known(job):
            fields = [_pack(job)]
        case Recall(token, job):
            fields = [token, _pack(job)]
        case _:
            fields = [getattr(message, name) for name in message.__match_args__]
    payload: bytes = msgpack.packb([type(message).__name__, *fields], unicode_errors=FILE_NAMES)
    return payload


def decode(payload: bytes) -> Message:
    """Raises ValueError for what is no message."""
    try:
        content = msgpack.unpackb(payload, unicode_errors=FILE_NAMES)
    except Exception as error:  # msgpack raises many kinds
        raise ValueError("not msgpack") from error
    match content:
        case ["Known", list(job)]:
            return Known(_unpack(job))
        case ["Recall", str(token), list(job)]:
            return Recall(token, _unpack(job))
        case ["Made", str(job), dict(results)] if all(map(_is_text, results)):
            return Made(job, results)
        case ["Ready", str(token), str(job)]:
            return Ready(token, job)
        case ["Tasks", str(token), list(tasks)] if all(map(_is_text, tasks)):
            return Tasks(token, tasks)
        case ["Progress", str(job), int(done), int(total)]:
            return Progress(job, done, total)
        case ["Finished", str(job), str(summary)]:
            return Finished(job, summary)
    raise ValueError("no message of the work queue")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _pack(job: Job) -> list[object]:
    return [job.id, job.kind, list(job.arguments), job.report, job.since]


def _unpack(fields: list[object]) -> Job:
    match fields:
        case [str(id), str(kind), list(arguments), str(report), float(since)] if all(
            map(_is_text, arguments)
        ):
            return Job(id, kind, tuple(arguments), report, since)
    raise ValueError("not a job")
