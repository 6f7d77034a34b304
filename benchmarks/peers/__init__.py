"""Programs that speak the agent's JSON lines (swim/cli/README.md): ours, and others to compare with it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.record import swim_version

__all__ = ["Absent", "Peer", "find_peer", "find_peers"]


AGENT = (sys.executable, "-m", "swim.cli", "agent", "--json")


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that can be started: `command` and then the options of the agent."""

    kind: str
    command: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Absent:
    """A peer that this machine lacks, and the command that installs it."""

    kind: str
    reason: str
    install: str

    def __str__(self) -> str:
        return f"{self.kind} is skipped: {self.reason}; install it with: {self.install}"


def find_peer(kind: str) -> Peer | Absent:
    """Look for the peer, building it if need be. `kind` is `swim`, `memberlist`, or `swim@DIR`.

    The last one is another checkout of swim, to compare this one with.
    """
    if kind == "swim":
        return _find_swim()
    if kind.startswith("swim@"):
        return _find_checkout(Path(kind.removeprefix("swim@")))
    if kind == "memberlist":
        from benchmarks.peers import memberlist

        return memberlist.find()
    raise ValueError(f"unknown peer {kind!r}: choose from swim, swim@DIR, memberlist")


def find_peers(kinds: str) -> tuple[list[Peer], list[str]]:
    """Those that are there, of `kinds` (comma-separated); and why the others are skipped, which is told."""
    found = [find_peer(kind) for kind in kinds.split(",")]
    skipped = [str(peer) for peer in found if isinstance(peer, Absent)]
    print(*skipped, sep="\n", end="\n" if skipped else "", flush=True)
    return [peer for peer in found if isinstance(peer, Peer)], skipped


def _find_swim() -> Peer | Absent:
    from importlib.util import find_spec

    missing = [module for module in ("swim.cli", "click", "rich") if find_spec(module) is None]
    if missing:
        return Absent("swim", f"{missing[0]} cannot be imported", 'pip install -e ".[cli]"')
    return Peer("swim", AGENT, swim_version())


def _find_checkout(directory: Path) -> Peer | Absent:
    found = _find_swim()
    if isinstance(found, Absent):
        return found
    version = swim_version(directory)
    there = ("env", "-C", str(directory), f"PYTHONPATH={directory}")
    return Peer(f"swim {version}", (*there, *AGENT), version)
