"""What a leader knows: which process uses which name, by which token, and until when."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

__all__ = ["Books", "NameUses", "Session", "Use", "group_of", "share_of_digest"]

_DIGEST_SIZE = 8


def share_of_digest(id: int, token: bytes) -> int:
    """A use's share of the digest of a session: their exclusive or."""
    return int.from_bytes(blake2b(b"%d:" % id + token, digest_size=_DIGEST_SIZE).digest(), "big")


def group_of(name: str) -> str:
    """Names that are spread over nodes together: those with the same text before the last slash."""
    return name.rpartition("/")[0]


@dataclass(slots=True, eq=False)
class Use:
    """One use of a name by a process. It waits until it has a token."""

    session: Session
    id: int
    name: str
    heard: float
    """When the latest message that names it was received."""
    number: int
    """Of that message; once it is granted, of the one that the grant answers."""
    token: bytes = b""
    until: float = -math.inf
    """Of a grant: when it is over unless it is renewed."""
    moving_to: Session | None = None
    """Another one is to have it, and the holder is told so."""
    share: int = 0


@dataclass(slots=True, eq=False)
class NameUses:
    """All uses of one name."""

    limit: int
    owned: bool
    granted: dict[bytes, Use] = field(default_factory=dict)
    """By token."""
    waiting: dict[tuple[bytes, int], Use] = field(default_factory=dict)
    """In the order in which they came."""


@dataclass(slots=True, eq=False)
class Session:
    """One process, and all uses that it has."""

    process: bytes
    member: str
    boot: str | None
    uses: dict[int, Use] = field(default_factory=dict)
    due: float = math.inf
    """No use of it runs out before."""
    owned: dict[str, dict[int, Use]] = field(default_factory=dict)
    """What it has been granted to own, by group."""
    offered: dict[str, float] = field(default_factory=dict)
    """The groups of the names that it offers itself for, and since when."""

    def owns(self, group: str) -> int:
        """So many names of this group."""
        return len(self.owned.get(group, ()))

    def digest(self, bound: int) -> bytes:
        """Of all uses with ids up to `bound`."""
        mixed = 0
        for use in self.uses.values():
            if use.id <= bound:
                use.share = use.share or share_of_digest(use.id, use.token)
                mixed ^= use.share
        return mixed.to_bytes(_DIGEST_SIZE, "big")


class Books:
    """All sessions and names, kept consistent with each other."""

    def __init__(self) -> None:
        self.sessions: dict[bytes, Session] = {}
        self.names: dict[str, NameUses] = {}
        self.moving: dict[str, dict[tuple[bytes, int], Use]] = {}
        """By group: what its owner has been told to give up."""
        self.granted = 0
        self.waiting = 0

    def __len__(self) -> int:
        return self.granted + self.waiting

    def session(self, process: bytes, member: str, boot: str | None) -> Session:
        """Of this process; a new one if there is none."""
        session = self.sessions.get(process)
        if session is None:
            session = self.sessions[process] = Session(process, member, boot)
        session.boot = boot
        return session

    def add(self, use: Use, limit: int, owned: bool, now: float) -> None:
        """A use that waits."""
        uses = self.names.get(use.name)
        if uses is None:
            uses = self.names[use.name] = NameUses(limit, owned)
        self.sessions[use.session.process] = use.session
        use.session.uses[use.id] = use
        uses.waiting[use.session.process, use.id] = use
        self.waiting += 1
        if owned:
            use.session.offered.setdefault(group_of(use.name), now)

    def grant(self, use: Use, token: bytes, until: float) -> None:
        """A use that waits has the name from now on."""
        uses = self.names[use.name]
        del uses.waiting[use.session.process, use.id]
        uses.granted[token] = use
        use.token, use.until, use.share = token, until, 0
        use.session.due = min(use.session.due, until)
        self.waiting -= 1
        self.granted += 1
        if uses.owned:
            use.session.owned.setdefault(group_of(use.name), {})[use.id] = use

    def move(self, use: Use, to: Session) -> None:
        """Its owner is told to give it up for another one."""
        use.moving_to = to
        self.moving.setdefault(group_of(use.name), {})[use.session.process, use.id] = use

    def remove(self, use: Use) -> None:
        """This use is over."""
        session, uses = use.session, self.names[use.name]
        del session.uses[use.id]
        if use.token:
            del uses.granted[use.token]
            self.granted -= 1
            if uses.owned:
                self._disown(use)
        else:
            del uses.waiting[session.process, use.id]
            self.waiting -= 1
        if not uses.granted and not uses.waiting:
            del self.names[use.name]
        if not session.uses:
            self.sessions.pop(session.process, None)

    def _disown(self, use: Use) -> None:
        group, process = group_of(use.name), use.session.process
        del use.session.owned[group][use.id]
        self.moving.get(group, {}).pop((process, use.id), None)

    def holders(self, name: str) -> Iterator[Use]:
        """The uses that have the name."""
        uses = self.names.get(name)
        return iter(uses.granted.values() if uses is not None else ())
