"""What people are shown of a message; the recorded vectors hold the form against foreign messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from swim.cli.describe import describe, describe_record
from swim.wire import Codec, DecodeError
from swim.wire.messages import (
    Ack,
    Alive,
    LeaderKind,
    LeaderMessage,
    Message,
    NodeState,
    ObserverKind,
    ObserverMessage,
    Ping,
    PushPull,
    PushPullHead,
    Refusal,
    UserMessage,
    WireState,
)
from swim.wire.serf import SerfType, encode_message

CODEC = Codec()


def body(message: Message, **options: Any) -> Any:
    described = describe(CODEC.packet([CODEC.part(message)]), transport="udp", **options)
    json.dumps(described)
    return described["messages"][0]["body"]


def test_our_own_fields_are_shown_where_they_are_used() -> None:
    ping = Ping(7, "a", sender_id=b"\x01", view=b"\x02")
    assert body(ping) == {"Node": "a", "SeqNo": 7, "i": {"$hex": "01"}, "v": {"$hex": "02"}}
    ack = Ack(7, sender_id=b"\x01", boot=b"\x03", wait_ms=250, bare=True)
    assert body(ack) == {"SeqNo": 7, "b": {"$hex": "03"}, "i": {"$hex": "01"}, "w": 250}
    assert body(Alive("a", 1, bytes(4), 1, b"", bytes(6)))["Meta"] is None


def test_messages_of_observers_are_spelled_out() -> None:
    message = ObserverMessage(ObserverKind.POLL, "a", 3, round=9)
    assert body(message) == {"user": {"swim": {"k": "poll", "n": "a", "c": 3, "r": 9}}}


def test_claims_are_spelled_out() -> None:
    ask = LeaderMessage(LeaderKind.ASK, 7, b"\x01", b"\x02", 9, b"\x03", b"\x04", True, b"\x05", b"\x06")
    values = ("b", "01"), ("s", "02"), ("i", "03"), ("t", "04"), ("v", "05"), ("c", "06")
    shown = {name: {"$hex": value} for name, value in values}
    assert body(ask) == {"user": {"swim": {"k": "ask", "r": 7, "u": 9, "f": True, **shown}}}
    refusal = LeaderMessage(LeaderKind.REFUSE, 7, left_ms=250, reason=Refusal.GRANTED)
    assert body(refusal) == {"user": {"swim": {"k": "refuse", "r": 7, "a": 250, "x": "granted"}}}


def test_the_head_of_a_push_pull_is_spelled_out() -> None:
    head = PushPullHead("me", b"\x01", 7946, 123, True, b"\x02")
    described = describe(CODEC.stream(PushPull((), head=head)), transport="tcp", stream_role="request")
    shown = {"b": {"$hex": "01"}, "c": 123, "f": {"$hex": "02"}, "j": True, "n": "me", "p": 7946}
    assert described["messages"][0]["body"]["swim"] == shown


def test_how_long_an_entry_has_been_gone() -> None:
    node = NodeState("a", 1, bytes(4), 7946, b"", WireState.DEAD, bytes(6), 90)
    described = describe(CODEC.stream(PushPull((node,))), transport="tcp", stream_role="request")
    assert described["messages"][0]["body"]["Nodes"][0]["a"] == 90


def test_a_relayed_message_is_shown_in_hex() -> None:
    header = {"DestAddr": {"IP": bytes(4), "Port": 1, "Zone": ""}, "DestName": "b"}
    shown = body(UserMessage(encode_message(SerfType.RELAY, header) + b"\x01"))["user"]
    assert (shown["serf_name"], shown["relayed"]) == ("relay", {"$hex": "01"})
    assert shown["body"]["DestAddr"]["IP"] == {"$hex": "00000000"}


def test_serf_may_be_left_alone() -> None:
    payload = encode_message(SerfType.JOIN, {"LTime": 1, "Node": "a"})
    assert body(UserMessage(payload), serf=False) == {"user": {"$hex": payload.hex()}}


def test_what_was_dropped_is_told() -> None:
    data = CODEC.packet([CODEC.part(Ping(1)), b"\x63"])
    assert describe(data, transport="udp")["dropped"] == ["type"]


def test_a_stream_cut_short() -> None:
    with pytest.raises(DecodeError, match="the stream ends within a message"):
        describe(CODEC.stream(UserMessage(b"abc"))[:-1], transport="tcp")


def test_a_record_needs_only_bytes_and_transport() -> None:
    described = describe_record({"bytes": "0b81a55365714e6f07", "transport": "udp"})
    assert described == {"layers": [], "messages": [{"type": 11, "name": "nackResp", "body": {"SeqNo": 7}}]}
    with pytest.raises(ValueError, match="udp or tcp"):
        describe_record({"bytes": "0b", "transport": "quic"})
