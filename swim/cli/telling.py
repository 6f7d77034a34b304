"""`swim tags`, `swim send` and so on: each tells the agent that runs on this machine one command."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import click

from swim.cli.sockets import find_agent
from swim.cli.verbs import VERBS
from swim.text import printable

__all__ = ["agent_options", "command_of", "tell"]

_EPILOG = """An agent listens where it is started with --socket, or without --json. It is found by its name or
path, or by itself where it is the only one of this user; the variable SWIM_AGENT may say which."""


def command_of(verb: str) -> click.Command:
    """The command line's side of one of `VERBS`."""
    known = VERBS[verb]

    def callback(arguments: tuple[str, ...], agent: str | None, node: str | None, json_lines: bool) -> None:
        tell([verb, *arguments], agent, node, json_lines)

    parameters: list[click.Parameter] = [
        click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED, metavar=known.form or " "),
        *agent_options(),
    ]
    return click.Command(
        verb,
        callback=callback,
        params=parameters,
        help=f"{known.about}\n\nDone by an agent that runs on this machine.",
        short_help=f"Agent: {known.about}",
        epilog=_EPILOG,
    )


def agent_options() -> list[click.Parameter]:
    """Which agent is meant, and how it is to answer."""
    return [
        click.Option(["--agent"], metavar="NAME|PATH", envvar="SWIM_AGENT", help="The agent that is meant."),
        click.Option(
            ["--node"], metavar="NAME", help="One of its nodes, if it has several; else all of them."
        ),
        click.Option(["--json", "json_lines"], is_flag=True, help="Answers as JSON lines."),
    ]


def tell(command: list[str], agent: str | None, node: str | None, json_lines: bool) -> None:
    """Give the command, and print the answers. Raises ClickException for what went wrong."""
    problems, ended = [], False
    for answer in _answers(command, agent, node):
        if "error" in answer:
            problems.append(answer["error"])
        elif "end" in answer:
            ended = True
        elif json_lines:
            click.echo(json.dumps({name: value for name, value in answer.items() if name != "text"}))
        elif "text" in answer:
            for line in answer["text"].splitlines():
                click.echo(printable(line))
    if problems or not ended:
        raise click.ClickException("; ".join(problems) or "the agent ended before it had done that")


def _answers(command: list[str], agent: str | None, node: str | None) -> Iterator[dict[str, Any]]:
    try:
        path = find_agent(agent)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError as error:
            reason = error.strerror or str(error)
            raise click.ClickException(f"no agent answers at {path}: {reason}") from None
        try:
            connection.sendall(json.dumps({"command": command, "node": node}).encode() + b"\n")
            for line in connection.makefile("rb"):
                yield json.loads(line)
        except ConnectionError as error:
            raise click.ClickException(f"the agent at {path} is gone: {error.strerror}") from None
