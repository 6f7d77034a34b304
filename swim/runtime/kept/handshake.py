"""What both ends of a kept stream need of this node: its part of the handshake, which members it knows, and
where it reports what the kernels say."""

from __future__ import annotations

from typing import Protocol

from swim.protocol.base.limits import keep_latest
from swim.protocol.node import Node
from swim.runtime.kept.mail import Mail
from swim.runtime.network import Connection, Connections
from swim.runtime.turns import Turns
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
        self.turns = Turns()
        """In which is understood what comes on all of these streams."""
        self._node = node
        self._lines: dict[str, tuple[bytes, bytes]] = {}
        """By name: a process, and its line, told where only that process can be."""

    def new_channel(self, *, opener: bool) -> KeptChannel:
        """One end of a new stream."""
        return self._node.codec.kept_channel(opener=opener)

    @property
    def opening(self) -> bytes:
        """See `Codec.kept_opening`."""
        return self._node.codec.kept_opening

    def hello(self, to: str, *, opener: bool = False) -> Hello:
        """This node's own, for a new stream."""
        memory = b"" if opener else self.mail.memory(to)
        session = self.mail.random_bytes(SESSION_SIZE)
        return Hello(self._node.name, self._node.boot.encode(), session, to, self.mail.line(to), memory)

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

    def proves(self, hello: Hello, connection: Connection) -> bool:
        """Can only this member have opened this stream to this node?

        Without keys anybody can say HELLO in its name, but a connection comes from its address only if its
        host has opened it. One that comes from elsewhere, as many-homed hosts open them, has to show the line
        that the member itself has told at its address, in answer to a stream that this node opened.
        """
        member = self._node.member(hello.name)
        if member is None or self._node.codec.keyed:
            return member is not None
        if connection.peer.host == member.address.host:
            return True
        return bool(hello.line) and self._lines.get(hello.name) == (hello.boot, hello.line)

    def learn(self, hello: Hello) -> None:
        """A member has said this at its address."""
        self._lines.pop(hello.name, None)
        self._lines[hello.name] = hello.boot, hello.line
        keep_latest(self._lines, self._node.config.kept_streams_max)

    def member(self, name: str) -> Member | None:
        """The present member of this name."""
        return self._node.member(name)

    def version_of(self, name: str) -> object:
        """Another object whenever something is new about the member of this name."""
        return self._node.version_of(name)

    def process(self, name: str, boot: bytes) -> Member | None:
        """The present member of this name, if it is this process and not one that was started after it."""
        return self._node.member(name) if self.present(name, boot) else None

    def present(self, name: str, boot: bytes) -> bool:
        """Whether there is such a member."""
        known = self._node.boot_of(name)
        return known is not None and known.encode() == boot

    def name_at(self, address: Address) -> str | None:
        """The member that has this address now."""
        member = self._node.member_at(address)
        return None if member is None else member.name
