"""Which news changes what is known of a member: the one table of update precedence.

SWIM section 4.2, with memberlist's rules where they differ: an alive of equal incarnation does not clear a
suspicion, and a death stands until the member itself answers with a higher incarnation. The table compares
news of *one* process (one boot); for two processes under one name see `Membership`.
"""

from __future__ import annotations

from swim.types import MemberState

__all__ = ["TABLE", "can_change"]

_ALIVE, _SUSPECT = MemberState.ALIVE, MemberState.SUSPECT
_DEAD, _LEFT = MemberState.DEAD, MemberState.LEFT

NEVER, NEWER, SAME_OR_NEWER = "never", "newer", "same or newer"

#              news:      alive   suspect         dead            left
# known as
_ROWS = {
    _ALIVE: (NEWER, SAME_OR_NEWER, SAME_OR_NEWER, SAME_OR_NEWER),
    _SUSPECT: (NEWER, NEWER, SAME_OR_NEWER, SAME_OR_NEWER),
    _DEAD: (NEWER, NEVER, NEVER, NEVER),
    _LEFT: (NEWER, NEVER, NEVER, NEVER),
}

TABLE: dict[tuple[MemberState, MemberState], str] = {
    (known, news): rule
    for known, rules in _ROWS.items()
    for news, rule in zip((_ALIVE, _SUSPECT, _DEAD, _LEFT), rules, strict=True)
}
"""(what is known, what the news says) -> the incarnation that the news needs."""


def can_change(known: MemberState, known_incarnation: int, news: MemberState, incarnation: int) -> bool:
    """Does this news change what is known?"""
    rule = TABLE[known, news]
    if rule == NEVER:
        return False
    return incarnation > known_incarnation or (rule == SAME_OR_NEWER and incarnation == known_incarnation)
