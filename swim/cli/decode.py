"""`swim decode`: captured bytes as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import click

from swim.cli.describe import describe, describe_record
from swim.cli.options import read_key
from swim.errors import KeyringError
from swim.wire import DecodeError

__all__ = ["command"]


@click.command("decode", short_help="Captured bytes as JSON.")
@click.option("--transport", type=click.Choice(["udp", "tcp"]), help="How the bytes travelled.")
@click.option("--key", callback=read_key, help="The key, if they are encrypted: hex, base64 or @FILE.")
@click.option("--label", default="", help="The label of the cluster, if it has one.")
@click.option(
    "--role",
    type=click.Choice(["request", "response"]),
    help="Which side of a TCP connection: the one that opened it, or the one that answered.",
)
@click.option("--jsonl", is_flag=True, help="Read JSON objects from standard input, one a line.")
@click.argument("bytes_hex", metavar="[HEX]", required=False)
def command(
    transport: str | None, key: bytes | None, label: str, role: str | None, jsonl: bool, bytes_hex: str | None
) -> None:
    """Print a captured packet, or one side of a TCP connection, as JSON.

    \b
        swim decode --transport udp 0082a44e6f6465a161a55365714e6f01
        swim decode --transport tcp --role response --key @cluster.key HEX

    With --jsonl each line of standard input is an object with the fields transport, bytes (hex), and
    where they apply key (hex), label and stream_role; the answer is one line each. A line that cannot be
    decoded answers {"error": ..}, and the exit status is 1 in the end.
    """
    if jsonl:
        if bytes_hex is not None:
            raise click.UsageError("--jsonl reads from standard input; leave out HEX")
        sys.exit(_decode_lines(sys.stdin.buffer))
    if bytes_hex is None:
        raise click.UsageError("HEX is missing: give the bytes in hexadecimal, or --jsonl")
    if transport is None:
        raise click.UsageError("--transport is missing: say udp or tcp")
    try:
        data = bytes.fromhex(bytes_hex)
    except ValueError:
        raise click.UsageError("HEX is not hexadecimal: give two digits for each byte") from None
    try:
        decoded = describe(data, transport=transport, key=key, label=label, stream_role=role)  # type: ignore[arg-type]
    except DecodeError as error:
        raise click.ClickException(f"cannot decode these bytes: {error}") from None
    except KeyringError as error:
        raise click.UsageError(f"--key: {error}") from None
    click.echo(json.dumps(decoded))


def _decode_lines(lines: Iterable[bytes]) -> int:
    status = 0
    for line in lines:
        if not line.strip():
            continue
        answer = _decode_line(line)
        if "error" in answer:
            status = 1
        click.echo(json.dumps(answer))
    return status


def _decode_line(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:  # also what is not UTF-8, and numbers with too many digits
        return {"error": f"not JSON: {error}"}
    except RecursionError:
        return {"error": "not JSON: nested too deeply"}
    if not isinstance(record, dict):
        return {"error": "not an object"}
    try:
        return describe_record(record)
    except KeyError as error:
        return {"error": f"the field {error} is missing"}
    except (DecodeError, ValueError, TypeError, AttributeError) as error:
        return {"error": str(error)}
