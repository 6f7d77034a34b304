"""`swim agent`: options, and the process around the nodes (signals, standard input and output)."""

from __future__ import annotations

import logging
import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
import trio

from swim.cli.lines import LineWriter
from swim.cli.nodes import AgentNodes, CommonOptions
from swim.cli.options import (
    parse_addresses,
    parse_config,
    parse_keys,
    parse_names,
    parse_networks,
    parse_tags,
    parse_text,
    usage,
)
from swim.cli.report import as_json, as_text
from swim.cli.running import RunningNode
from swim.cli.screen import open_screen
from swim.cli.scripts import parse_rules
from swim.cli.sockets import default_path, open_socket, remove_socket
from swim.cli.warned import Warnings
from swim.text import printable
from swim.types import Address
from swim.wire.addresses import DEFAULT_PORT, parse_address

__all__ = ["command"]

_FLUSH_PATIENCE = 1.0
_OF_BIND = 0
"""To advertise this port is to advertise the one of `--bind`."""


@click.command("agent", short_help="Run a node.")
@click.option("--name", help="The node's name, unique in the cluster.  [default: host and port]")
@click.option(
    "--bind", default="0.0.0.0:7946", show_default=True, metavar="HOST[:PORT]", help="Port 0: any free one."
)
@click.option(
    "--advertise", metavar="HOST[:PORT]", help="Where others reach this node, if not where it is bound."
)
@click.option(
    "--join",
    multiple=True,
    metavar="HOST[:PORT],..",
    help="Seeds: any members of the cluster, this node too. The same list at all nodes is best. Repeatable.",
)
@click.option("--profile", type=click.Choice(["lan", "wan", "local"]), default="lan", show_default=True)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="OPTION=VALUE",
    help="Change one setting, such as silence_tolerance=5. Repeatable.",
)
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Shown to all members. Repeatable.")
@click.option(
    "--key", "keys", multiple=True, metavar="KEY|@FILE", help="Hex or base64; the first one encrypts."
)
@click.option("--label", default="", help="Keeps clusters on one network apart.")
@click.option("--allow", multiple=True, metavar="CIDR", help="Only talk to these networks. Repeatable.")
@click.option(
    "--voters",
    multiple=True,
    metavar="NAME,..",
    help="Lead only with a lease from most of these members; the same at all nodes.",
)
@click.option("--ticks", is_flag=True, help="With --json: a line every 20 ms while this node leads.")
@click.option("--json", "json_lines", is_flag=True, help="JSON lines on stdout, commands on stdin.")
@click.option("--plain", is_flag=True, help="Lines in place of the live table, also on a terminal.")
@click.option("--metrics", metavar="HOST:PORT", help="Serve Prometheus metrics there, at /metrics.")
@click.option(
    "--on",
    "scripts",
    multiple=True,
    metavar="EVENT=COMMAND",
    help="Run this in a shell for each such event; its fields are in SWIM_MEMBER and so on. Repeatable.",
)
@click.option(
    "--socket",
    "socket_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Where commands such as `swim tags` reach this agent.  [default: by its name; with --json: nowhere]",
)
@click.option("--no-socket", is_flag=True, help="Listen to no commands.")
@click.option(
    "--count", type=click.IntRange(1), default=1, help="A cluster of NAME-0, NAME-1, .. on consecutive ports."
)
def command(
    name: str | None,
    bind: str,
    advertise: str | None,
    join: tuple[str, ...],
    profile: str,
    settings: tuple[str, ...],
    tags: tuple[str, ...],
    keys: tuple[str, ...],
    label: str,
    allow: tuple[str, ...],
    voters: tuple[str, ...],
    ticks: bool,
    json_lines: bool,
    plain: bool,
    metrics: str | None,
    scripts: tuple[str, ...],
    socket_path: Path | None,
    no_socket: bool,
    count: int,
) -> None:
    """Run a node (or --count of them) until SIGTERM or Ctrl-C, then leave gracefully.

    \b
    Over the network: swim agent --join 10.0.0.7,10.0.0.8
    On one machine:   swim agent --name a --bind 127.0.0.1:7946 \\
                        --join 127.0.0.1:7946,127.0.0.1:7947
                      swim agent --name b --bind 127.0.0.1:7947 \\
                        --join 127.0.0.1:7946,127.0.0.1:7947
    For programs:     swim agent --json --name c --bind 127.0.0.1:0 \\
                        --join 127.0.0.1

    It is told what to do by commands like `swim tags role=db` (see `swim --help`), through a socket that only
    its own user can open. With --json the same commands are read from standard input, one a line, with @NAME
    before it for one node of several; the end of the input means: leave.

    Exit status: 0 after a leave, 1 when the node could not start, 2 for bad options.
    """
    if ticks and not json_lines:
        raise click.UsageError("--ticks needs --json: they are lines for programs")
    options = CommonOptions(
        seeds=usage("--join", parse_addresses, join),
        config=usage("--set", parse_config, profile, settings),
        tags=usage("--tag", parse_tags, tags),
        keys=usage("--key", parse_keys, keys),
        label=usage("--label", parse_text, label),
        networks=usage("--allow", parse_networks, allow),
        metrics=None if metrics is None else usage("--metrics", parse_address, metrics),
        voters=usage("--voters", parse_names, voters),
        scripts=usage("--on", parse_rules, scripts),
        ticks=ticks,
    )
    if metrics is not None:
        _need_prometheus()
    if no_socket and socket_path is not None:
        raise click.UsageError("--socket and --no-socket contradict each other")
    nodes = _nodes(name, bind, advertise, count)
    if socket_path is None and not no_socket and not json_lines:
        socket_path = default_path(name or (f"agent-{os.getpid()}" if bind.endswith(":0") else bind))
    with _commands_from(socket_path) as listener:
        status = _run(options, nodes, listener, json_lines, plain)
    sys.exit(status)


@contextmanager
def _commands_from(path: Path | None) -> Iterator[socket.socket | None]:
    """The socket for them, as long as it is entered."""
    if path is None:
        yield None
        return
    try:
        listener = open_socket(path)
    except OSError as error:
        raise click.ClickException(f"agent: {error}") from None
    try:
        yield listener
    finally:
        remove_socket(listener, path)


def _need_prometheus() -> None:
    try:
        import prometheus_client  # noqa: F401  (only to see whether it is there)
    except ModuleNotFoundError:
        raise click.UsageError("--metrics needs prometheus-client: pip install prometheus-client") from None


def _nodes(name: str | None, bind: str, advertise: str | None, count: int) -> list[RunningNode]:
    """The nodes of the process, none of them running yet."""
    if name is not None and (not usage("--name", parse_text, name) or any(char.isspace() for char in name)):
        raise click.UsageError(f"--name: {name!r} must not be empty or have spaces in it")
    for option, text in (("--bind", bind), ("--advertise", advertise)):
        if text is not None and usage(option, parse_address, text, DEFAULT_PORT)[1] + count - 1 > 65535:
            raise click.UsageError(f"{option}: there are not {count} ports from {text} on")
    if count == 1:
        return [RunningNode(name, bind, advertise)]
    if name is None:
        raise click.UsageError("--count needs --name: the nodes are called NAME-0, NAME-1, ..")
    return [
        RunningNode(
            f"{name}-{n}", _shifted(bind, n, DEFAULT_PORT), advertise and _shifted(advertise, n, _OF_BIND)
        )
        for n in range(count)
    ]


def _shifted(address: str, offset: int, default_port: int) -> str:
    """The same host, so many ports further; port 0 stays what it is: any free one."""
    host, port = parse_address(address, default_port)
    return str(Address(host, port + offset if port else 0))


def _raise_descriptor_limit() -> None:
    """Each node keeps about twenty streams open, and --count runs many nodes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run(
    options: CommonOptions,
    nodes: list[RunningNode],
    listener: socket.socket | None,
    json_lines: bool,
    plain: bool,
) -> int:
    _raise_descriptor_limit()
    writer = LineWriter()
    colour = sys.stdout.isatty()
    screen = open_screen(len(nodes)) if colour and not json_lines and not plain else None

    def emit(fields: dict[str, object]) -> None:
        if screen is not None:
            screen.report(fields)
            return
        line = as_json(fields) if json_lines else as_text(fields, colour=colour, with_node=len(nodes) > 1)
        if line is not None:
            writer.write(line)

    if screen is None:  # which has a place for them
        logging.getLogger("swim").addHandler(Warnings(nodes, emit) if json_lines else logging.StreamHandler())
    agent = AgentNodes(options, nodes, emit, writer, listener)
    with screen or nullcontext():
        trio.run(agent.run, json_lines, None if screen is None else screen.keep_showing)
        if not json_lines and agent.failure is None:
            for member in agent.members:
                emit({"node": member, "event": "left"})
    writer.close(_FLUSH_PATIENCE)
    if agent.failure is not None:
        status, message = agent.failure
        click.echo(printable(f"swim agent: {' '.join(message.split())}"), err=True)
        return status
    return 0
