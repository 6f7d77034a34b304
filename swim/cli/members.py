"""`swim members`: a cluster seen from outside, without joining it."""

from __future__ import annotations

import sys

import click
import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swim.cli.columns import STATE_STYLES, Column, fitted
from swim.cli.looking import PATIENCE, Seen, Unanswered, look, make_codec
from swim.cli.options import FiniteRange, read_key, usage
from swim.cli.report import as_json
from swim.text import printable
from swim.wire.addresses import DEFAULT_PORT, parse_address

__all__ = ["command", "table_of"]


@click.command("members", short_help="Look at a cluster from outside.")
@click.argument("address", metavar="HOST[:PORT]")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a member and line.")
@click.option(
    "--key", callback=read_key, metavar="KEY|@FILE", help="The cluster's key, if it has one: hex or base64."
)
@click.option("--label", default="", help="The cluster's label, if it has one.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    metavar="N",
    help="Rows of the table; --json lists all.",
)
@click.option(
    "--patience",
    type=FiniteRange(0.1),
    default=PATIENCE,
    show_default=True,
    metavar="SECONDS",
    help="For the node's whole answer.",
)
def command(
    address: str, json_lines: bool, key: bytes | None, label: str, limit: int, patience: float
) -> None:
    """List the members of a cluster, as the node at HOST[:PORT] sees them. Nothing joins, nothing changes.

    \b
        swim members 127.0.0.1
        swim members db.internal:7946 --key @cluster.key --json | jq .name
    """
    host, port = usage("HOST[:PORT]", parse_address, address, DEFAULT_PORT)
    codec = make_codec(key, label)
    try:
        seen = trio.run(look, host, port, codec, patience)
    except Unanswered as error:
        raise click.ClickException(f"{address}: {error}") from None
    if json_lines:
        click.echo("\n".join(as_json(member.as_fields()) for member in seen))
    else:
        _print_table(seen, limit)


_UNLIMITED = 10_000
_COLUMNS = [
    Column("NAME"),
    Column("ADDRESS"),
    Column("STATE"),
    Column("LEADER"),
    Column("ID", optional=True),
    Column("TAGS"),
]


def _print_table(seen: list[Seen], limit: int) -> None:
    # In a pipe there is no width to fit into: never cut or fold a line there.
    width = Console().size.width if sys.stdout.isatty() else None
    Console(highlight=False, width=width or _UNLIMITED).print(table_of(seen[:limit], width))
    if len(seen) > limit:
        click.echo(f"and {len(seen) - limit} more: --limit {len(seen)} shows all, --json is quicker")


def table_of(seen: list[Seen], width: int | None) -> Table:
    """These members, in so many cells."""
    return fitted(_COLUMNS, [_cells(member) for member in seen], width, folded=True)


def _cells(member: Seen) -> list[Text]:
    tags = " ".join(f"{name}={value}" for name, value in member.tags.items())
    leader = "leader" if member.leader else ""
    texts = (member.name, member.address, member.state, leader, member.id or "-", tags)
    cells = [Text(printable(text)) for text in texts]
    cells[2].stylize(STATE_STYLES[member.state])
    cells[3].stylize("bold cyan")
    return cells
