"""The commands that a running agent carries out: what they are called, and what people are told of them.

They come over the agent's standard input (with `--json`) and over its local socket (`swim VERB ..`); each is
a function in `swim.cli.commands`. Nothing is imported here, so that `swim --help` is quick.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VERBS", "Verb"]


@dataclass(frozen=True, slots=True)
class Verb:
    """One command."""

    form: str
    """As people write it, without its name."""
    about: str
    """One sentence."""
    words: int | None = None
    """How many arguments it has, if the last of them is text with spaces; None: any number of words."""
    waits: bool = False
    """It may take its time. Of those that come over standard input, the ones with the same first argument are
    carried out one after the other, and no other command waits for them."""

    def shaped(self, arguments: list[str]) -> list[str]:
        """The words of a command line, those of the text at the end as one."""
        if self.words is None or len(arguments) <= self.words:
            return arguments
        return [*arguments[: self.words - 1], " ".join(arguments[self.words - 1 :])]


VERBS = {
    "join": Verb("HOST[:PORT] ..", "Join this cluster as well: the two become one.", waits=True),
    "tags": Verb("[KEY=VALUE ..]", "Replace all tags of the node; without any, it has none."),
    "meta": Verb("TEXT", "Set the tag `meta`, and keep the others.", words=1),
    "keys": Verb("KEY|@FILE ..", "Replace the keyring; the first key seals."),
    "send": Verb("MEMBER TEXT", "Send a direct message.", words=2, waits=True),
    "broadcast": Verb("NAME TEXT", "Send a message to all.", words=2),
    "request": Verb("MEMBER TOPIC [TEXT]", "Ask one member, and show what it answers.", words=3, waits=True),
    "query": Verb(
        "NAME [TEXT]", "Ask all members, and gather what their scripts answer.", words=2, waits=True
    ),
    "hold": Verb(
        "NAME [LIMIT]", "Hold a name, as a lock of the whole cluster, until `release` or Ctrl-C.", waits=True
    ),
    "own": Verb(
        "NAME ..",
        "Offer the node for these names, until `release` or Ctrl-C: one of all that do owns each.",
        waits=True,
    ),
    "release": Verb("NAME ..", "Give up what this node holds, owns or waits for by these names."),
    "owner": Verb(
        "[NAME]", "Which member has a name; without one, of the leader: who has what.", words=1, waits=True
    ),
    "voters": Verb("[NAME ..]", "The voters; with names, have these members vote from now on.", waits=True),
    "explain": Verb("MEMBER", "What this node knows of a member's health.", words=1),
    "leave": Verb("", "Leave gracefully; when no node is left, the process ends with status 0."),
    "force-leave": Verb(
        "MEMBER", "Give up a member that has failed for good: nobody looks for it any more.", 1
    ),
    "kill-node": Verb("", "Stop the node without a word, for drills."),
}
