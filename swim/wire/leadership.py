"""Messages about leadership as bytes: a user message that begins with `LEADER_MARK`."""

from __future__ import annotations

from swim.wire.dialect import U32, USER, Body, flag, number, pack, raw
from swim.wire.messages import LeaderKind, LeaderMessage, Refusal

__all__ = ["LEADER_MARK", "SETUP_SIZE_MAX", "leader_message", "pack_leader_message"]

LEADER_MARK = 0x6C
SETUP_SIZE_MAX = 900
"""Of a configuration, so that it fits into a packet."""
_BYTES_MAX = 64
_KINDS = tuple(LeaderKind)
_REFUSALS = tuple(Refusal)


def leader_message(body: Body) -> LeaderMessage:
    return LeaderMessage(
        _KINDS[number(body, b"k", len(_KINDS) - 1)],
        number(body, b"r", U32),
        raw(body, b"b", _BYTES_MAX),
        raw(body, b"s", _BYTES_MAX),
        number(body, b"u", U32),
        raw(body, b"i", _BYTES_MAX),
        raw(body, b"t", _BYTES_MAX),
        flag(body, b"f"),
        raw(body, b"v", _BYTES_MAX),
        raw(body, b"c", SETUP_SIZE_MAX),
        number(body, b"a", U32),
        _REFUSALS[number(body, b"x", len(_REFUSALS) - 1)],
        number(body, b"q", U32),
    )


def pack_leader_message(message: LeaderMessage) -> bytes:
    fields = {
        "a": message.left_ms,
        "b": message.process,
        "c": message.setup,
        "f": message.led,
        "i": message.id,
        "k": message.kind,
        "q": message.quiet_ms,
        "r": message.round,
        "s": message.between,
        "t": message.token,
        "u": message.turn,
        "v": message.configuration,
        "x": message.reason,
    }
    return bytes((USER, LEADER_MARK)) + pack({key: value for key, value in fields.items() if value})
