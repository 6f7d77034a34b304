"""Leases on names, joined to a node: what its holder tells, what its grantor hears, how that is sent."""

from __future__ import annotations

import math
from dataclasses import replace

from swim.config import Config
from swim.protocol.base.context import Context, Part
from swim.protocol.leadership.post import Post, digest_people
from swim.protocol.leadership.rule import LeaderRule
from swim.protocol.leadership.terms import Terms
from swim.protocol.leases.grantor import Grantor
from swim.protocol.leases.holder import Change, Holder
from swim.protocol.view.identity import pack_id, unpack_id
from swim.protocol.view.table import Record
from swim.types import Member, Term
from swim.wire.leases import LeaseEntry, LeaseKind, LeaseMessage

__all__ = ["Leases", "session_length", "token_text"]

_HEAD_SIZE = 120
"""Of a message but for its entries, at most."""
_ROUNDS_MAX = 16
"""Of what this node says to itself and answers, before others have their turn."""
_FIRST_GAP_S = 0.05
_TERM_SIZE = 16


def session_length(config: Config) -> float:
    """Seconds that a holder keeps its names without an answer of the leader: two leases at least, so that it
    outlives a change of the leader."""
    return max(config.session, 2 * config.lease)


def token_text(token: bytes) -> str:
    """The fencing token of a lease: as text it compares with others of its name."""
    return f"{unpack_id(token[:_TERM_SIZE])}.{int.from_bytes(token[_TERM_SIZE:], 'big'):013}"


class Leases(Part):
    """The leases of one node. `tenure`: its own terms as leader. Where these are derived, what the
    detector says of a process counts."""

    def __init__(self, context: Context, post: Post, leadership: LeaderRule, tenure: Terms) -> None:
        super().__init__(context)
        self.session = session_length(self._config)
        self._room = self._config.packet_size_max - self._outbox.codec.packet_overhead - _HEAD_SIZE
        self.holder = Holder(self.session, self._room)
        self.grantor = Grantor(self.session, self._config.leases_max)
        self._post = post
        self._leadership = leadership
        self._tenure = tenure
        self._derived = tenure.derived
        self._leader = ""
        """The name of the one that the holder tells."""
        self._now = -math.inf
        self._version = -1
        """Of the table, the leader and the term, as they were looked at last."""
        self._followed: Member | None = None
        self._term: Term | None = None
        self._due = math.inf
        self._stirred = False
        """There may be something to send, or another time at which something is due."""
        self._ask_at, self._ask_gap = math.inf, _FIRST_GAP_S

    # --- what the application does

    def want(self, name: str, limit: int, owned: bool, now: float) -> int:
        """Ask for a name that `limit` uses may have at once; returns the id of this use."""
        self._now, self._stirred = now, True
        return self.holder.want(name, limit, owned, now)

    def release(self, id: int, now: float) -> None:
        """This use is over, its clean-up included."""
        self._now, self._stirred = now, True
        self.holder.release(id, now)

    def ask_owner(self, name: str, now: float) -> int:
        """See `Holder.ask_owner`."""
        self._now, self._stirred = now, True
        return self.holder.ask_owner(name, now)

    def take_owner(self, question: int) -> str | None:
        """See `Holder.take_owner`."""
        return self.holder.take_owner(question)

    def drop_question(self, question: int) -> None:
        """See `Holder.drop_question`."""
        self.holder.drop_question(question)

    @property
    def idle(self) -> bool:
        """See `Holder.idle`."""
        return self.holder.idle

    def take_changes(self) -> list[Change]:
        """Drain what the application has to know."""
        drained, self.holder.changes = self.holder.changes, []
        return drained

    def counts(self) -> dict[str, int]:
        """See `CoreStatistics.leases`."""
        held, wanted = self.holder.count()
        books = self.grantor.books
        now = {"held": held, "wanted": wanted, "granted": books.granted, "waiting": books.waiting}
        return {**now, "moved": self.grantor.moved, "lost": self.grantor.lost}

    # --- following

    def update(self, now: float) -> None:
        """Follow which member leads, and which are there; do what is due. (It is called after every packet.
        Mostly nothing has changed.)"""
        self._now = now
        term = self._tenure.term if now < self._tenure.term_ends else None
        version, leader = self._table.version, self._leadership.leader
        if term is not self._term or leader is not self._followed or version != self._version:
            self._term, self._followed, self._version = term, leader, version
            self._follow(now)
        if now >= self._due:
            self._stirred = True
        if self._stirred:
            if now >= self.holder.deadline():
                self.holder.tick(now)
            self._grant_due(now)

    def _follow(self, now: float) -> None:
        self._stirred = True
        self._follow_term(now)
        self._follow_leader(now)
        if self._derived and self.grantor.term:
            self._forget_ended(now)

    def _grant_due(self, now: float) -> None:
        if self.grantor.term and now >= self.grantor.deadline():
            self.grantor.tick(now)

    def _follow_term(self, now: float) -> None:
        packed = b"" if self._term is None else pack_id(self._term.token)
        if packed != self.grantor.term:
            if packed:
                self.grantor.begin(packed, min(now, self._tenure.earlier))
            else:
                self.grantor.end()
            self._ask_at, self._ask_gap = math.inf, _FIRST_GAP_S

    def _follow_leader(self, now: float) -> None:
        """One that does not act any more is told as before until there is another one."""
        leader, term = self._leadership.leader, ""
        if self.grantor.term:
            self._leader = self._name
            self.holder.follow(self.grantor.term, now)
            return
        if leader is not None and leader.name != self._name:
            term = self._leadership.token or ""
        if leader is not None and term:
            self._leader = leader.name
            self.holder.follow(pack_id(term), now)
        elif (
            (record := self._table.get(self._leader)) is None
            or not record.present
            or record.name == self._name
        ):
            self.holder.follow(b"", now)

    def _forget_ended(self, now: float) -> None:
        """Without voters the detector's word counts."""
        for session in list(self.grantor.books.sessions.values()):
            record = self._table.get(session.member)
            if record is None or not record.present or record.boot != session.boot:
                self.grantor.forget(session.process, now)

    def _ask_holders(self, now: float) -> None:
        """A process waits, and without voters all holders are known: when they all have told, grant."""
        if not self._derived or not self.grantor.awaited:
            self._ask_at = math.inf
            return
        told = dict.fromkeys(self.grantor.told.values())
        missing = [record for record in self._table.present() if record.own and record.name not in told]
        if not missing:
            self.grantor.end_pause(now)
        elif now >= (0.0 if self._ask_at == math.inf else self._ask_at):
            self._ask_at = now + self._ask_gap
            self._ask_gap = min(2 * self._ask_gap, self.session / 6)
            for record in missing:
                tell = LeaseMessage(self.grantor.term, entries=(LeaseEntry(LeaseKind.TELL),))
                self._send(tell, record, b"")

    def _wake(self, now: float) -> None:
        """`update`, which follows every timer, has done what was due."""

    def stop(self) -> None:
        """This node is no member any more."""
        self.grantor.end()
        self.holder.follow(b"", self._now)
        self._due = math.inf
        self._timers.cancel("leases")

    # --- sending

    def flush(self) -> None:
        """Send what is to be said since the last time: drained as a whole, many entries share a packet."""
        if not self._stirred:
            return
        self.update(self._now)
        self._stirred = False
        now = self._now
        for _ in range(_ROUNDS_MAX):  # what this node says to itself may have answers
            messages = self.holder.flush(now)
            self._ask_holders(now)
            self._grant_due(now)
            answers = self.grantor.flush(self._room, self._age_ms(now)) if self.grantor.answers else []
            if not messages and not answers:
                break
            leader = self._table.get(self._leader)
            for message in messages:
                if leader is not None:
                    self._send(message, leader, b"")
            for process, member, message in answers:
                record = self._table.get(member)
                if record is not None:
                    self._send(message, record, process)
        self._arm()

    def _age_ms(self, now: float) -> int:
        return math.ceil(1000 * max(0.0, now - self._tenure.backed))

    def _arm(self) -> None:
        self._due = min(self.holder.deadline(), self.grantor.deadline(), self._ask_at)
        if self._due == math.inf:
            self._timers.cancel("leases")
        elif self._due != self._timers.when("leases"):
            self._timers.set("leases", self._due, self._wake)

    def _send(self, message: LeaseMessage, to: Record, process: bytes) -> None:
        message = replace(message, process=self._post.process)
        if to.name == self._name:
            self._take(message, to, self._now)
            return
        between = self._between(message, self._name, to.name, process)
        self._outbox.send(to.address, replace(message, between=between))

    def _between(self, message: LeaseMessage, source: str, target: str, process: bytes) -> bytes:
        label, place = self._outbox.codec.label, message.term.hex()
        return digest_people(label, source, message.process, target, process, place)

    # --- receiving

    def receive(self, message: LeaseMessage, sender: Record, now: float) -> None:
        """A message of another member of our own, which may be meant for another process, or forged."""
        self._stirred = True
        self.update(now)
        if message.process == self._post.process or not message.process:
            self._outbox.drop("lease-reflected")
            return
        asked = any(entry.kind is LeaseKind.TELL for entry in message.entries)
        target = b"" if message.session_ms or asked else self._post.process
        if message.between != self._between(message, sender.name, self._name, target):
            self._outbox.drop("lease-for-another")
            return
        self._take(message, sender, now)

    def _take(self, message: LeaseMessage, sender: Record, now: float) -> None:
        if message.session_ms:
            if not message.term or message.term != self.grantor.term or len(message.numbers) != 1:
                self._outbox.drop("lease-term")
            elif self._derived and not sender.present:
                self._outbox.drop("stranger")
            else:
                self.grantor.receive(message, sender.name, sender.boot, now)
        elif message.term != self.holder.term or sender.name != self._leader:
            self._outbox.drop("lease-term")
        else:
            self.holder.receive(message, now)
