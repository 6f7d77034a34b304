"""`swim voters`: the voters, seen and changed while the cluster runs."""

from __future__ import annotations

import click
import trio

from swim.cli.looking import make_codec
from swim.cli.options import read_key, usage
from swim.cli.telling import agent_options, tell
from swim.errors import VotersError
from swim.runtime.voters import ask_at, change_voters
from swim.types import Address
from swim.wire import Codec
from swim.wire.addresses import DEFAULT_PORT, parse_address
from swim.wire.messages import StreamMessage

__all__ = ["command"]

PATIENCE = 60.0


@click.command("voters", short_help="Show or change which members vote for the leader.")
@click.argument("names", metavar="[NAME ..]", nargs=-1)
@click.option("--at", "address", metavar="HOST[:PORT]", help="Ask this member in place of an agent here.")
@click.option(
    "--key", callback=read_key, metavar="KEY|@FILE", help="With --at: the cluster's key, if it has one."
)
@click.option("--label", default="", help="With --at: the cluster's label, if it has one.")
def command(
    names: tuple[str, ...],
    address: str | None,
    key: bytes | None,
    label: str,
    agent: str | None,
    node: str | None,
    json_lines: bool,
) -> None:
    """Have these members vote from now on; without names, say which do. The leader carries it out.

    \b
        swim voters
        swim voters a b d
        swim voters a b d --at db.internal --key @cluster.key
    """
    if address is None:
        tell(["voters", *names], agent, node, json_lines)
        return
    if not names:
        raise click.UsageError("--at needs the names of the new voters")
    host, port = usage("--at", parse_address, address, DEFAULT_PORT)
    codec = make_codec(key, label)
    try:
        voters = trio.run(_change, host, port, names, codec)
    except VotersError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"voters: {', '.join(voters)}")


command.params.extend(agent_options())


async def _change(host: str, port: int, names: tuple[str, ...], codec: Codec) -> tuple[str, ...]:
    async def ask(address: Address, payload: bytes) -> StreamMessage | None:
        return await ask_at(address, payload, codec)

    with trio.move_on_after(PATIENCE):
        return await change_voters(ask, Address(host, port), names)
    raise VotersError(f"not done within {PATIENCE:.0f} s: it may still be, look again")
