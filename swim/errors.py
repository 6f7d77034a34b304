"""What can go wrong, as the application sees it. Every message says what to change.

>>> import swim, trio
>>> async def attempt(error, **options):
...     try:
...         async with swim.open_cluster(**{"bind": "127.0.0.1:0"} | options):
...             print("that went well")
...     except swim.SwimError as problem:
...         assert isinstance(problem, error)
...         print(error.__name__)
>>> async def main():
...     async with swim.open_cluster("a", bind="127.0.0.1:0") as a:
...         await attempt(swim.NameConflict, name="a", seeds=[str(a.address)])
...         await attempt(swim.AddressInUse, bind=str(a.address))
...         await attempt(swim.JoinError, seeds=["192.0.2.1:7946"])  # from there nobody reaches loopback
...         await attempt(swim.TagsError, tags={"motto": "x" * 600})
...         await attempt(swim.KeyringError, keys=[b"too short"])
...         try:
...             a.broadcast("news", bytes(600))
...         except swim.PayloadTooLarge as problem:
...             print("PayloadTooLarge")
...         try:
...             await a.send("nobody", b"hello")
...         except swim.SendError as problem:
...             print("SendError", problem.member, problem.unacknowledged)
...         async def divide(sender: swim.Member, payload: bytes) -> bytes:
...             return b"%d" % (100 // int(payload))
...         async with a.serve("divide", divide):
...             print(await a.request("a", b"7", topic="divide"))
...             try:
...                 await a.request("a", b"0", topic="divide")
...             except swim.RequestError as problem:
...                 print("RequestError", problem.error)
...         try:
...             await a.set_voters(["a"])  # it was founded without
...         except swim.VotersError as problem:
...             print("VotersError")
...         try:
...             async with a.hold("gpu", limit=2), a.hold("gpu", limit=3):
...                 pass
...         except swim.LeaseRefused as problem:
...             print("LeaseRefused")
...         try:
...             async with a.hold("invoice/42"):
...                 await a.leave()
...         except swim.LeaseLost as problem:
...             print("LeaseLost")
>>> trio.run(main)
NameConflict
AddressInUse
JoinError
TagsError
KeyringError
PayloadTooLarge
SendError nobody 0
b'14'
RequestError ZeroDivisionError
VotersError
LeaseRefused
LeaseLost
"""

from __future__ import annotations

from swim.text import printable
from swim.types import Lease, Member

__all__ = [
    "AddressInUse",
    "JoinError",
    "KeyringError",
    "LeaseLost",
    "LeaseRefused",
    "NameConflict",
    "PayloadTooLarge",
    "RequestError",
    "SendError",
    "SwimError",
    "TagsError",
    "VotersError",
]


class SwimError(Exception):
    """The base of every error that this library raises on its own account.

    Its text may be shown to people: what others have said in it is made printable.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(arg) if isinstance(arg, str) else arg for arg in args))


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


class RequestError(SwimError):
    """A request was not carried out, or not to its end: at `member` its handler raised an exception.

    `error` is the name of that exception's class, `reason` its text. "Cancelled": the topic ceased to be
    served meanwhile. "Unserved": it was not served for two seconds. What the handler has
    done until then is not undone.
    """

    def __init__(self, member: Member, error: str, reason: str) -> None:
        super().__init__(f"{member.name} could not do it: {error}: {reason}")
        self.member = member
        self.error = printable(error)
        self.reason = printable(reason)


class LeaseLost(SwimError):
    """The name of `lease` is not held any more: the block that held it was cancelled. It says why."""

    def __init__(self, message: str, lease: Lease) -> None:
        super().__init__(message)
        self.lease = lease


class LeaseRefused(SwimError):
    """The leader does not grant this name to this node, now or later: it says why."""


class PayloadTooLarge(SwimError, ValueError):
    """A message, or the name and payload of a broadcast, has more bytes than the limit, which it names."""


class VotersError(SwimError):
    """The voters were not changed: it says why."""
