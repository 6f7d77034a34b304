"""`swim members`: a cluster seen from outside, without joining it."""

from __future__ import annotations

import sys

import click
import trio
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swim.cli.looking import PATIENCE, Seen, Unanswered, look, make_codec
from swim.cli.options import FiniteRange, read_key, usage
from swim.cli.report import as_json
from swim.text import printable
from swim.wire.addresses import parse_address

__all__ = ["command"]


@click.command("members", short_help="Look at a cluster from outside.")
@click.argument("address", metavar="HOST:PORT")
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
    """List the members of a cluster, as the node at HOST:PORT sees them. Nothing joins, nothing changes.

    \b
        swim members 127.0.0.1:7946
        swim members db.internal:7946 --key @cluster.key --json | jq .name
    """
    host, port = usage("HOST:PORT", parse_address, address)
    codec = make_codec(key, label)
    try:
        seen = trio.run(look, host, port, codec, patience)
    except Unanswered as error:
        raise click.ClickException(f"{address}: {error}") from None
    if json_lines:
        click.echo("\n".join(as_json(member.as_fields()) for member in seen))
    else:
        _print_table(seen, limit)


_STYLES = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "dim"}


def _print_table(seen: list[Seen], limit: int) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("NAME", "ADDRESS", "STATE", "LEADER", "ID", "TAGS"):
        table.add_column(heading, overflow="fold")
    for member in seen[:limit]:
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
    if len(seen) > limit:
        click.echo(f"and {len(seen) - limit} more: --limit {len(seen)} shows all, --json is quicker")
