"""What can go wrong, as the application sees it. Every message says what to change."""

from __future__ import annotations

__all__ = ["AddressInUse", "JoinError", "KeyringError", "NameConflict", "SwimError", "TagsError"]


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
