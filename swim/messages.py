"""What `Cluster.messages` yields.

>>> import swim, trio
>>> async def tell(messages: swim.MessageStream) -> None:
...     match await anext(messages):
...         case swim.DirectMessage(sender, payload):
...             print(sender.name, "says", payload)
...         case swim.Broadcast(sender, name, payload):
...             print(sender and sender.name, "tells all:", name, payload)
...         case swim.Lagged(count):
...             print(count, "broadcasts were missed")
>>> async def main():
...     async with (
...         swim.open_cluster("ann", bind="127.0.0.1:0") as ann,
...         swim.open_cluster("bob", bind="127.0.0.1:0", seeds=[str(ann.address)]) as bob,
...         bob.messages() as messages,
...     ):
...         await ann.wait_for(lambda cluster: cluster.member("bob"))
...         await ann.send("bob", b"for you alone")
...         await tell(messages)
...         ann.broadcast("deploy", b"version 7")
...         await tell(messages)
>>> trio.run(main)
ann says b'for you alone'
ann tells all: deploy b'version 7'
"""

from __future__ import annotations

from dataclasses import dataclass

from swim.types import Member

__all__ = ["Answer", "Broadcast", "DirectMessage", "Lagged", "Message"]


@dataclass(frozen=True, slots=True)
class DirectMessage:
    """What `sender` has sent to this node alone, with `Cluster.send`."""

    sender: Member
    payload: bytes


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What `sender` has sent to all, with `Cluster.broadcast`.

    None: a Serf user event, which does not name its sender; or its sender is no member any more.
    """

    sender: Member | None
    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What one member has said to `Cluster.query`."""

    member: Member
    payload: bytes | None
    """None: it gave no answer, for this `problem`."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Lagged:
    """Here so many broadcasts are missing, because the reader was too slow. Direct messages never are."""

    count: int


Message = DirectMessage | Broadcast | Lagged
