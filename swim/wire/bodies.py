"""Message bodies: the msgpack maps of memberlist, to values and back.

`encode` writes the keys in ascending order, as Go does, so that we produce the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from swim.wire.dialect import (
    ACK,
    ALIVE,
    DEAD,
    NACK,
    PING,
    PING_REQ,
    SUSPECT,
    U16,
    U32,
    U64,
    USER,
    Body,
    flag,
    host,
    name,
    number,
    pack,
    raw,
    text,
    unpack,
)
from swim.wire.errors import DecodeError
from swim.wire.leadership import LEADER_MARK, SETUP_SIZE_MAX, leader_message, pack_leader_message
from swim.wire.leases import LEASES_MARK, LeaseMessage, lease_message, pack_lease_message
from swim.wire.messages import (
    DEATH_REASONS,
    Ack,
    Alive,
    Dead,
    ErrorMessage,
    LeaderMessage,
    Message,
    Nack,
    NodeState,
    ObserverKind,
    ObserverMessage,
    Ping,
    PingReq,
    PushPullHead,
    StreamMessage,
    Suspect,
    UserMessage,
    WireState,
)
from swim.wire.standing import pack_standing, standing

__all__ = [
    "STATE_MAX",
    "ack",
    "encode",
    "error_message",
    "node_state",
    "node_state_of",
    "pack_node_state",
    "pack_node_states",
    "pack_push_pull_header",
    "packet_message",
    "ping",
    "push_pull_head",
    "with_age",
]

_LOST_SIZE_MAX = 2_048
_EXTRA_SIZE_MAX = 64  # of our own byte fields
_SOURCE_KEYS = (b"SourceAddr", b"SourcePort", b"SourceNode")
_AGED = b"\x88"
"""How an entry with an age begins: it is a map of eight fields, not seven."""
_STATES = tuple(WireState)
STATE_MAX = len(_STATES) - 1
_OPINIONS = tuple(ObserverKind)
OBSERVER_MARK = 0x73  # Serf's user messages begin with 0 to 9
_VERSIONS_SIZE_MIN = 6  # memberlist 0.2.2 crashes on one to five

# --- bytes to values


def _versions(body: Body) -> bytes:
    value = raw(body, b"Vsn", _EXTRA_SIZE_MAX)
    if value and len(value) < _VERSIONS_SIZE_MIN:
        raise DecodeError("body", f"Vsn has {len(value)} bytes")
    return _one(value)


@lru_cache(maxsize=64)
def _one(value: bytes) -> bytes:
    """The same object in thousands of entries: it takes a sixth of one."""
    return value


def ping(body: Body) -> Ping:
    seq, node = number(body, b"SeqNo", U32), text(body, b"Node")
    sender_id, view = raw(body, b"i", _EXTRA_SIZE_MAX), raw(body, b"v", _EXTRA_SIZE_MAX)
    count = number(body, b"n", U32)
    if body.keys().isdisjoint(_SOURCE_KEYS):  # between members of our own
        return Ping(seq, node, b"", 0, "", sender_id, view, count)
    source, port = host(body, b"SourceAddr", optional=True), number(body, b"SourcePort", U16)
    return Ping(seq, node, source, port, text(body, b"SourceNode"), sender_id, view, count, standing(body))


def _ping_req(body: Body) -> PingReq:
    return PingReq(
        number(body, b"SeqNo", U32),
        text(body, b"Node"),
        host(body, b"Target"),
        number(body, b"Port", U16),
        flag(body, b"Nack"),
        host(body, b"SourceAddr", optional=True),
        number(body, b"SourcePort", U16),
        text(body, b"SourceNode"),
    )


def ack(body: Body) -> Ack:
    return Ack(
        number(body, b"SeqNo", U32),
        None if body.get(b"Payload") is None else raw(body, b"Payload"),
        raw(body, b"i", _EXTRA_SIZE_MAX),
        raw(body, b"b", _EXTRA_SIZE_MAX),
        number(body, b"w", U32),
        b"Payload" not in body,
        standing(body),
        flag(body, b"u"),
    )


def _nack(body: Body) -> Nack:
    return Nack(number(body, b"SeqNo", U32))


def _suspect(body: Body) -> Suspect:
    return Suspect(name(body, b"Node"), number(body, b"Incarnation", U32), text(body, b"From"))


def _dead(body: Body) -> Dead:
    node, incarnation = name(body, b"Node"), number(body, b"Incarnation", U32)
    id = raw(body, b"i", _EXTRA_SIZE_MAX)
    reason = DEATH_REASONS[number(body, b"w", len(DEATH_REASONS) - 1)]
    return Dead(node, incarnation, text(body, b"From"), id, flag(body, b"e"), reason)


def _alive(body: Body) -> Alive:
    return Alive(
        name(body, b"Node"),
        number(body, b"Incarnation", U32),
        host(body, b"Addr"),
        number(body, b"Port", U16),
        raw(body, b"Meta"),
        _versions(body),
    )


def node_state(entry: bytes) -> NodeState:
    return node_state_of(unpack(entry))


def node_state_of(body: Body) -> NodeState:
    return NodeState(
        name(body, b"Name"),
        number(body, b"Incarnation", U32),
        host(body, b"Addr"),
        number(body, b"Port", U16),
        raw(body, b"Meta"),
        _STATES[number(body, b"State", STATE_MAX)],
        _versions(body),
        number(body, b"a", U32),
    )


def push_pull_head(body: Body) -> PushPullHead:
    return PushPullHead(
        text(body, b"n"),
        raw(body, b"b", _EXTRA_SIZE_MAX),
        number(body, b"p", U16),
        number(body, b"c", U64),
        flag(body, b"j"),
        raw(body, b"f", _EXTRA_SIZE_MAX),
        raw(body, b"l", _LOST_SIZE_MAX),
        text(body, b"t"),
        raw(body, b"a", _EXTRA_SIZE_MAX),
        raw(body, b"v", SETUP_SIZE_MAX),
        number(body, b"q", U32),
        raw(body, b"x", _EXTRA_SIZE_MAX),
        flag(body, b"s"),
    )


def _observer_message(body: Body) -> ObserverMessage:
    return ObserverMessage(
        _OPINIONS[number(body, b"k", len(_OPINIONS) - 1)],
        name(body, b"n"),
        number(body, b"c", U32),
        number(body, b"a", U32),
        number(body, b"r", U32),
        flag(body, b"x"),
        raw(body, b"p", _EXTRA_SIZE_MAX),
        text(body, b"f"),
        raw(body, b"b", _EXTRA_SIZE_MAX),
        raw(body, b"t", _EXTRA_SIZE_MAX),
        number(body, b"s", U32),
    )


def error_message(body: Body) -> ErrorMessage:
    return ErrorMessage(raw(body, b"Error").decode(errors="replace"))


_DECODERS: dict[int, Callable[[Body], Message]] = {
    PING: ping,
    PING_REQ: _ping_req,
    ACK: ack,
    SUSPECT: _suspect,
    DEAD: _dead,
    NACK: _nack,
}


@lru_cache(maxsize=512)
def _alive_message(data: bytes) -> Alive:
    """Where many join, the same news comes from several members one after the other."""
    return _alive(unpack(data[1:]))


def packet_message(data: bytes) -> Message:
    """One plain message of a packet, with its type byte."""
    if data[0] == ALIVE:
        return _alive_message(data)
    decode = _DECODERS.get(data[0])
    if decode is not None:
        return decode(unpack(data[1:]))
    if data[0] == USER:
        if data[1:2] == bytes((OBSERVER_MARK,)):
            return _observer_message(unpack(data[2:]))
        if data[1:2] == bytes((LEADER_MARK,)):
            return leader_message(unpack(data[2:]))
        if data[1:2] == bytes((LEASES_MARK,)):
            return lease_message(unpack(data[2:]))
        return UserMessage(data[1:])
    raise DecodeError("type", f"message type {data[0]} in a packet")


# --- values to bytes


def _put_source(body: dict[str, object], message: Ping | PingReq) -> None:
    if message.source_address:
        body["SourceAddr"] = message.source_address
    if message.source_node:
        body["SourceNode"] = message.source_node
    if message.source_port:
        body["SourcePort"] = message.source_port


def _pack_ping(message: Ping) -> bytes:
    body: dict[str, object] = {"Node": message.node, "SeqNo": message.seq}
    _put_source(body, message)
    if message.sender_id:
        body["i"] = message.sender_id
    if message.count:
        body["n"] = message.count
    if message.standing is not None:
        body["s"] = pack_standing(message.standing)
    if message.view:
        body["v"] = message.view
    return b"\x00" + pack(body)


def _pack_ping_req(message: PingReq) -> bytes:
    body: dict[str, object] = {
        "Nack": message.nack,
        "Node": message.node,
        "Port": message.port,
        "SeqNo": message.seq,
    }
    _put_source(body, message)
    body["Target"] = message.target
    return b"\x01" + pack(body)


def _pack_ack(message: Ack) -> bytes:
    body: dict[str, object] = {}
    if not message.bare or message.payload is not None:
        body["Payload"] = message.payload
    body["SeqNo"] = message.seq
    if message.boot:
        body["b"] = message.boot
    if message.sender_id:
        body["i"] = message.sender_id
    if message.standing is not None:
        body["s"] = pack_standing(message.standing)
    if message.unknown:
        body["u"] = True
    if message.wait_ms:
        body["w"] = message.wait_ms
    return b"\x02" + pack(body)


def _pack_nack(message: Nack) -> bytes:
    return b"\x0b" + pack({"SeqNo": message.seq})


def _pack_suspect(message: Suspect) -> bytes:
    body = {"From": message.sender, "Incarnation": message.incarnation, "Node": message.node}
    return b"\x03" + pack(body)


def _pack_dead(message: Dead) -> bytes:
    body: dict[str, object] = {
        "From": message.sender,
        "Incarnation": message.incarnation,
        "Node": message.node,
    }
    if message.early:
        body["e"] = True
    if message.id:
        body["i"] = message.id
    if message.reason:
        body["w"] = DEATH_REASONS.index(message.reason)
    return b"\x05" + pack(body)


def _pack_alive(message: Alive) -> bytes:
    body = {
        "Addr": message.address,
        "Incarnation": message.incarnation,
        "Meta": message.meta or None,
        "Node": message.node,
        "Port": message.port,
        "Vsn": message.versions,
    }
    return b"\x04" + pack(body)


def _pack_user(message: UserMessage) -> bytes:
    return b"\x08" + message.payload


def _pack_observer_message(message: ObserverMessage) -> bytes:
    fields = {
        "a": message.age_ms,
        "b": message.boot,
        "c": message.incarnation,
        "f": message.author,
        "k": message.kind,
        "n": message.node,
        "p": message.process,
        "r": message.round,
        "s": message.count,
        "t": message.to,
        "x": message.certain,
    }
    return bytes((USER, OBSERVER_MARK)) + pack({key: value for key, value in fields.items() if value})


def _pack_error(message: ErrorMessage) -> bytes:
    return b"\x0d" + pack({"Error": message.text})


def pack_node_state(node: NodeState) -> bytes:
    body = {
        "Addr": node.address,
        "Incarnation": node.incarnation,
        "Meta": node.meta or None,
        "Name": node.name,
        "Port": node.port,
        "State": node.state,
        "Vsn": node.versions,
    }
    return with_age(pack(body), node.age)


def pack_node_states(nodes: Iterable[NodeState]) -> bytes:
    """Several entries, one behind the other."""
    return b"".join(map(pack_node_state, nodes))


def with_age(entry: bytes, age: int) -> bytes:
    """An entry that was packed without one, of a member that has been gone for so long."""
    return b"".join((_AGED, entry[1:], b"\xa1a", pack(age))) if age else entry


def pack_push_pull_header(join: bool, nodes: int, user_state: int, head: PushPullHead | None) -> bytes:
    body: dict[str, object] = {"Join": join, "Nodes": nodes, "UserStateLen": user_state}
    if head is not None:
        fields = {
            "a": head.founder,
            "b": head.boot,
            "c": head.clock_ms,
            "f": head.floor,
            "j": head.joining,
            "l": head.lost,
            "n": head.name,
            "p": head.port,
            "q": head.question,
            "s": head.seed,
            "t": head.to,
            "v": head.setup,
            "x": head.asker,
        }
        body["swim"] = {key: value for key, value in fields.items() if value}
    return b"\x06" + pack(body)


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    Ping: _pack_ping,
    PingReq: _pack_ping_req,
    Ack: _pack_ack,
    Nack: _pack_nack,
    Suspect: _pack_suspect,
    Dead: _pack_dead,
    Alive: _pack_alive,
    UserMessage: _pack_user,
    ObserverMessage: _pack_observer_message,
    LeaderMessage: pack_leader_message,
    LeaseMessage: pack_lease_message,
    ErrorMessage: _pack_error,
}


def encode(message: Message | StreamMessage) -> bytes:
    """One plain message with its type byte, as it stands in a packet."""
    return _ENCODERS[type(message)](message)
