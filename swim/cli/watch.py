"""`swim watch`: a cluster seen from outside, again and again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import click
import trio
from rich.console import Console

from swim.cli.live import LiveTable, Row
from swim.cli.looking import Seen, Unanswered, look, make_codec
from swim.cli.options import FiniteRange, read_key, usage
from swim.cli.report import Fields, as_text, counted, sentence, style_of
from swim.text import printable
from swim.wire import Codec
from swim.wire.addresses import DEFAULT_PORT, parse_address

__all__ = ["changes", "command"]

_PATIENCE = 3.0
_OTHERS_TRIED = 3
_CHANGES_MAX = 1_000
"""Told of one look; a node may claim to know any number of members."""


@click.command("watch", short_help="Follow a cluster from outside.")
@click.argument("address", metavar="HOST[:PORT]")
@click.option(
    "--interval",
    type=FiniteRange(0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks.",
)
@click.option(
    "--key", callback=read_key, metavar="KEY|@FILE", help="The cluster's key, if it has one: hex or base64."
)
@click.option("--label", default="", help="The cluster's label, if it has one.")
def command(address: str, interval: float, key: bytes | None, label: str) -> None:
    """Follow a cluster, as the node at HOST[:PORT] sees it, until Ctrl-C. Nothing joins, nothing changes.

    When that node is gone, another member is asked. On a terminal a table is kept up to date; elsewhere every
    change is a line.

    \b
        swim watch 127.0.0.1:7946
        swim watch db.internal:7946 --key @cluster.key --interval 5
    """
    host, port = usage("HOST[:PORT]", parse_address, address, DEFAULT_PORT)
    codec = make_codec(key, label)
    console = Console(highlight=False)
    table = (
        LiveTable(console, measured=False) if console.is_terminal and not console.is_dumb_terminal else None
    )
    try:
        trio.run(_Watch(host, port, codec, interval, table).run)
    except Unanswered as error:
        raise click.ClickException(f"{address}: {error}") from None


def changes(before: Sequence[Seen], after: Sequence[Seen]) -> Iterator[Fields]:
    """What leads from one look to the next, in the words of the agent's lines.

    A node does not list members that it alone has given up: one that is missing is dead to that node.
    """
    known = {member.name: member for member in before}
    for member in after:
        old = known.get(member.name)
        was, tags = (old.state, old.tags) if old else ("", {})
        about = {"member": member.name, "id": member.id, "address": member.address, "tags": member.tags}
        if member.present and was not in ("alive", "suspect"):
            yield {"event": "join", **about}
        elif member.present and old and (old.id, tags) != (member.id, member.tags):
            yield {"event": "update", **about}
        if member.state == was or (not member.present and not old):
            continue
        if member.state == "suspect":
            yield {"event": "suspect", "member": member.name, "phi": None}
        elif member.state == "alive" and was == "suspect":
            yield {"event": "recover", "member": member.name}
        elif not member.present:
            yield {"event": "leave" if member.state == "left" else "dead", **about, "reason": "told"}
    for name in sorted(known.keys() - {member.name for member in after}):
        if known[name].present:
            yield {"event": "dead", "member": name, "reason": "told"}
    leaders = [next((one.name for one in look if one.leader), None) for look in (before, after)]
    if leaders[0] != leaders[1]:
        yield {"event": "leader", "leader": leaders[1], "is_me": False}


class _Watch:
    """Looks, shows, and goes on to another member when the one that it asks is gone."""

    def __init__(self, host: str, port: int, codec: Codec, interval: float, table: LiveTable | None) -> None:
        self._asked = (host, port)
        self._codec = codec
        self._interval = interval
        self._table = table
        self._seen: list[Seen] = []
        self._seen_at = ""
        self._problem = ""

    async def run(self) -> None:
        """Until SIGINT or SIGTERM. Raises `Unanswered` when no member answered at all."""
        self._take(await look(*self._asked, self._codec))
        if self._table is not None:
            self._table.start()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._until_signal, nursery.cancel_scope)
                while True:
                    await trio.sleep(self._interval)
                    await self._look_again()
        finally:
            if self._table is not None:
                self._table.stop()

    async def _until_signal(
        self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                scope.cancel()

    async def _look_again(self) -> None:
        try:
            self._take(await look(*self._asked, self._codec, _PATIENCE))
            return
        except Unanswered as error:
            host, port = self._asked
            problem = f"! {host}:{port}: {error}"
        if problem != self._problem:  # said once, however long it lasts
            self._say(problem, "red")
            self._problem = problem
        for other in [one for one in self._seen if one.present][:_OTHERS_TRIED]:
            try:
                asked = parse_address(other.address)
                seen = await look(*asked, self._codec, _PATIENCE)
            except (Unanswered, ValueError):
                continue
            self._asked = asked
            self._take(seen)
            self._say(f"! asking {other.name} ({other.address}) from now on", "red")
            return
        if self._table is not None:
            self._table.mark_stale(f"no member answers; this was seen at {self._seen_at}; Ctrl-C ends")

    def _take(self, seen: list[Seen]) -> None:
        found = changes(self._seen, seen)
        for fields in islice(found, _CHANGES_MAX):
            said = sentence(fields)
            if self._table is None:
                self._print(as_text(fields, colour=False, with_node=False))
            elif self._seen and said is not None:
                self._table.event(said, style_of(fields))
        if more := sum(1 for _ in found):
            self._say(f"! and {more} more changes at once: `swim members` lists all members", "red")
        self._seen, self._seen_at, self._problem = seen, time.strftime("%H:%M:%S"), ""
        if self._table is not None:
            self._table.show(self._title(seen), [_row(one) for one in seen])

    def _title(self, seen: list[Seen]) -> str:
        host, port = self._asked
        present = sum(one.present for one in seen)
        return f"{counted(present)}, as {host}:{port} sees them at {self._seen_at}; Ctrl-C ends"

    def _say(self, line: str, style: str) -> None:
        if self._table is None:
            self._print(f"{time.strftime('%H:%M:%S')}  {line}")
        else:
            self._table.event(line, style)

    def _print(self, line: str | None) -> None:
        if line is not None:
            print(printable(line), flush=True)


def _row(one: Seen) -> Row:
    return Row(one.name, one.address, one.state, leader=one.leader, tags=one.tags)
