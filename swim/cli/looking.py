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
from swim.protocol.view.identity import unpack_id, valid_id
from swim.protocol.view.table import ELECTABLE_TAG, NOT_ELECTABLE, TOKEN_TAG, VOTERS_TAG
from swim.wire import Codec, DecodeError, Keyring
from swim.wire.addresses import unpack_address
from swim.wire.messages import ErrorMessage, NodeState, PushPull, StreamMessage, WireState
from swim.wire.serf import decode_tags

__all__ = ["PATIENCE", "Seen", "Unanswered", "look", "make_codec"]

PATIENCE = 10.0
"""Seconds for connecting, and for the whole answer."""
_PRESENT = (WireState.ALIVE, WireState.SUSPECT)


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
            label=parse_text(label),
            keyring=None if key is None else Keyring([key], random_bytes=os.urandom),
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
    decoder = codec.stream_decoder(answering=True)
    try:
        await stream.send_all(codec.stream(PushPull(())))
        async for data in stream:
            message = decoder.feed(bytes(data))
            if message is not None:
                return message
    except DecodeError as error:
        hints = {
            "encrypted": "give its --key",
            "plaintext": "it has no key; leave out --key",
            "refused": "give its --key and --label",
        }
        hint = hints.get(error.reason)
        raise Unanswered(f"its answer cannot be read ({error}){'; ' + hint if hint else ''}") from None
    except trio.BrokenResourceError:
        pass
    raise Unanswered("the node closed the connection without an answer; are --key and --label right?")


def _members(answer: PushPull) -> list[Seen]:
    seen = [_seen(node) for node in answer.nodes]
    floor = unpack_id(answer.greeting.floor) if answer.greeting is not None else None
    able = [
        (member, decode_tags(node.meta))
        for member, node in zip(seen, answer.nodes, strict=True)
        if node.state in _PRESENT and member.id is not None and (floor is None or member.id >= floor)
    ]
    leader = _leader([(member, tags) for member, tags in able if tags.get(ELECTABLE_TAG) != NOT_ELECTABLE])
    if leader is not None:
        leader.leader = True
    return sorted(seen, key=lambda member: (member.id is None, member.id, member.name))


def _leader(able: list[tuple[Seen, dict[str, str]]]) -> Seen | None:
    """Whom the node that was asked follows: the holder of the lease if there are voters, else the first."""
    if any(VOTERS_TAG in tags for _, tags in able):
        holders = [(tags[TOKEN_TAG], member) for member, tags in able if tags.get(TOKEN_TAG)]
        return max(holders, key=lambda holder: holder[0])[1] if holders else None
    return min((member for member, _ in able), key=lambda member: member.id or "", default=None)


def _seen(node: NodeState) -> Seen:
    tags = decode_tags(node.meta)
    member_id = tags.get("_id", "")
    try:
        address = str(unpack_address(node.address, node.port))
    except DecodeError:
        address = "?"
    return Seen(
        name=node.name,
        address=address,
        state=node.state.name.lower(),
        id=member_id if valid_id(member_id) else None,
        tags=shown_tags(tags),
    )
