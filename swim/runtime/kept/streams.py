"""Streams that are kept open to the members that this node observes, so that their kernels speak for them.

And, for a while, to members to which it sends messages, or packets where UDP is silent. Otherwise nothing is
sent on a kept stream unless the other end asks. See `keeper` for the end that opens it, and `talk`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from math import inf

import trio

from swim.protocol.node import Node, Phase
from swim.runtime.kept.handshake import Handshake, Reports
from swim.runtime.kept.keeper import Keeper
from swim.runtime.kept.mail import Mail
from swim.runtime.kept.receiving import ReceiveWindow
from swim.runtime.kept.sending import SendWindow
from swim.runtime.kept.talk import PACKETS_MAX, Talk
from swim.runtime.network import Connection, Connections
from swim.types import Address, Member
from swim.wire import DecodeError
from swim.wire.kept import Data, Frame, Hello, Taken
from swim.wire.records import RecordReader

__all__ = ["Guest", "KeptStreams"]

_LOOK_INTERVAL = 1.0
_TIDY_INTERVAL = 30.0
_STAGGER = 0.02
_DOUBTFUL_MAX = 16
"""Members at a time whose addresses are asked because of what others say: so many a second."""
_RECORDS_AT_ONCE = 256
"""That are delivered in one turn: tens of thousands of small ones fit into what arrives together."""


class KeptStreams:
    """All kept streams of one node: those that it opens, and its guests."""

    def __init__(self, node: Node, connections: Connections, reports: Reports, mail: Mail) -> None:
        self._node = node
        self._connections = connections
        self._reports = reports
        self._mail = mail
        self._handshake = Handshake(node, connections, reports, mail)
        self._keepers: dict[Address, Keeper] = {}
        self._guests: dict[str, Guest] = {}
        self._doubtful: dict[Address, None] = {}
        """Members in whose names streams were opened from elsewhere: are they their own?"""
        self._next_look = self._next_tidying = -inf

    # --- those that this node opens
    def look(self, nursery: trio.Nursery, *, at_once: bool = False) -> None:
        """Open what the node wants and close what it does not want any more.

        Does little most times: once a second is enough, unless it is to be `at_once`.
        """
        now = trio.current_time()
        if (now < self._next_look and not at_once) or self._node.phase is not Phase.MEMBER:
            return
        self._next_look = now + _LOOK_INTERVAL
        wanted = self._node.streams_to_keep(self._reports.now())
        for address, keeper in list(self._keepers.items()):
            if not keeper.wanted or address not in wanted:
                keeper.follow(address in wanted, now)
        missing = [address for address in (*wanted, *self._doubtful) if address not in self._keepers]
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
        keeper = self._keepers.get(member.address) or self._keep(member.address, 0.0, nursery)
        return keeper.carry(window)

    def post(self, packet: bytes, address: Address, nursery: trio.Nursery) -> None:
        """Send a packet over the stream with this address, whichever end opened it, or open one."""
        keeper, guest = self._keepers.get(address), None
        if keeper is None or not keeper.established:
            name = self._handshake.name_at(address)
            guest = None if name is None else self._guests.get(name)
            if guest is not None and self._handshake.process(guest.name, guest.boot) is None:
                guest = None  # of a process that was there before the member
        if guest is not None:
            guest.post(packet)
        else:
            (keeper or self._keep(address, 0.0, nursery)).post(packet)

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
        keeper = self._keepers.get(address) or self._keep(address, 0.0, nursery)
        keeper.probe(nursery)

    def _keep(self, address: Address, delay: float, nursery: trio.Nursery) -> Keeper:
        keeper = self._keepers[address] = Keeper(self._handshake, address, self.lose)
        nursery.start_soon(self._run, keeper, delay)
        return keeper

    @trio.lowlevel.enable_ki_protection
    async def _run(self, keeper: Keeper, delay: float) -> None:
        try:
            await keeper.run(delay)
        finally:
            del self._keepers[keeper.address]

    def hang_up(self) -> None:
        """End all streams: this machine has not the address any more that is one end of each of them."""
        for keeper in self._keepers.values():
            keeper.end()
        for guest in self._guests.values():
            guest.scope.cancel()

    def hosts(self) -> set[str]:
        """Where members are that this node has a stream with: they are known, and answer."""
        hosts = {keeper.address.host for keeper in self._keepers.values() if keeper.established}
        guests = [member for member in map(self._node.member, self._guests) if member is not None]
        return hosts | {guest.address.host for guest in guests}

    # --- those that others open
    async def greet(self, stream: Connection, data: bytes) -> Guest | None:
        """Shake hands with the opener of a stream; `data` is what has arrived behind the opening.

        None when it cannot stay.
        """
        guest = Guest(self._handshake, stream, self._refusal)
        try:
            while not await guest.shake_hands(data):
                data = await stream.read()
                if not data:
                    return None
        except DecodeError as error:
            self._connections.drop(f"kept-{error.reason}")
            return None
        return guest if guest.welcome else None

    def _refusal(self, hello: Hello, stream: Connection) -> str | None:
        """Why this opener cannot stay."""
        refusal = self._handshake.refusal(hello)
        if refusal is not None:
            return refusal
        if len(self._guests) >= self._node.config.kept_streams_max and hello.name not in self._guests:
            return "kept-max"
        if self._handshake.proves(hello, stream):
            return None
        member = self._handshake.member(hello.name)
        assert member is not None
        if len(self._doubtful) < _DOUBTFUL_MAX:
            self._doubtful[member.address] = None
        return "kept-host"

    async def attend(self, guest: Guest) -> None:
        """Keep the stream of a guest until either side closes it. There is one for each name."""
        earlier, self._guests[guest.name] = self._guests.get(guest.name), guest
        if earlier is not None:
            earlier.scope.cancel()
        try:
            await guest.stay()
        finally:
            if self._guests.get(guest.name) is guest:
                del self._guests[guest.name]
        guest.report_end()

    def _remind(self) -> None:
        """A process that was given up and is back has to know that: it does when it opens a stream again."""
        for guest in list(self._guests.values()):
            present = self._handshake.process(guest.name, guest.boot) is not None
            if present and guest.memory != self._mail.memory(guest.name):
                guest.scope.cancel()

    def _tidy(self) -> None:
        """A process that is no member any more, or has a successor, may not have been able to say goodbye."""
        for guest in list(self._guests.values()):
            if self._handshake.process(guest.name, guest.boot) is None:
                guest.scope.cancel()


class Guest:
    """The end of a stream that another node keeps open to this one."""

    def __init__(
        self, handshake: Handshake, stream: Connection, refusal: Callable[[Hello, Connection], str | None]
    ) -> None:
        """`refusal`: why the opener cannot stay, once it has said HELLO."""
        self.scope = trio.CancelScope()
        self.welcome = True
        self.memory = b""
        """See `Hello.memory`."""
        self._handshake = handshake
        self._refusal = refusal
        self._packets = deque[bytes](maxlen=PACKETS_MAX)
        self._talk = Talk(handshake, stream, self._packets, opener=False)
        self._member: Member | None = None
        self._line = b""
        self._early: list[Frame] = []
        """What came together with the end of the handshake."""
        self._records = RecordReader()
        self._count = self._held = 0
        self._source: ReceiveWindow | None = None

    @property
    def name(self) -> str:
        return self._talk.name

    @property
    def boot(self) -> bytes:
        return self._talk.boot

    @property
    def stream(self) -> Connection:
        return self._talk.stream

    async def shake_hands(self, data: bytes) -> bool:
        """Whether that is done, one way or the other."""
        frames = await self._handshake.turns.call(lambda: self._talk.understand(data))
        self._early += frames
        for frame in frames:
            if isinstance(frame, Hello):
                self._member, self._line = self._handshake.member(frame.name), frame.line
                refusal = self._refusal(frame, self._talk.stream)
                if refusal is not None:
                    self._handshake.connections.drop(refusal)
                    self.welcome = False
                    return True
                hello = self._handshake.hello(frame.name)
                self.memory = hello.memory
                await self._talk.write(hello)
        return self._talk.channel.established

    def post(self, packet: bytes) -> None:
        """A packet for the opener."""
        self._packets.append(packet)
        self._talk.post()

    async def stay(self) -> None:
        """Until the stream ends."""
        talk = self._talk
        if not talk.stream.may_stay():
            self._handshake.connections.drop("kept-EMFILE")
            talk.say_bye()
            return
        talk.stream.keep_alive(opener=False)
        async with trio.open_nursery() as nursery:
            talk.nursery = nursery
            try:
                with self.scope:
                    await self._listen()
            finally:
                talk.nursery = None  # also when cancelled: another stream may have a packet for this one
                if self._source is not None:
                    self._hold(0)
                    self._source.detach()
            talk.say_bye()
            nursery.cancel_scope.cancel()

    def report_end(self) -> None:
        """See `Talk.report_end`."""
        self._talk.report_end()

    async def _listen(self) -> None:
        turns = self._handshake.turns
        try:
            await turns.run(self._receiving(self._early, b""))
            while data := await self._talk.read():
                await turns.run(self._receiving([], data))
        except DecodeError as error:
            self._handshake.connections.drop(f"kept-{error.reason}")

    def _receiving(self, frames: list[Frame], data: bytes) -> Generator[None, None, None]:
        """These frames, and those that the data complete, step by step. Raises DecodeError."""
        talk = self._talk
        while True:
            for frame in (*frames, *talk.understand(data)):
                if isinstance(frame, Data):
                    yield from self._taking(frame)
            self._hold(talk.channel.held + self._records.held)
            if not talk.channel.ready:
                return
            frames, data = [], b""
            yield

    def _taking(self, data: Data) -> Generator[None, None, None]:
        source, handshake = self._sourced(), self._handshake
        # Never as its successor's: it is named as it was when it was a member for the last time.
        self._member = handshake.process(self.name, self.boot) or self._member
        assert self._member is not None
        records = self._records.feed(data)
        self._hold(min(self._held, self._records.held))  # what is whole now is counted when it is received
        for number, record in records:
            source.receive(self._member, number, record)
            self._count += 1
            if self._count % _RECORDS_AT_ONCE == 0:
                yield

    def _hold(self, size: int) -> None:
        """So many bytes have come that are nothing whole yet: they count as what was not taken does."""
        if size != self._held:
            self._sourced().hold(size - self._held)
            self._held = size

    def _sourced(self) -> ReceiveWindow:
        talk = self._talk
        if self._source is None:
            self._source = self._handshake.mail.source(self.name, talk.boot, self._line).attach()
            assert talk.nursery is not None
            talk.nursery.start_soon(self._tell, self._source)
        return self._source

    @trio.lowlevel.enable_ki_protection
    async def _tell(self, source: ReceiveWindow) -> None:
        """Tell the sender what was taken."""
        try:
            while True:
                for number in await source.wait_to_tell():
                    await self._talk.write(Taken(number))
        except trio.BrokenResourceError:
            return
