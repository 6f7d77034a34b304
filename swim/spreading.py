"""Work spread over members: all agree on which member does what, without asking each other."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from swim.types import Member

__all__ = ["rendezvous"]


def rendezvous(key: str | bytes, members: Iterable[Member]) -> Member:
    """The member that serves this key: the same one wherever the same members are known.

    Highest random weight (Thaler and Ravishankar 1998): each member draws a number from the key and its name,
    and the highest wins. So every member has its fair share of many keys; when one goes, only its keys move,
    evenly to the others; when one comes, it takes its share evenly from all, and nothing else moves. A member
    that is started again under its name has its keys again.

    >>> import swim
    >>> members = [swim.Member(name, swim.Address("10.0.0.1", 7946)) for name in ("a", "b", "c")]
    >>> [swim.rendezvous(key, members).name for key in ("user/1", "user/2", "user/3")]
    ['a', 'a', 'b']

    Raises ValueError when there are no members.
    """
    seed = key.encode(errors="surrogateescape") if isinstance(key, str) else key
    state = blake2b(len(seed).to_bytes(8, "big") + seed, digest_size=16)

    def weight(member: Member) -> tuple[bytes, str]:
        drawn = state.copy()
        drawn.update(member.name.encode())
        return drawn.digest(), member.name

    chosen = max(members, key=weight, default=None)
    if chosen is None:
        raise ValueError(f"there is no member to serve {key!r}")
    return chosen
