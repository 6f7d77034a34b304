"""Where each message of a packet goes, and what it may do, which depends on its sender."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import keep_latest
from swim.protocol.detector.freshness import Freshness
from swim.protocol.detector.polls import Polls
from swim.protocol.detector.probing import Probing
from swim.protocol.detector.streamed import Streamed
from swim.protocol.detector.suspicion import Suspicion
from swim.protocol.exchange.strangers import Strangers
from swim.protocol.exchange.sync import Sync
from swim.protocol.gossip.broadcasts import Broadcasts
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.membership.asking import Asking
from swim.protocol.membership.links import OwnLinks
from swim.protocol.membership.updates import Membership
from swim.protocol.view.table import Record
from swim.types import Address
from swim.wire.leases import LeaseMessage
from swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    LeaderKind,
    LeaderMessage,
    Message,
    Nack,
    ObserverKind,
    ObserverMessage,
    Ping,
    PingReq,
    Suspect,
    UserMessage,
)

__all__ = ["Reception"]

_ALIASES_MAX = 1_024
"""Other addresses of members that are remembered: see `_learn_alias`."""
_QUESTIONS = Ping, PingReq, ObserverMessage, LeaderMessage, LeaseMessage
"""Messages that may have an answer."""
_QUESTIONS_MAX = 8
"""Of one packet. To answer costs far more than to ask, and no honest sender has so many questions at once."""
_ALSO_OF_ABSENT = LeaderKind.WOULD, LeaderKind.GRANT, LeaderKind.REFUSE, LeaderKind.RELEASE
"""Messages that are of use whatever became of their sender: a farewell may overtake a release."""


class Reception(Part):
    """Reads packets. Members are told from strangers by the address that a packet comes from."""

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        links: OwnLinks,
        membership: Membership,
        asking: Asking,
        probing: Probing,
        suspicion: Suspicion,
        polls: Polls,
        sync: Sync,
        hear_leader_message: Callable[[LeaderMessage, Record, float], None],
        leased: Callable[[LeaseMessage, Record, float], None],
        broadcasts: Broadcasts,
        freshness: Freshness,
        streamed: Streamed,
    ) -> None:
        super().__init__(context)
        self.open = False
        """See `begin`."""
        self._own = own
        self._links = links
        self._membership = membership
        self._probing = probing
        self._suspicion = suspicion
        self._polls = polls
        self._sync = sync
        self._hear_leader_message = hear_leader_message
        self._leased = leased
        self._broadcasts = broadcasts
        self._freshness = freshness
        self._streamed = streamed
        self._strangers = Strangers(context, membership, asking, believed=self._gossip)
        self._aliases: dict[Address, str] = {}

    def begin(self) -> None:
        """This node has become a member, which judges others."""
        self.open = True

    def end(self) -> None:
        """This node leaves."""
        self.open = False

    def receive(
        self, messages: Iterable[Message], source: Address, size: int, now: float, *, streamed: bool = False
    ) -> bool:
        """The messages of one packet of so many bytes, which came over the member's kept stream or not.

        Whether anything may be new: not after pings of strangers, of which there may be very many.
        """
        if streamed:
            self._streamed.received(messages, self._table.at(source), now)
        start, asked, new = len(self._outbox.datagrams), 0, False
        for message in messages:
            if isinstance(message, Alive):
                if self._membership.knows(message):
                    continue  # most news has been heard before, and should cost nothing
            elif isinstance(message, _QUESTIONS):
                asked += 1
                if asked > _QUESTIONS_MAX:
                    self._outbox.drop("answers-max")
                    continue
            sender = self._sender(source)  # anew each time: the one before may have introduced it
            if sender is not None or not isinstance(message, Ping):
                new = True
            elif asked > 1 and self._said_since(start) > size:
                self._outbox.drop("amplification")  # the answer would be trimmed
                continue
            self._receive(message, sender, source, now, streamed)
        self._trim(start, size, source)
        return new

    def _said_since(self, start: int) -> int:
        """Bytes of the datagrams from that one on."""
        return sum(len(data) for data, _ in self._outbox.datagrams[start:])

    def _trim(self, start: int, size: int, source: Address) -> None:
        """Addresses that are no member's, and may be forged, get no more than came in."""
        datagrams = self._outbox.datagrams
        if len(datagrams) == start:
            return
        stranger = self._sender(source) is None
        for index in range(len(datagrams) - 1, start - 1, -1):
            data, address = datagrams[index]
            if stranger if address is source else self._sender(address) is None:
                size -= len(data)
                if size < 0:
                    self._outbox.drop("amplification")
                    del datagrams[index]

    def _sender(self, source: Address) -> Record | None:
        """The member that sends from this address."""
        record = self._table.at(source)
        if record is None and source in self._aliases:
            record = self._table.get(self._aliases[source])
        return record

    def knows(self, source: Address) -> bool:
        """Is this a member's address?"""
        return self._table.at(source) is not None or source in self._aliases

    def _learn_alias(self, source: Address, name: str) -> None:
        """A member answered our ping from another address than it advertises (NAT, several cards)."""
        self._aliases[source] = name
        keep_latest(self._aliases, _ALIASES_MAX)

    def _receive(
        self, message: Message, sender: Record | None, source: Address, now: float, streamed: bool
    ) -> None:
        match message:
            case Ping():
                self._ping(message, sender, source, now, streamed)
            case Ack():
                name = self._probing.receive_ack(message, now, streamed=streamed)
                if name is not None and sender is None:
                    self._learn_alias(source, name)
            case Alive() | Suspect() | Dead():
                self._gossip(message, source, now)
            case PingReq():
                if sender is None:
                    self._outbox.drop("stranger")
                else:
                    self._probing.receive_ping_req(message, source, now)
            case ObserverMessage():
                self._observer_message(message, now)
            case LeaderMessage():
                self._leader_message(message, sender, source, now)
            case LeaseMessage():
                self._lease(message, sender, source, now)
            case Nack():
                name = self._probing.receive_nack(message, now)
                if name is not None:
                    self._suspicion.refused(name, now)
            case UserMessage() if self._own.record is not None:
                self._broadcasts.receive(message, sender, now)
            case UserMessage():
                self._outbox.drop("user")

    def _ping(self, ping: Ping, sender: Record | None, source: Address, now: float, streamed: bool) -> None:
        self._probing.receive_ping(ping, sender, source, now, streamed=streamed)
        if sender is None or not self.open:
            return
        fresh = sender.name != self._name and self._freshness.ping(sender, ping)
        if fresh:
            self._links.heard(now)
        if sender.solo and fresh:
            self._membership.answered_after_all(sender.name, now)
        elif sender.present:
            self._sync.compare(ping.view, sender, now)

    def _gossip(self, news: Alive | Suspect | Dead, source: Address, now: float) -> None:
        """News is believed from members. A stranger may introduce itself first (`Strangers`)."""
        if self._own.record is None:
            return
        if self._sender(source) is None:
            self._strangers.receive(news, source, now)
        elif isinstance(news, Alive):
            self._membership.alive(news, now, source)
        elif isinstance(news, Suspect):
            self._membership.suspect(news, now)
        else:
            self._membership.dead(news, now, source)

    def _observer_message(self, message: ObserverMessage, now: float) -> None:
        author = self._freshness.author(message)
        about = self._table.get(message.node)
        if author is None or not self.open:
            return
        if about is None or message.incarnation < about.incarnation:
            return
        if message.process != about.packed_boot:
            self._outbox.drop("observer-process")
            return
        if not about.present:
            if about.solo:
                self._polls.say_given_up(author.name, message, about, now)
            else:  # it is settled already
                self._membership.correct(author.address, about.as_dead(self._name), now)
            return
        match message.kind:
            case ObserverKind.HINT:
                self._suspicion.hint(author.name, message, now)
            case ObserverKind.POLL:
                self._suspicion.polled(author.name, message, now)
            case ObserverKind.LOSSY:
                self._polls.asked_lossy(author.name, message, now)
            case ObserverKind.AGREE | ObserverKind.VETO | ObserverKind.LOOKING:
                self._polls.heard(author.name, message, now)

    def _leader_message(
        self, message: LeaderMessage, sender: Record | None, source: Address, now: float
    ) -> None:
        if sender is None or not sender.own or not self.open:
            self._outbox.drop("stranger")
            return
        # One that this node alone has given up may speak as before. But what is repeated, or comes from a
        # forged address, must not bring it back: only a fresh ping, or an answer, does.
        absent = not sender.present and not sender.solo
        if absent and message.kind not in _ALSO_OF_ABSENT:
            self._membership.correct(source, sender.as_dead(self._name), now)
            return
        self._hear_leader_message(message, sender, now)

    def _lease(self, message: LeaseMessage, sender: Record | None, source: Address, now: float) -> None:
        """A member that the others gave up may hold a name nevertheless; it is told what is said of it."""
        if sender is None or not sender.own or not self.open:
            self._outbox.drop("stranger")
            return
        if not sender.present and not sender.solo:
            self._membership.correct(source, sender.as_dead(self._name), now)
        self._leased(message, sender, now)
