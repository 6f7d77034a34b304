"""What members of the chat send to each other, and how it is written: a msgpack list, its kind first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack

from examples.chat_cluster.lines import Epoch, Line, Log

__all__ = [
    "Ack",
    "Append",
    "Collect",
    "Copy",
    "Fetch",
    "Message",
    "Report",
    "Say",
    "Stale",
    "Whisper",
    "decode",
    "encode",
]


class Collect(NamedTuple):
    """A new leader: obey me, and what do you have?"""

    epoch: Epoch


class Report(NamedTuple):
    """To the new leader: a log of that epoch, up to this number."""

    epoch: Epoch
    log_epoch: Epoch
    end: int


class Fetch(NamedTuple):
    """The new leader, to who has the most recent log: give it to me."""

    epoch: Epoch


class Copy(NamedTuple):
    """A log: to the leader as it was asked for, or from the leader for good."""

    epoch: Epoch
    log_epoch: Epoch
    base: int
    heard_before: dict[str, int]
    lines: tuple[Line, ...]
    accepted: int

    @classmethod
    def of(cls, epoch: Epoch, log: Log, accepted: int) -> Copy:
        """The recent part of this log."""
        recent = log.recent()
        lines = tuple(recent.after(recent.base))
        return cls(epoch, recent.epoch, recent.base, recent.heard_before, lines, accepted)

    def log(self) -> Log:
        return Log(self.log_epoch, self.base, self.heard_before, self.lines)

    @property
    def end(self) -> int:
        return self.base + len(self.lines)


class Append(NamedTuple):
    """The leader: these lines come after number `start`; all up to `accepted` may be shown."""

    epoch: Epoch
    start: int
    lines: tuple[Line, ...]
    accepted: int


class Ack(NamedTuple):
    """To the leader: my log goes up to `end`, and I have shown all up to `shown`."""

    epoch: Epoch
    end: int
    shown: int


class Say(NamedTuple):
    """To the leader: please number these lines."""

    epoch: Epoch
    lines: tuple[Line, ...]


class Stale(NamedTuple):
    """To one who leads no more: this epoch has begun."""

    epoch: Epoch


class Whisper(NamedTuple):
    """For one member only; not part of the transcript."""

    text: str


Message = Collect | Report | Fetch | Copy | Append | Ack | Say | Stale
"""What the transcript is made with."""


def _epoch(value: Any) -> Epoch:
    number, leader = value
    return Epoch(_number(number), _text(leader))


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"not a number: {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"not a text: {value!r}")
    return value


def _line(value: Any) -> Line:
    author, n, text, aside = value
    return Line(_text(author), _number(n), _text(text), bool(aside))


def _lines(value: Any) -> tuple[Line, ...]:
    return tuple(map(_line, value))


def _heard(value: Any) -> dict[str, int]:
    return {_text(author): _number(n) for author, n in value.items()}


_FORMS: dict[str, tuple[Callable[..., Message | Whisper], tuple[Callable[[Any], Any], ...]]] = {
    "collect": (Collect, (_epoch,)),
    "report": (Report, (_epoch, _epoch, _number)),
    "fetch": (Fetch, (_epoch,)),
    "copy": (Copy, (_epoch, _epoch, _number, _heard, _lines, _number)),
    "append": (Append, (_epoch, _number, _lines, _number)),
    "ack": (Ack, (_epoch, _number, _number)),
    "say": (Say, (_epoch, _lines)),
    "stale": (Stale, (_epoch,)),
    "whisper": (Whisper, (_text,)),
}


def encode(message: Message | Whisper) -> bytes:
    """As bytes."""
    data: bytes = msgpack.packb([type(message).__name__.lower(), *message])
    return data


def decode(data: bytes) -> Message | Whisper:
    """What `encode` was given; ValueError if these bytes are no message."""
    try:
        kind, *values = msgpack.unpackb(data)
        make, forms = _FORMS[kind]
        return make(*(form(value) for form, value in zip(forms, values, strict=True)))
    except Exception as error:  # msgpack raises many kinds, and wrong shapes raise more
        raise ValueError("not a message of the chat") from error
