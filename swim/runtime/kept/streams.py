"""Streams that are kept open to the members that this node observes, so that their kernels speak for them.

And, for a while, to members to which it sends messages, or packets where UDP is silent. Otherwise nothing is
sent on a kept stream unless the other end asks. See `opener` and `acceptor` for the two ends
of one, and `stream` for what they have in common.
"""

from __future__ import annotations

from math import inf

import trio

from swim.protocol.node import Node, Phase
from swim.runtime.kept.acceptor import Acceptor
from swim.runtime.kept.handshake import Handshake, Reports
from swim.runtime.kept.mail import Mail
from swim.runtime.kept.opener import Opener
from swim.runtime.kept.sending import SendWindow
from swim.runtime.network import Connection, Connections
from swim.types import Address
from swim.wire import DecodeError
from swim.wire.kept import Hello

__all__ = ["KeptStreams"]

_LOOK_INTERVAL = 1.0
_TIDY_INTERVAL = 30.0
_STAGGER = 0.02
"""Between two that are opened: not all at once."""
_DOUBTFUL_MAX = 16
"""Members at a time whose addresses are asked because of what others say: so many a second."""


class KeptStreams:
    """All kept streams of one node: those that it opens, and those that others open to it."""

    def __init__(self, node: Node, connections: Connections, reports: Reports, mail: Mail) -> None:
        self._node = node
        self._connections = connections
        self._reports = reports
        self._mail = mail
        self._handshake = Handshake(node, connections, reports, mail)
        self._openers: dict[Address, Opener] = {}
        self._acceptors: dict[str, Acceptor] = {}
        self._doubtful: dict[Address, None] = {}
        """Members in whose names streams were opened from elsewhere: are they their own?"""
        self._now = trio.lowlevel.current_clock().current_time
        self._next_look = self._next_tidying = -inf

    # --- those that this node opens
    def look(self, nursery: trio.Nursery, *, at_once: bool = False) -> None:
        """Open what the node wants and close what it does not want any more.

        Does little most times: once a second is enough, unless it is to be `at_once`.
        """
        now = self._now()
        if (now < self._next_look and not at_once) or self._node.phase is not Phase.MEMBER:
            return
        self._next_look = now + _LOOK_INTERVAL
        wanted = self._node.streams_to_keep(self._reports.now())
        for address, opener in list(self._openers.items()):
            opener.leave_predecessor()
            opener.follow(address in wanted, now)
        missing = [address for address in (*wanted, *self._doubtful) if address not in self._openers]
        self._doubtful.clear()
        for place, address in enumerate(dict.fromkeys(missing)):
            self._keep(address, place * _STAGGER, nursery).wanted = address in wanted
        self._count_lost(self._mail.look(now))
        self._remind()
        if now >= self._next_tidying:
            self._next_tidying = now + _TIDY_INTERVAL
            self._tidy()

    def carry(self, window: SendWindow, nursery: trio.Nursery) -> bool:
        """See to it that a stream carries these messages; whether one does already."""
        member = self._node.member(window.member.name)
        if member is None:
            return False
        opener = self._openers.get(member.address) or self._keep(member.address, 0.0, nursery)
        return opener.carry(window)

    def post(self, packet: bytes, address: Address, nursery: trio.Nursery) -> None:
        """Send a packet over the stream with this address, whichever end opened it, or open one."""
        opener, acceptor = self._openers.get(address), None
        if opener is None or not opener.established:
            name = self._handshake.name_at(address)
            acceptor = None if name is None else self._acceptors.get(name)
            if acceptor is not None and not self._handshake.present(acceptor.name, acceptor.boot):
                acceptor = None  # of a process that was there before the member
        if acceptor is not None:
            acceptor.post(packet)
        else:
            (opener or self._keep(address, 0.0, nursery)).post(packet)

    def lose(self, name: str, why: str) -> None:
        """What is on its way to this member will not arrive."""
        self._count_lost(self._mail.lose(name, why))
        given_up = self._mail.given_up
        self._mail.forget(name)
        if self._mail.given_up > given_up:
            self._connections.drop("unread-of-gone", self._mail.given_up - given_up)

    def _count_lost(self, messages: int) -> None:
        if messages:
            self._connections.drop("send-unacknowledged", messages)

    def probe(self, address: Address, nursery: trio.Nursery) -> None:
        """Ask the kernel there: by a probe on the stream, or by opening one."""
        opener = self._openers.get(address) or self._keep(address, 0.0, nursery)
        opener.probe(nursery)

    def _keep(self, address: Address, delay: float, nursery: trio.Nursery) -> Opener:
        opener = self._openers[address] = Opener(self._handshake, address, self.lose)
        nursery.start_soon(self._run, opener, delay)
        return opener

    @trio.lowlevel.enable_ki_protection
    async def _run(self, opener: Opener, delay: float) -> None:
        try:
            await opener.run(delay)
        finally:
            del self._openers[opener.address]

    def hang_up(self) -> None:
        """End all streams: this machine has not the address any more that is one end of each of them."""
        for opener in self._openers.values():
            opener.end()
        for acceptor in self._acceptors.values():
            acceptor.scope.cancel()

    def hosts(self) -> set[str]:
        """Where members are that this node has a stream with: they are known, and answer."""
        hosts = {opener.address.host for opener in self._openers.values() if opener.established}
        acceptors = [member for member in map(self._node.member, self._acceptors) if member is not None]
        return hosts | {acceptor.address.host for acceptor in acceptors}

    # --- those that others open
    async def accept(self, connection: Connection, data: bytes) -> Acceptor | None:
        """Shake hands with the opener of a stream; `data` is what has arrived behind the opening.

        None when it cannot stay.
        """
        acceptor = Acceptor(self._handshake, connection, self._refusal)
        try:
            while not await acceptor.shake_hands(data):
                data = await connection.read()
                if not data:
                    return None
        except DecodeError as error:
            self._connections.drop(f"kept-{error.reason}")
            return None
        return acceptor if acceptor.welcome else None

    def _refusal(self, hello: Hello, connection: Connection) -> str | None:
        """Why this opener cannot stay."""
        refusal = self._handshake.refusal(hello)
        if refusal is not None:
            return refusal
        if len(self._acceptors) >= self._node.config.kept_streams_max and hello.name not in self._acceptors:
            return "kept-max"
        if self._handshake.proves(hello, connection):
            return None
        member = self._handshake.member(hello.name)
        assert member is not None
        if len(self._doubtful) < _DOUBTFUL_MAX:
            self._doubtful[member.address] = None
        return "kept-host"

    async def attend(self, acceptor: Acceptor) -> None:
        """Keep the stream that another has opened until either side closes it. There is one for each name."""
        earlier, self._acceptors[acceptor.name] = self._acceptors.get(acceptor.name), acceptor
        if earlier is not None:
            earlier.scope.cancel()
        try:
            await acceptor.stay()
        finally:
            if self._acceptors.get(acceptor.name) is acceptor:
                del self._acceptors[acceptor.name]
        acceptor.report_end()

    def _remind(self) -> None:
        """A process that was given up and is back has to know that: it does when it opens a stream again."""
        for acceptor in list(self._acceptors.values()):
            present = self._handshake.present(acceptor.name, acceptor.boot)
            if present and acceptor.memory != self._mail.memory(acceptor.name):
                acceptor.scope.cancel()

    def _tidy(self) -> None:
        """A process that is no member any more, or has a successor, may not have been able to say goodbye."""
        for acceptor in list(self._acceptors.values()):
            if not self._handshake.present(acceptor.name, acceptor.boot):
                acceptor.scope.cancel()
