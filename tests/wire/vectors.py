"""The recorded bytes of real peers, and what the tests do with them."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

from swim.wire import Codec, Keyring
from swim.wire.dialect import COMPRESS, CRC, ENCRYPT, unpack
from swim.wire.framing import check_crc, strip_label
from swim.wire.lzw import decompress

Vector = dict[str, Any]

VECTORS: list[Vector] = json.loads((Path(__file__).parents[1] / "data" / "vectors.json").read_text())


def seeded_bytes(seed: int) -> Any:
    return random.Random(seed).randbytes


@cache
def codec_of(key: str | None, label: str | None) -> Codec:
    keyring = Keyring([bytes.fromhex(key)], random_bytes=seeded_bytes(1)) if key else None
    return Codec(label=label or "", keyring=keyring)


def codec_for(vector: Vector) -> Codec:
    return codec_of(vector["key"], vector["label"])


def answering(vector: Vector) -> bool:
    """Whether it is the answer on a connection."""
    return bool(vector.get("stream_role") == "response")


def opened(vector: Vector) -> bytes:
    """The bytes of a vector without label and encryption."""
    data = bytes.fromhex(vector["bytes"])
    label = (vector["label"] or "").encode()
    if not answering(vector):
        data = strip_label(data, label)
    if vector["key"] is None:
        return data
    keyring = Keyring([bytes.fromhex(vector["key"])], random_bytes=seeded_bytes(1))
    if vector["transport"] == "udp":
        return keyring.open(data, label)
    if data[0] != ENCRYPT:
        return data
    return keyring.open(data[5:], data[:5] + label)


def compressed(vector: Vector) -> tuple[bytes, bytes] | None:
    """What is compressed in a vector, and what it expands to."""
    data = opened(vector)
    if data[0] == CRC:
        data = check_crc(data)
    if data[0] != COMPRESS:
        return None
    body = unpack(data[1:])
    return body[b"Buf"], decompress(body[b"Buf"], 1 << 24)


def content(vector: Vector) -> bytes:
    """The bytes of a vector within all layers but the compound."""
    pair = compressed(vector)
    if pair is not None:
        return pair[1]
    data = opened(vector)
    return check_crc(data) if data[0] == CRC else data
