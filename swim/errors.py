"""What can go wrong, as the application sees it. Every message says what to change."""

from __future__ import annotations

from swim.types import Member

__all__ = [
    "AddressInUse",
    "JoinError",
    "KeyringError",
    "NameConflict",
    "PayloadTooLarge",
    "SendError",
    "SwimError",
    "TagsError",
]


class SwimError(Exception):
    """The base of every error that this library raises on its own account."""


class JoinError(SwimError):
    """The cluster could not be joined, and trying again unchanged would not help."""


class NameConflict(SwimError):
    """Another live member has this node's name. Names must be unique in a cluster."""


class AddressInUse(SwimError, OSError):
    """The address to bind to is taken by another process."""


class TagsError(SwimError, ValueError):
    """Tags that cannot be carried: too large together, or not text."""


class KeyringError(SwimError, ValueError):
    """A key of the wrong length, an empty keyring, or `cryptography` is not installed."""


class SendError(SwimError):
    """A message cannot reach `member`: it is none, it is gone, or it cannot be reached.

    `member` is the name, where there is no such member. Of the messages that were sent to it before,
    `unacknowledged` may or may not have arrived.
    """

    def __init__(self, message: str, member: Member | str, unacknowledged: int = 0) -> None:
        super().__init__(message)
        self.member = member
        self.unacknowledged = unacknowledged


class PayloadTooLarge(SwimError, ValueError):
    """A message, or the name and payload of a broadcast, has more bytes than the limit, which it names."""
