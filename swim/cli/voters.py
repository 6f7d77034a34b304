"""`swim voters`: the voters, changed while the cluster runs."""

from __future__ import annotations

import click
import trio

from swim.cli.looking import make_codec
from swim.cli.options import read_key, usage
from swim.errors import VotersError
from swim.runtime.voters import ask_at, change_voters
from swim.types import Address
from swim.wire import Codec
from swim.wire.addresses import DEFAULT_PORT, parse_address
from swim.wire.messages import StreamMessage

__all__ = ["command"]

PATIENCE = 60.0


@click.command("voters", short_help="Change which members vote for the leader.")
@click.argument("address", metavar="HOST[:PORT]")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--key", callback=read_key, metavar="KEY|@FILE", help="The cluster's key, if it has one: hex or base64."
)
@click.option("--label", default="", help="The cluster's label, if it has one.")
def command(address: str, names: tuple[str, ...], key: bytes | None, label: str) -> None:
    """Have these members vote from now on. HOST[:PORT] is any member; the leader carries it out.

    \b
        swim voters 127.0.0.1:7946 a b d
    """
    host, port = usage("HOST[:PORT]", parse_address, address, DEFAULT_PORT)
    codec = make_codec(key, label)
    try:
        voters = trio.run(_change, host, port, names, codec)
    except VotersError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"voters: {', '.join(voters)}")


async def _change(host: str, port: int, names: tuple[str, ...], codec: Codec) -> tuple[str, ...]:
    async def ask(address: Address, payload: bytes) -> StreamMessage | None:
        return await ask_at(address, payload, codec)

    with trio.move_on_after(PATIENCE):
        return await change_voters(ask, Address(host, port), names)
    raise VotersError(f"not done within {PATIENCE:.0f} s: it may still be, look again")
