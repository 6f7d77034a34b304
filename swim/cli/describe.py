"""Packets and streams as JSON values, for people: the form of the recorded vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from swim.wire.codec import Codec
from swim.wire.errors import DecodeError
from swim.wire.keyring import Keyring
from swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorMessage,
    LeaderMessage,
    Message,
    Nack,
    NodeState,
    ObserverMessage,
    Ping,
    PingReq,
    PushPull,
    StreamMessage,
    Suspect,
    UserMessage,
)
from swim.wire.serf import SerfType, decode_message

__all__ = ["describe", "describe_record"]

_SERF_NAMES = {
    SerfType.LEAVE: "leave",
    SerfType.JOIN: "join",
    SerfType.PUSH_PULL: "pushPull",
    SerfType.USER_EVENT: "userEvent",
    SerfType.QUERY: "query",
    SerfType.QUERY_RESPONSE: "queryResponse",
    SerfType.RELAY: "relay",
}


def describe_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """`describe` for a JSON object with `bytes` and `key` in hex, `transport`, `label` and `stream_role`.

    All but `bytes` and `transport` may be null or absent.
    """
    key = record.get("key")
    return describe(
        bytes.fromhex(record["bytes"]),
        transport=record["transport"],
        key=bytes.fromhex(key) if key else None,
        label=record.get("label") or "",
        stream_role=record.get("stream_role"),
    )


def describe(
    data: bytes,
    *,
    transport: Literal["udp", "tcp"],
    key: bytes | None = None,
    label: str = "",
    stream_role: Literal["request", "response"] | None = None,
    serf: bool = True,
) -> dict[str, Any]:
    """The layers and messages of a packet, or of all that one side wrote to a connection.

    What Serf says in user messages is spelled out where it is undoubtedly Serf's, unless `serf` is false.
    Parts that could not be read are listed under "dropped". DecodeError when nothing can be read.
    """
    keyring = Keyring((key,), random_bytes=bytes) if key else None  # nothing is sealed here
    codec = Codec(label=label, keyring=keyring)
    payload = _serf_or_bytes if serf else _bytes
    messages: tuple[Message | StreamMessage, ...]
    if transport == "udp":
        packet = codec.open_packet(data)
        layers, messages, dropped = list(packet.layers), packet.messages, list(packet.dropped)
    elif transport == "tcp":
        decoder = codec.stream_decoder(answering=stream_role == "response")
        message = decoder.feed(data)
        if message is None:
            raise DecodeError("truncated", "the stream ends within a message")
        layers, messages, dropped = decoder.layers, (message,), decoder.dropped
    else:
        raise ValueError(f"transport is {transport!r}: it must be udp or tcp")
    described: dict[str, Any] = {
        "layers": layers,
        "messages": [_message(message, payload) for message in messages],
    }
    if dropped:
        described["dropped"] = dropped
    return described


def _message(message: Message | StreamMessage, payload: Callable[[bytes], Any]) -> dict[str, Any]:
    number, name, body = _DESCRIBERS[type(message)]
    return {"type": number, "name": name, "body": body(message, payload)}


def _bytes(value: bytes | None) -> dict[str, str] | None:
    return None if value is None else {"$hex": value.hex()}


def _serf_or_bytes(payload: bytes) -> Any:
    message = decode_message(payload)
    if message is None:
        return _bytes(payload)
    described = {
        "serf_type": int(message.type),
        "serf_name": _SERF_NAMES[message.type],
        "body": _plain(message.body),
    }
    if message.relayed:
        described["relayed"] = _bytes(message.relayed)
    return described


def _plain(value: Any) -> Any:
    """`value` with its bytes in hex."""
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def _source(message: Ping | PingReq) -> dict[str, Any]:
    fields = {
        "SourceAddr": _bytes(message.source_address or None),
        "SourceNode": message.source_node,
        "SourcePort": message.source_port,
    }
    return {key: value for key, value in fields.items() if value}


def _extras(**fields: bytes | int | str) -> dict[str, Any]:
    """Our own fields, which are left out when empty."""
    return {key: _plain(value) for key, value in fields.items() if value}


def _ping(ping: Ping, _: object) -> dict[str, Any]:
    return {"Node": ping.node, "SeqNo": ping.seq} | _source(ping) | _own(ping)


def _own(ping: Ping) -> dict[str, Any]:
    return _extras(i=ping.sender_id, n=ping.count, v=ping.view)


def _ping_req(request: PingReq, _: object) -> dict[str, Any]:
    return {
        "Nack": request.nack,
        "Node": request.node,
        "Port": request.port,
        "SeqNo": request.seq,
        **_source(request),
        "Target": _bytes(request.target),
    }


def _ack(ack: Ack, _: object) -> dict[str, Any]:
    body = {} if ack.bare else {"Payload": _bytes(ack.payload)}
    return body | {"SeqNo": ack.seq} | _extras(b=ack.boot, i=ack.sender_id, u=ack.unknown, w=ack.wait_ms)


def _nack(nack: Nack, _: object) -> dict[str, Any]:
    return {"SeqNo": nack.seq}


def _suspect(suspect: Suspect, _: object) -> dict[str, Any]:
    return {"From": suspect.sender, "Incarnation": suspect.incarnation, "Node": suspect.node}


def _dead(dead: Dead, _: object) -> dict[str, Any]:
    body = {"From": dead.sender, "Incarnation": dead.incarnation, "Node": dead.node}
    return body | _extras(e=dead.early, i=dead.id, w=dead.reason)


def _entry(node: Alive | NodeState) -> dict[str, Any]:
    return {
        "Addr": _bytes(node.address),
        "Incarnation": node.incarnation,
        "Meta": _bytes(node.meta or None),
        "Port": node.port,
        "Vsn": _bytes(node.versions),
    }


def _node(node: NodeState) -> dict[str, Any]:
    return _entry(node) | {"Name": node.name, "State": int(node.state)} | _extras(a=node.age)


def _alive(alive: Alive, _: object) -> dict[str, Any]:
    return _entry(alive) | {"Node": alive.node}


def _user(message: UserMessage, payload: Callable[[bytes], Any]) -> dict[str, Any]:
    return {"user": payload(message.payload)}


def _observer_message(message: ObserverMessage, _: object) -> dict[str, Any]:
    body = {"k": message.kind.name.lower(), "n": message.node, "c": message.incarnation}
    who = {"f": message.author} if message.author else {}
    who |= _extras(p=message.process, b=message.boot, t=message.to, s=message.count)
    return {"user": {"swim": body | _extras(a=message.age_ms, r=message.round, x=message.certain) | who}}


def _leader_message(message: LeaderMessage, _: object) -> dict[str, Any]:
    body = {"k": message.kind.name.lower(), "r": message.round}
    body |= _extras(
        b=message.process, s=message.between, u=message.turn, i=message.id, t=message.token, f=message.led
    )
    body |= _extras(v=message.configuration, c=message.setup, a=message.left_ms, q=message.quiet_ms)
    return {"user": {"swim": body | ({"x": message.reason.name.lower()} if message.reason else {})}}


def _error(message: ErrorMessage, _: object) -> dict[str, Any]:
    return {"Error": message.text}


def _push_pull(message: PushPull, payload: Callable[[bytes], Any]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Join": message.join,
        "Nodes": [_node(node) for node in message.nodes],
        "UserState": payload(message.user_state),
    }
    head = message.head
    if head is not None:
        body["swim"] = _extras(
            a=head.founder,
            b=head.boot,
            c=head.clock_ms,
            f=head.floor,
            j=head.joining,
            l=head.lost,
            v=head.setup,
            q=head.question,
            x=head.asker,
            s=head.seed,
            p=head.port,
        ) | {"n": head.name}
        if head.to:
            body["swim"]["t"] = head.to
    return body


_DESCRIBERS: dict[type, tuple[int, str, Callable[[Any, Callable[[bytes], Any]], dict[str, Any]]]] = {
    Ping: (0, "ping", _ping),
    PingReq: (1, "indirectPing", _ping_req),
    Ack: (2, "ackResp", _ack),
    Suspect: (3, "suspect", _suspect),
    Alive: (4, "alive", _alive),
    Dead: (5, "dead", _dead),
    PushPull: (6, "pushPull", _push_pull),
    UserMessage: (8, "user", _user),
    ObserverMessage: (8, "user", _observer_message),
    LeaderMessage: (8, "user", _leader_message),
    Nack: (11, "nackResp", _nack),
    ErrorMessage: (13, "err", _error),
}
