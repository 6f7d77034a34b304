"""`swim members`: a cluster seen from outside, without joining it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

import click
import trio
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swim.cli.options import read_key, usage
from swim.cli.report import as_json, printable, shown_tags
from swim.errors import KeyringError
from swim.protocol.identity import unpack_id, valid_id
from swim.wire import Codec, DecodeError, Keyring
from swim.wire.addresses import parse_address, unpack_address
from swim.wire.messages import ErrorMessage, NodeState, PushPull, StreamMessage, WireState
from swim.wire.serf import decode_tags

__all__ = ["command"]

_PATIENCE = 10.0
_PRESENT = (WireState.ALIVE, WireState.SUSPECT)


class _Unanswered(Exception):
    """No cluster there, or none that talks to us; one line that says why."""


@click.command("members", short_help="Look at a cluster from outside.")
@click.argument("address", metavar="HOST:PORT")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a member and line.")
@click.option(
    "--key", callback=read_key, metavar="KEY|@FILE", help="The cluster's key, if it has one: hex or base64."
)
@click.option("--label", default="", help="The cluster's label, if it has one.")
def command(address: str, json_lines: bool, key: bytes | None, label: str) -> None:
    """List the members of a cluster, as the node at HOST:PORT sees them. Nothing joins, nothing changes.

    \b
        swim members 127.0.0.1:7946
        swim members db.internal:7946 --key @cluster.key --json | jq .name
    """
    host, port = usage("HOST:PORT", parse_address, address)
    try:
        codec = Codec(label=label, keyring=None if key is None else Keyring([key], random_bytes=os.urandom))
    except KeyringError as error:
        raise click.UsageError(f"--key: {error}") from None
    except ValueError as error:
        raise click.UsageError(f"--label: {error}") from None
    try:
        answer = trio.run(_ask, host, port, codec)
    except _Unanswered as error:
        raise click.ClickException(f"{address}: {error}") from None
    seen = _members(answer)
    if json_lines:
        for member in seen:
            click.echo(as_json(member.as_fields()))
    else:
        _print_table(seen)


@dataclass(slots=True)
class _Seen:
    name: str
    address: str
    state: str
    id: str | None
    tags: dict[str, str]
    leader: bool = False

    def as_fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


# --- asking


async def _ask(host: str, port: int, codec: Codec) -> PushPull:
    """A push/pull in which we name no nodes: the other side answers with all it knows."""
    with trio.move_on_after(_PATIENCE):
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise _Unanswered(f"cannot connect: {_reason(error)}; is a node running there?") from None
        async with stream:
            answer = await _exchange(stream, codec)
        match answer:
            case PushPull():
                return answer
            case ErrorMessage(text):
                raise _Unanswered(f"the node refuses: {text}")
        raise _Unanswered("something answered, but not as a node of a cluster")
    raise _Unanswered(f"no answer within {_PATIENCE:.0f} s")


def _reason(error: OSError) -> str:
    """open_tcp_stream groups what went wrong with each address; one of them is enough."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    final = cause if isinstance(cause, OSError) else error
    if (
        final.errno is not None and final.errno > 0
    ):  # not what the resolver says, which has numbers of its own
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
        hint = {"encrypted": "give its --key", "plaintext": "it has no key; leave out --key"}.get(
            error.reason
        )
        raise _Unanswered(f"its answer cannot be read ({error}){'; ' + hint if hint else ''}") from None
    except trio.BrokenResourceError:
        pass
    raise _Unanswered("the node closed the connection without an answer; are --key and --label right?")


# --- what the answer says


def _members(answer: PushPull) -> list[_Seen]:
    """In the order of joining, foreign members last."""
    seen = [_seen(node) for node in answer.nodes]
    floor = unpack_id(answer.greeting.floor) if answer.greeting is not None else None
    present = [
        member
        for member, node in zip(seen, answer.nodes, strict=True)
        if node.state in _PRESENT and member.id is not None and (floor is None or member.id >= floor)
    ]
    if present:
        min(present, key=lambda member: member.id or "").leader = True
    return sorted(seen, key=lambda member: (member.id is None, member.id, member.name))


def _seen(node: NodeState) -> _Seen:
    tags = decode_tags(node.meta)
    member_id = tags.get("_id", "")
    try:
        address = str(unpack_address(node.address, node.port))
    except DecodeError:
        address = "?"
    return _Seen(
        name=node.name,
        address=address,
        state=node.state.name.lower(),
        id=member_id if valid_id(member_id) else None,
        tags=shown_tags(tags),
    )


_STYLES = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "dim"}


def _print_table(seen: list[_Seen]) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("NAME", "ADDRESS", "STATE", "LEADER", "ID", "TAGS"):
        table.add_column(heading, overflow="fold")
    for member in seen:
        texts = [
            member.name,
            member.address,
            member.state,
            "leader" if member.leader else "",
            member.id or "-",
        ]
        texts.append(" ".join(f"{name}={value}" for name, value in member.tags.items()))
        cells = [Text(printable(text)) for text in texts]
        cells[2].stylize(_STYLES[member.state])
        cells[3].stylize("bold cyan")
        table.add_row(*cells)
    # In a pipe there is no width to fit into: never cut a name there.
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
