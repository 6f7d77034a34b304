"""A process's standing as bytes: a map of its own inside a ping or an ack on a stream."""

from __future__ import annotations

from swim.wire.dialect import Body, pack, raw, unpack
from swim.wire.messages import Standing

__all__ = ["pack_standing", "standing"]

_SIZE_MAX = 512
_BYTES_MAX = 64
_KEYS = {"a": "address", "b": "boot", "e": "echo", "h": "heir", "i": "id", "s": "since", "t": "token"}


def standing(body: Body) -> Standing | None:
    """The one in a ping's or an ack's body, if there is one."""
    data = raw(body, b"s", _SIZE_MAX)
    if not data:
        return None
    fields = unpack(data)
    return Standing(**{name: raw(fields, key.encode(), _BYTES_MAX) for key, name in _KEYS.items()})


def pack_standing(message: Standing) -> bytes:
    fields = {key: getattr(message, name) for key, name in _KEYS.items()}
    return pack({key: value for key, value in fields.items() if value})
