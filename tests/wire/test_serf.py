"""Serf's tags and messages."""

from __future__ import annotations

from collections.abc import Iterator

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swim.wire.serf import (
    SerfType,
    decode_message,
    decode_tags,
    encode_message,
    encode_tags,
    read_exchange,
)

EVENT = {"CC": False, "LTime": 3, "Name": "deploy", "Payload": b"now"}


def test_tags_are_serfs() -> None:
    assert encode_tags({"v": "2", "role": "py"}) == bytes.fromhex("ff82a4726f6c65a27079a176a132")


@given(st.dictionaries(st.text(max_size=40), st.text(max_size=40)))
def test_tags_round_trip(tags: dict[str, str]) -> None:
    assert decode_tags(encode_tags(tags)) == tags


@pytest.mark.parametrize(
    "meta", [b"", b"web", b"\xff", b"\xff\x01", b"\xff\x81\xa1", b"\xff\x91\x01", b"\xff\x81\x90\x90"]
)
def test_other_meta_data_has_no_tags(meta: bytes) -> None:
    assert decode_tags(meta) == {}


def test_odd_tags_do_not_hide_the_others() -> None:
    meta = b"\xff" + msgpack.packb({"a": "b", "n": 1, 2: "x", "u": b"\xc3"}, use_bin_type=False)
    assert decode_tags(meta) == {"a": "b", "u": "\N{REPLACEMENT CHARACTER}"}


def test_a_message_round_trips_with_fields_that_we_do_not_know() -> None:
    body = {**EVENT, "_o": b"\xff", "_n": [1, {"a": 2.5}, None]}
    message = decode_message(encode_message(SerfType.USER_EVENT, body))
    assert message is not None
    assert (message.type, message.body, message.relayed) == (SerfType.USER_EVENT, body, b"")


def test_a_relayed_message_stays_as_it_is() -> None:
    inner = encode_message(SerfType.JOIN, {"LTime": 1, "Node": "a"})
    body = {"DestAddr": {"IP": bytes(4), "Port": 7946, "Zone": ""}, "DestName": "b"}
    message = decode_message(encode_message(SerfType.RELAY, body) + inner)
    assert message is not None
    assert (message.body, message.relayed) == (body, inner)
    assert decode_message(encode_message(SerfType.RELAY, body)) is None  # a relay of nothing


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x03",
        b"hello",
        b"\x03hello",
        b"\x63\x80",
        encode_message(SerfType.USER_EVENT, EVENT) + b"x",
        encode_message(SerfType.USER_EVENT, EVENT | {"CC": 1}),
        encode_message(SerfType.USER_EVENT, EVENT | {"LTime": -1}),
        encode_message(SerfType.USER_EVENT, EVENT | {"Name": b"\xff"}),
        encode_message(SerfType.USER_EVENT, EVENT | {"Payload": 7}),
        encode_message(SerfType.USER_EVENT, {"CC": False}),
        encode_message(SerfType.KEY_REQUEST, {"Key": b"k"}),
        b"\x01\x83\xa5LTime\x01\xa4Node\xa1a\x05\x01",
        b"\x01\x83\xa5LTime\x01\xa4Node\xa1a\xa1x" + b"\x91" * 400 + b"\x90",
    ],
)
def test_other_payloads_are_not_taken_for_serfs(payload: bytes) -> None:
    assert decode_message(payload) is None


@pytest.mark.parametrize("key", [b"\x90", b"\x80", b"\xc0", b"\x01"])
def test_keys_of_an_exchange_that_are_no_text_are_passed_over(key: bytes) -> None:
    """Those of two maps; an empty list can be no key in Python."""
    events = b"\x91\x83\xa5LTime\x01\xa6Events\x90" + key + b"\x01"
    fields = b"\xaaEventLTime\x07\xa6Events" + events + b"\xa5LTime\x08\xabLeftMembers\x90"
    fields += b"\xaaQueryLTime\x01\xacStatusLTimes\x80" + key + b"\x01"

    def reading() -> Iterator[bool]:
        exchange = yield from read_exchange(bytes((SerfType.PUSH_PULL, 0x87)) + fields)
        assert (exchange.event_time, exchange.status_time) == (7, 8)

    list(reading())
