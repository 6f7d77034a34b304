"""What both ends of a kept stream need of this node: its part of the handshake, which members it knows, and
where it reports what the kernels say."""

from __future__ import annotations

from typing import Protocol

from swim.protocol.node import Node
from swim.runtime.kept.mail import Mail
from swim.runtime.network import Connection, Connections
from swim.types import Address, Member
from swim.wire.kept import SESSION_SIZE, Hello, KeptChannel

__all__ = ["Handshake", "Reports"]


class Reports(Protocol):
    """Hears what kernels say; see the same verbs of `Node`."""

    def now(self) -> float:
        """The time that the node is told."""

    def receive_kernel_answer(self, address: Address) -> None:
        """It took something from us."""

    def receive_refusal(self, address: Address) -> None:
        """No process listens there."""

    def receive_stream_end(self, name: str, boot: bytes) -> None:
        """The stream with this process of a member ended, and this node had no part in that."""

    def receive_stream_packet(self, packet: bytes, name: str, boot: bytes) -> None:
        """A packet came over the stream with this process of a member."""


class Handshake:
    """What this node says of itself at the beginning of a stream, and what it knows of the other end."""

    def __init__(self, node: Node, connections: Connections, reports: Reports, mail: Mail) -> None:
        self.connections = connections
        self.reports = reports
        self.mail = mail
        self._node = node

    def new_channel(self, *, opener: bool) -> KeptChannel:
        """One end of a new stream."""
        return self._node.codec.kept_channel(opener=opener)

    @property
    def opening(self) -> bytes:
        """See `Codec.kept_opening`."""
        return self._node.codec.kept_opening

    def hello(self, to: str, *, opener: bool = False) -> Hello:
        """This node's own, for a new stream."""
        line, memory = (self.mail.line(to), b"") if opener else (b"", self.mail.memory(to))
        session = self.mail.random_bytes(SESSION_SIZE)
        return Hello(self._node.name, self._node.boot.encode(), session, to, line, memory)

    def refusal(self, hello: Hello) -> str | None:
        """Why this opener cannot stay."""
        if hello.to != self._node.name:
            return "kept-name"  # of the member that had this address before
        if self._node.member(hello.name) is None:
            return "kept-stranger"
        boot = self._node.boot_of(hello.name)
        if boot is None or hello.boot != boot.encode():
            return "kept-boot"  # made up (each has a window of its own), or not known yet: it tries again
        return None

    def comes_from(self, stream: Connection, name: str) -> bool:
        """Can only this member be at the other end of a stream that was opened to this node?

        Without keys anybody can say HELLO in its name, but a connection comes from its address only if its
        host has opened it. To a stream that this node opens itself, it is the member's address that answers.
        """
        member = self._node.member(name)
        if member is None or self._node.codec.keyed:
            return member is not None
        return stream.peer.host == member.address.host

    def member(self, name: str) -> Member | None:
        """The present member of this name."""
        return self._node.member(name)

    def process(self, name: str, boot: bytes) -> Member | None:
        """The present member of this name, if it is this process and not one that was started after it."""
        known = self._node.boot_of(name)
        return None if known is None or known.encode() != boot else self._node.member(name)

    def name_at(self, address: Address) -> str | None:
        """The member that has this address now."""
        member = self._node.member_at(address)
        return None if member is None else member.name
