"""`swim keygen`: a new key."""

from __future__ import annotations

import base64
import os

import click

__all__ = ["command"]


@click.command("keygen", short_help="Print a new random key.")
@click.option("--bits", type=click.Choice(["128", "192", "256"]), default="256", show_default=True)
@click.option("--hex", "as_hex", is_flag=True, help="Hexadecimal in place of base64.")
def command(bits: str, as_hex: bool) -> None:
    """Print a new random key for --key, in base64 as `serf keygen` does.

    \b
    Keep it out of the process list and the shell's history:
        swim keygen > cluster.key; chmod 600 cluster.key
        swim agent --key @cluster.key
    """
    key = os.urandom(int(bits) // 8)
    click.echo(key.hex() if as_hex else base64.b64encode(key).decode())
