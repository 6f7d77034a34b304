"""Where agents listen on this machine: one Unix socket for each process, for its own user only."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

__all__ = ["default_path", "find_agent", "open_socket", "remove_socket"]

_PATH_MAX = 107
"""Bytes that Linux allows (unix(7))."""
_BACKLOG = 64


def _directory() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "swim" if runtime else Path(tempfile.gettempdir()) / f"swim-{os.getuid()}"


def default_path(name: str) -> Path:
    """The socket of the agent of this name, of this user."""
    return _directory() / f"{quote(name, safe='@:')}.sock"


def find_agent(named: str | None) -> Path:
    """Of the agent of this name, at this path (it begins with / or .), or the only one that runs.

    Raises ValueError, which says what there is.
    """
    if named is not None and named.startswith(("/", ".")):
        return Path(named)
    running = [path for path in sorted(_directory().glob("*.sock")) if _answers(path)]
    names = ", ".join(unquote(path.stem) for path in running)
    if not running:
        raise ValueError(f"no agent of this user runs here (none listens in {_directory()}); see --agent")
    if named is not None:
        if default_path(named) not in running:
            raise ValueError(f"no agent {named!r} of this user runs here, only: {names}")
        return default_path(named)
    if len(running) > 1:
        raise ValueError(f"several agents run here: {names}; say which: --agent {unquote(running[0].stem)}")
    return running[0]


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # its queue is full: it is there
            return True
        except OSError:
            return False
        return True


def open_socket(path: Path) -> socket.socket:
    """A listening socket that only this user can reach; what a dead agent left there is removed.

    Raises OSError, with a text that says what to do.
    """
    if len(os.fsencode(path)) > _PATH_MAX:
        raise OSError(f"the path {path} has more than {_PATH_MAX} bytes: choose another one by --socket")
    if path.parent == _directory():
        _make_private(path.parent)
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(f"{path} is there, and is no socket: choose another path by --socket")
        if _answers(path):
            raise OSError(_taken(path))
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen at {path}: {error.strerror or error}") from None
    return listener


def _taken(path: Path) -> str:
    if path.parent == _directory():
        named = f"an agent named {unquote(path.stem)!r} runs here already: choose another --name"
        return f"{named}, or else another path by --socket (it listens at {path})"
    return f"another agent listens at {path}: choose another path by --socket, or --no-socket"


def remove_socket(listener: socket.socket, path: Path) -> None:
    """Close it, and remove its file."""
    listener.close()
    with suppress(OSError):
        path.unlink()


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OSError(f"{directory} is not a directory of this user alone: remove it, or use --socket")
