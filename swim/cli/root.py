"""The group of all commands, and what becomes of their errors: one line on stderr."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from swim.cli.stdout import discard_output
from swim.cli.verbs import VERBS
from swim.text import printable

__all__ = ["cli"]

_MESSAGE_MAX = 2_000
"""Characters of an error; what a node answers may be long."""
_PROJECT = Path(__file__).parents[2] / "pyproject.toml"

# Imported only when asked for: an agent starts faster without rich, `keygen` without trio.
_COMMANDS = {
    "agent": "swim.cli.agent",
    "decode": "swim.cli.decode",
    "demo": "swim.cli.demo",
    "keygen": "swim.cli.keygen",
    "members": "swim.cli.members",
    "simulate": "swim.cli.simulate",
    "voters": "swim.cli.voters",
    "watch": "swim.cli.watch",
}


def _fail(message: str, status: int) -> NoReturn:
    """One line, which a terminal shows as several where it is long: broken between words.

    All but the first are indented: no text of another node can begin a line of its own.
    """
    text = printable(" ".join(message.split()), _MESSAGE_MAX)
    if sys.stderr is not None and sys.stderr.isatty():
        text = click.wrap_text(text, shutil.get_terminal_size().columns, subsequent_indent="  ")
    click.echo(text, err=True)
    sys.exit(status)


@contextmanager
def _one_exception() -> Iterator[None]:
    """What comes out of a nursery is a group; one of it is enough for the one line."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group


class _Commands(click.Group):
    """Loads commands when they are needed, and prints every error as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS.keys() | VERBS.keys())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in VERBS and cmd_name not in _COMMANDS:
            from swim.cli.telling import command_of

            return command_of(cmd_name)
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(_COMMANDS[cmd_name]).command
        return command

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *more: Any, **extra: Any
    ) -> NoReturn:
        extra["standalone_mode"] = False
        _hold_standard_files()
        try:
            with _one_exception():
                status = super().main(args, prog_name, *more, **extra)
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else "swim"
            _fail(f"{path}: {error.format_message().rstrip('.')} (see {path} --help)", 2)
        except click.ClickException as error:
            _fail(f"swim: {error.format_message()}", error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(130)
        except BrokenPipeError:
            discard_output()  # its reader went away (`swim members .. | head -1`)
            sys.exit(1)
        except Exception as error:
            if os.environ.get("SWIM_DEBUG"):
                raise
            _fail(f"swim: internal error: {type(error).__name__}: {error} (SWIM_DEBUG=1 shows where)", 1)
        sys.exit(status if isinstance(status, int) else 0)


def _hold_standard_files() -> None:
    """What is written for the user must not go into whatever file would be opened under these numbers."""
    for fd in (0, 2):
        with suppress(OSError):
            os.fstat(fd)
            continue
        opened = os.open(os.devnull, os.O_RDWR)  # which may be another one, the lowest that is free
        os.dup2(opened, fd)
        if opened != fd:
            os.close(opened)
    if sys.stdout is None:
        _fail("swim: standard output is closed; if nobody is to read it, use >/dev/null", 2)


def _version() -> str:
    import tomllib  # these two take as much memory as all commands together, and an agent needs neither
    from importlib import metadata

    try:
        return metadata.version("trio-swim")
    except metadata.PackageNotFoundError:
        project = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]
        return f"{project['version']} (a checkout that is not installed)"


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"swim {_version()}")
        ctx.exit()


@click.group(
    cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Clusters that manage themselves: membership, failure detection, a leader.

    \b
    See it work:          swim demo
    Run a node:           swim agent --name a --bind 127.0.0.1:7946 \\
                            --join 127.0.0.1:7946,127.0.0.1:7947
    Another that joins:   swim agent --name b --bind 127.0.0.1:7947 \\
                            --join 127.0.0.1:7946,127.0.0.1:7947
    Look from outside:    swim members 127.0.0.1
    Follow from outside:  swim watch 127.0.0.1
    Tell a running node:  swim tags role=db
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
