"""The `swim` command (extra `cli`: click and rich)."""

from __future__ import annotations

import sys

__all__ = ["main"]

_MISSING = 'swim: the command line needs click and rich: pip install "trio-swim[cli]"'


def main() -> None:
    """The console script. Everything is imported here, so that a missing extra is one clear line."""
    try:
        import click as _click  # noqa: F401  (only to see whether it is there)
        import rich as _rich  # noqa: F401
    except ModuleNotFoundError:
        print(_MISSING, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        from swim.cli.root import cli

        cli.main(prog_name="swim")
    except KeyboardInterrupt:  # before a command took over the signal
        sys.exit(130)
