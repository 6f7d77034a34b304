"""A cluster seen from outside: ask one of its members, and read what it answers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import click
import trio

from swim.cli.options import parse_text
from swim.cli.report import shown_tags
from swim.errors import KeyringError
from swim.protocol.leadership.choice import below_floor, highest_holder, lowest_member
from swim.protocol.view.identity import unpack_id
from swim.protocol.view.rings import Rings
from swim.protocol.view.table import WIRE_STATES, MemberTable, Record
from swim.wire import Codec, DecodeError, Keyring
from swim.wire.addresses import unpack_address
from swim.wire.messages import ErrorMessage, NodeState, PushPull, StreamMessage
from swim.wire.serf import decode_tags

__all__ = ["PATIENCE", "Seen", "Unanswered", "look", "make_codec", "member_followed"]

PATIENCE = 10.0
"""Seconds for connecting, and for the whole answer."""
_BEGINNING = 16
"""Bytes that are shown of an answer that is none."""
_STATES = {on_wire: state for state, on_wire in WIRE_STATES.items()}


class Unanswered(Exception):
    """No cluster there, or none that talks to us; one line that says why."""


@dataclass(slots=True)
class Seen:
    """One member, as the node that was asked sees it."""

    name: str
    address: str
    state: str
    id: str | None
    tags: dict[str, str] = field(default_factory=dict)
    leader: bool = False

    @property
    def present(self) -> bool:
        return self.state in ("alive", "suspect")

    def as_fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def make_codec(key: bytes | None, label: str) -> Codec:
    """From the options `--key` and `--label`; what is wrong with them is a usage error."""
    try:
        return Codec(
            label=parse_text(label), keyring=None if key is None else Keyring([key], random_bytes=os.urandom)
        )
    except KeyringError as error:
        raise click.UsageError(f"--key: {error}") from None
    except ValueError as error:
        raise click.UsageError(f"--label: {error}") from None


async def look(host: str, port: int, codec: Codec, patience: float = PATIENCE) -> list[Seen]:
    """All that this node knows of, in the order of joining, foreign members last.

    A push/pull in which we name no nodes: the other side answers with all it knows, and nothing changes.
    Raises `Unanswered`.
    """
    with trio.move_on_after(patience):
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise Unanswered(f"cannot connect: {_reason(error)}; is a node running there?") from None
        async with stream:
            answer = await _exchange(stream, codec)
        match answer:
            case PushPull():
                return _members(answer)
            case ErrorMessage(text):
                raise Unanswered(f"the node refuses: {text}")
        raise Unanswered("something answered, but not as a node of a cluster")
    raise Unanswered(f"no answer within {patience:.0f} s")


def _reason(error: OSError) -> str:
    """open_tcp_stream groups what went wrong with each address; one of them is enough."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    final = cause if isinstance(cause, OSError) else error
    if final.errno is not None and final.errno > 0:  # not what the resolver says: it has numbers of its own
        return os.strerror(final.errno)
    return final.strerror or str(final)


async def _exchange(stream: trio.SocketStream, codec: Codec) -> StreamMessage:
    decoder, begins = codec.stream_decoder(answering=True), b""
    try:
        await stream.send_all(codec.stream(PushPull(())))
        async for data in stream:
            begins = begins or bytes(data[:_BEGINNING])
            message = decoder.feed(bytes(data))
            if message is not None:
                return message
    except DecodeError as error:
        hints = {
            "encrypted": "give its --key",
            "plaintext": "it has no key; leave out --key",
            "refused": "are --key and --label those of the cluster?",
            "type": f"it begins with {begins!r}: is a node there, or another server?",
        }
        hint = hints.get(error.reason)
        raise Unanswered(f"its answer cannot be read ({error}){'; ' + hint if hint else ''}") from None
    except trio.BrokenResourceError:
        pass
    raise Unanswered("the node closed the connection without an answer; are --key and --label right?")


def _members(answer: PushPull) -> list[Seen]:
    """All of them, with the leader that the node follows by what it has answered."""
    table = MemberTable(Rings(1), dead_max=max(1, len(answer.nodes)))
    for record in filter(None, map(_record, answer.nodes)):
        table.put(record, 0.0)
    floor = None if answer.head is None else unpack_id(answer.head.floor)
    leader = member_followed(table, floor or "")
    seen = [_seen(node, leader) for node in answer.nodes]
    return sorted(seen, key=lambda member: (member.id is None, member.id, member.name))


def member_followed(table: MemberTable, floor: str) -> Record | None:
    """Which member a node with this table and floor follows, as far as can be seen from outside.

    Not seen is what the node alone knows: the lengths of suspicions, and that its own lease has just ended.
    """
    if not any(record.voters for record in table.present()):
        return lowest_member(table, floor)
    holder = highest_holder(table.showing())
    return None if holder is None or below_floor(holder, floor) else holder


def _record(node: NodeState) -> Record | None:
    """None where a member has an address that is none: no node believes that there is one."""
    try:
        address = unpack_address(node.address, node.port)
    except DecodeError:
        return None
    state = _STATES[node.state]
    return Record.make(node.name, address, node.incarnation, state, node.meta, node.versions, 0.0)


def _seen(node: NodeState, leader: Record | None) -> Seen:
    record, tags = _record(node), decode_tags(node.meta)
    return Seen(
        name=node.name,
        address="?" if record is None else str(record.address),
        state=node.state.name.lower(),
        id=None if record is None else record.id,
        tags=shown_tags(tags),
        leader=leader is not None and leader.name == node.name,
    )
