"""The voters, and how long a lease lasts: numbered, since a running cluster may change them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import msgpack

from swim.protocol.view.identity import is_minted, pack_id, unpack_id
from swim.types import Address
from swim.wire.dialect import U32, UNPACK_ERRORS
from swim.wire.leadership import SETUP_SIZE_MAX

__all__ = ["ABSENT", "Configuration", "counted", "founding_configuration", "read_configuration"]

_DIGEST_SIZE = 4
_PROMISED, _COUNTED = 0.99, 0.97
"""Of a lease, by the clock of the voter and by that of the asker: why so much, see `lease`."""
_VOTERS_MAX = 64
ABSENT = "\0"
"""Before the name of an old voter of which it is not known whether it lives: no member has such a name."""


@dataclass(frozen=True)
class Configuration:
    """The voters, and the length of the lease in milliseconds. With no voters there is no lease.

    All nodes of a cluster are started with the same one, number 0. A change has the next number, and the
    token of the leader that makes it: of two with one number the later leader's counts. `root` tells
    the changes of one founding configuration from those of another.

    While it is changed there are `old` voters as well: a majority of each list has to grant the lease. A name
    that is `bound` is a voter at this address only.
    """

    voters: tuple[str, ...]
    length_ms: int
    number: int = 0
    token: str = ""
    old: tuple[str, ...] = ()
    bound: tuple[tuple[str, str], ...] = ()
    root: bytes = b""

    @property
    def rank(self) -> tuple[int, str]:
        """Of two with one root, the higher one counts."""
        return self.number, self.token

    @property
    def length(self) -> float:
        """Of a lease, in seconds."""
        return self.length_ms / 1000

    @property
    def promised(self) -> float:
        """For how long a voter promises the lease to nobody else, in seconds by its own clock."""
        return self.length * _PROMISED

    @property
    def counted(self) -> float:
        """For how long an asker counts such a promise from when it asked, in seconds by its own clock."""
        return counted(self.length)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All members that vote, each once."""
        return tuple(name for name in dict.fromkeys(self.voters + self.old) if not name.startswith(ABSENT))

    @cached_property
    def digest(self) -> bytes:
        """Equal for the same names, in whatever order."""
        lists = sorted(self.voters), sorted(self.old), sorted(self.bound)
        content = repr((*lists, self.length_ms, self.number, self.token, self.root)).encode()
        return blake2b(content, digest_size=_DIGEST_SIZE).digest()

    @cached_property
    def tag(self) -> str:
        """How a member shows its configuration; nothing without voters."""
        return f"{self.digest.hex()}.{self.number}"[:16] if self.voters else ""

    def counts(self, name: str, address: Address) -> bool:
        """Does the member at this address vote under this name?"""
        place = dict(self.bound).get(name)
        return name in self.names and place in (None, str(address))

    def majority_until(self, until: Mapping[str, float]) -> float:
        """Until when a majority (of both lists) has promised something, if each does until its time."""
        return min((_majority_until(names, until) for names in self.lists), default=-math.inf)

    def majority(self, says: Callable[[str], bool]) -> bool:
        """Does a majority (of each list) say so?"""
        return self.majority_until({name: math.inf for name in self.names if says(name)}) > 0

    @property
    def lists(self) -> list[tuple[str, ...]]:
        """Of each, a majority has to agree."""
        return [names for names in (self.voters, self.old) if names]

    def pack(self) -> bytes:
        """See `read_configuration`."""
        fields = [
            list(self.voters),
            self.length_ms,
            self.number,
            pack_id(self.token),
            list(self.old),
            [list(pair) for pair in self.bound],
            self.root,
        ]
        packed: bytes = msgpack.packb(fields)
        return packed

    def describe(self) -> str:
        """For people."""
        if not self.voters:
            return "no voters"
        names = f"({', '.join(self.voters)})"
        if self.old:
            names += f", until now ({', '.join(self.old)})"
        return f"{names}, a lease of {self.length:g} s, configuration {self.number}"


def _majority_until(names: Iterable[str], until: Mapping[str, float]) -> float:
    times = sorted((until.get(name, -math.inf) for name in names), reverse=True)
    return times[len(times) // 2]


def counted(length: float) -> float:
    """How much of something that was granted for so long its holder counts, from when it asked for it."""
    return length * _COUNTED


def founding_configuration(voters: Iterable[str], length: float) -> Configuration:
    """The one that a node is started with."""
    made = Configuration(tuple(dict.fromkeys(voters)), round(length * 1000))
    return Configuration(made.voters, made.length_ms, root=made.digest)


def read_configuration(packed: bytes) -> Configuration | None:
    """What `pack` made; None for anything else."""
    try:
        voters, length_ms, number, token, old, bound, root = msgpack.unpackb(packed)
        pairs = tuple((name, place) for name, place in bound)
    except (*UNPACK_ERRORS, TypeError, ValueError):
        return None
    texts = [voters, old, *map(list, pairs)]
    if not all(isinstance(each, list) and len(each) <= _VOTERS_MAX for each in texts):
        return None
    if not all(isinstance(text, str) and text for each in texts for text in each):
        return None
    numbers = isinstance(length_ms, int) and isinstance(number, int)
    if not numbers or not 0 < length_ms <= U32 or not 0 <= number <= U32:
        return None
    if not isinstance(token, bytes) or not isinstance(root, bytes) or len(root) > _DIGEST_SIZE:
        return None
    told = unpack_id(token) or ""
    if (token and not is_minted(told)) or len(packed) > SETUP_SIZE_MAX:
        return None
    if any(len(dict.fromkeys(names)) != len(names) for names in (voters, old)):
        return None
    return Configuration(tuple(voters), length_ms, number, told, tuple(old), pairs, root)
