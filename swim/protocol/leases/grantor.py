"""What the leader does with what it is told of names. Messages and `now` go in, answers come out.

See the package's description for why it is safe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from swim.protocol.leases.balance import SETTLE_S, choose, next_move
from swim.protocol.leases.books import Books, NameUses, Session, Use, group_of
from swim.wire.leases import LeaseEntry, LeaseKind, LeaseMessage, LeaseRefusal, paged, size_of_entry

__all__ = ["Answers", "Grantor"]

_FRESH = 0.5
"""Of a session: one that waits and has not been heard for so long is passed over."""
LIMIT_MAX = 65_535
"""Holders of one name at once."""
_COUNTER_SIZE = 8
_ANSWER_SIZE = 20
"""Bytes of the number of an answer, and of what stands around it."""


@dataclass(slots=True)
class Answer:
    """To one message: what it refuses must not get lost, or else it would seem to be granted."""

    number: int
    unknown: bool = False
    refused: list[LeaseEntry] = field(default_factory=list)


@dataclass(slots=True)
class Answers:
    """For one process, until they are sent."""

    member: str
    answers: list[Answer] = field(default_factory=list)
    entries: list[LeaseEntry] = field(default_factory=list)
    """What can be said at any time, in any message."""


class Grantor:
    """The leader's side, for one term at a time. `session`: seconds; `names_max`: of all that is granted, and
    four times that of what waits; one process may have a quarter of `names_max`."""

    def __init__(self, session: float, names_max: int) -> None:
        self.books = Books()
        self.term = b""
        """Packed; empty while this node does not lead."""
        self.paused_until = -math.inf
        self.told: dict[bytes, str] = {}
        """In the pause: the members that have told all that they hold, by process."""
        self.answers: dict[bytes, Answers] = {}
        self.moved = self.lost = 0
        """Counted since this node began: moves, and grants that ran out."""
        self._session = session
        self._fresh = _FRESH * session
        self._names_max = names_max
        self._counter = 0
        self._questioned = False
        """In the pause: a process has asked which member holds a name."""
        self._released: dict[bytes, None] = {}
        self._unsettled: dict[str, float] = {}
        """Groups that may have to be balanced, and when."""

    # --- terms

    def begin(self, term: bytes, earlier: float) -> None:
        """This node leads from now on, and knows nothing of what was granted before: which is over a session
        after `earlier`, unless it is renewed."""
        self.end()
        self.term = term
        self.paused_until = earlier + self._session

    def end(self) -> None:
        """This node does not lead any more."""
        self.term, self.paused_until, self._counter = b"", -math.inf, 0
        self.books, self._questioned = Books(), False
        for memory in (self.told, self.answers, self._released, self._unsettled):
            memory.clear()

    @property
    def paused(self) -> bool:
        """Holders may be unknown yet: nothing is granted."""
        return self.paused_until > -math.inf

    @property
    def awaited(self) -> bool:
        """Does anybody wait for the end of the pause?"""
        return self.paused and (self.books.waiting > 0 or self._questioned)

    def end_pause(self, now: float) -> None:
        """All that is held is known, or over."""
        self.paused_until = -math.inf
        self._released.clear()
        self.told.clear()
        for name in list(self.books.names):
            self._pump(name, now)

    # --- what members say

    def receive(self, message: LeaseMessage, member: str, boot: str | None, now: float) -> None:
        """A message of this process, in this term."""
        session = self.books.session(message.process, member, boot)
        answer = Answer(message.numbers[0])
        self._answers(session).answers.append(answer)
        foreign = message.session_ms != round(self._session * 1000)
        for entry in message.entries:
            if foreign and entry.kind in (LeaseKind.WANT, LeaseKind.HOLD):
                _refuse(answer, entry, LeaseRefusal.SESSION)
            else:
                self._take(session, entry, answer, now)
        if message.digest and session.digest(message.bound) == message.digest:
            self._renew(session, message.bound, answer.number, now)
        elif message.digest:
            answer.unknown = True
        if not session.uses:
            self.books.sessions.pop(session.process, None)

    def _take(self, session: Session, entry: LeaseEntry, answer: Answer, now: float) -> None:
        match entry.kind:
            case LeaseKind.WANT:
                self._want(session, entry, answer, now)
            case LeaseKind.HOLD:
                if not self._hold(session, entry, answer.number, now):
                    _refuse(answer, entry)
            case LeaseKind.RELEASE:
                self._release(session, entry, now)
            case LeaseKind.WHO:
                self._say_owner(session, entry)
            case LeaseKind.TOLD:
                self.told[session.process] = session.member

    def _want(self, session: Session, entry: LeaseEntry, answer: Answer, now: float) -> None:
        use = session.uses.get(entry.id)
        if use is None:
            refusal = self._objection(session, entry)
            if refusal is not LeaseRefusal.NONE:
                _refuse(answer, entry, refusal)
                return
            use = Use(session, entry.id, entry.name, now, answer.number)
            self.books.add(use, entry.number, entry.owned, now)
            session.due = min(session.due, now + self._session)
            if entry.owned:
                self._look_at(group_of(entry.name), session.offered[group_of(entry.name)] + SETTLE_S)
        elif use.token:
            self._say_granted(use)  # the answer was lost: the same once more, counted from then
            return
        self._heard(use, answer.number, now)

    def _heard(self, use: Use, number: int, now: float) -> None:
        """A use that waits is told of again: it keeps its place."""
        uses, silent = self.books.names[use.name], now - use.heard >= self._fresh
        if number >= use.number:
            use.number, use.heard = number, now
        if self._free(uses):
            self._pump(use.name, now)
        elif silent and uses.owned:
            self._look_at(group_of(use.name), now)

    def _objection(self, session: Session, entry: LeaseEntry) -> LeaseRefusal:
        """Why this name is not granted to this process."""
        uses = self.books.names.get(entry.name)
        if not entry.name or not 1 <= entry.number <= LIMIT_MAX or (entry.owned and entry.number != 1):
            return LeaseRefusal.DIFFERS
        if uses is not None and (uses.limit, uses.owned) != (entry.number, entry.owned):
            return LeaseRefusal.DIFFERS
        if len(session.uses) >= max(1, self._names_max // 4):
            return LeaseRefusal.MEMBER_FULL
        full = uses is None and len(self.books.names) >= self._names_max
        return LeaseRefusal.FULL if full or len(self.books) >= 5 * self._names_max else LeaseRefusal.NONE

    def _hold(self, session: Session, entry: LeaseEntry, number: int, now: float) -> bool:
        """Does this process have the name, by that token? In the pause it is believed that it does."""
        use = session.uses.get(entry.id)
        if use is not None and use.token == entry.token:
            use.until = max(use.until, now + self._session)
            if use.moving_to is not None:
                self._say(session, LeaseKind.MOVE, use.id, use.token)
            return True
        earlier = entry.token[:-_COUNTER_SIZE] != self.term and entry.token not in self._released
        if self.paused and earlier and self._objection(session, entry) is LeaseRefusal.NONE:
            uses = self.books.names.get(entry.name)
            if use is None and (uses is None or self._free(uses)):
                use = Use(session, entry.id, entry.name, now, number)
                self.books.add(use, entry.number, entry.owned, now)
                self.books.grant(use, entry.token, now + self._session)
                return True
        return False

    def _release(self, session: Session, entry: LeaseEntry, now: float) -> None:
        if self.paused and entry.token and len(self._released) < self._names_max:
            self._released[entry.token] = None
        use = session.uses.get(entry.id)
        if use is not None and (not entry.token or use.token == entry.token):
            self._over(use, now)
        self._say(session, LeaseKind.FREED, entry.id)

    def _renew(self, session: Session, bound: int, number: int, now: float) -> None:
        for use in list(session.uses.values()):
            if use.id > bound:
                continue
            if not use.token:
                self._heard(use, number, now)
                continue
            use.until = max(use.until, now + self._session)
            if use.moving_to is not None:
                self._say(session, LeaseKind.MOVE, use.id, use.token)

    # --- granting

    def _free(self, uses: NameUses) -> bool:
        """May one more have this name?"""
        return len(uses.granted) < uses.limit

    def _pump(self, name: str, now: float) -> None:
        """Grant a name, as long as it is free and a present process waits for it."""
        while not self.paused and (uses := self.books.names.get(name)) is not None and self._free(uses):
            fresh = (use for use in uses.waiting.values() if now - use.heard < self._fresh)
            use = choose(fresh, name) if uses.owned else next(fresh, None)
            if use is None:
                return
            self._counter += 1
            token = self.term + self._counter.to_bytes(_COUNTER_SIZE, "big")
            self.books.grant(use, token, use.heard + self._session)
            self._say_granted(use)
            if uses.owned:
                self._look_at(group_of(name), now)

    def _over(self, use: Use, now: float) -> None:
        """A use has ended: the next one that waits has its turn."""
        owned = self.books.names[use.name].owned
        self.moved += use.moving_to is not None
        self.books.remove(use)
        self._pump(use.name, now)
        if owned:
            self._look_at(group_of(use.name), now)

    def forget(self, process: bytes, now: float) -> None:
        """This process has ended."""
        session = self.books.sessions.get(process)
        for use in list(session.uses.values()) if session is not None else []:
            self._over(use, now)
        self.answers.pop(process, None)
        self.told.pop(process, None)

    # --- balance

    def _look_at(self, group: str, when: float) -> None:
        self._unsettled[group] = min(when, self._unsettled.get(group, math.inf))

    def _balance(self, now: float) -> None:
        due = [group for group, when in self._unsettled.items() if when <= now]
        for group in due if not self.paused else ():
            del self._unsettled[group]
            while (move := next_move(self.books, group, now, self._fresh)) is not None:
                use, successor = move
                self.books.move(use, successor)
                self._say(use.session, LeaseKind.MOVE, use.id, use.token)
            later = [
                session.offered[group] + SETTLE_S
                for session in self.books.sessions.values()
                if now < session.offered.get(group, -math.inf) + SETTLE_S
            ]
            if later:
                self._look_at(group, min(later))

    # --- time

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.paused and now >= self.paused_until:
            self.end_pause(now)
        for session in [each for each in self.books.sessions.values() if each.due <= now]:
            self._expire(session, now)
        self._balance(now)

    def _expire(self, session: Session, now: float) -> None:
        for use in list(session.uses.values()):
            if self._ends(use) <= now:
                self.lost += bool(use.token)
                self._over(use, now)
        session.due = min(map(self._ends, session.uses.values()), default=math.inf)

    def _ends(self, use: Use) -> float:
        return use.until if use.token else use.heard + self._session

    def deadline(self) -> float:
        """When `tick` is to be called next. (Asked after every packet, mostly when nothing is granted.)"""
        if self.paused:
            due = self.paused_until
        else:
            due = min(self._unsettled.values()) if self._unsettled else math.inf
        if self.books.sessions:
            due = min(due, *(session.due for session in self.books.sessions.values()))
        return due

    # --- answers

    def flush(self, room: int, age_ms: int) -> list[tuple[bytes, str, LeaseMessage]]:
        """What is to be said to which process of which member, in messages with `room` bytes of entries. An
        answer and what it refuses stay together. `age_ms`: see `LeaseMessage`."""
        messages = []
        for process, each in self.answers.items():
            pieces: list[tuple[int, Answer | LeaseEntry]] = [
                (_ANSWER_SIZE + sum(map(size_of_entry, answer.refused)), answer) for answer in each.answers
            ]
            pieces += [(size_of_entry(entry), entry) for entry in each.entries]
            for page in paged(pieces, room):
                answers = [piece for piece in page if isinstance(piece, Answer)]
                entries = [entry for answer in answers for entry in answer.refused]
                entries += [piece for piece in page if isinstance(piece, LeaseEntry)]
                message = LeaseMessage(
                    self.term,
                    numbers=tuple(answer.number for answer in answers),
                    entries=tuple(entries),
                    unknown=tuple(answer.number for answer in answers if answer.unknown),
                    age_ms=age_ms,
                )
                messages.append((process, each.member, message))
        self.answers = {}
        return messages

    def _answers(self, session: Session) -> Answers:
        return self.answers.setdefault(session.process, Answers(session.member))

    def _say(self, session: Session, kind: LeaseKind, id: int, token: bytes = b"", number: int = 0) -> None:
        self._answers(session).entries.append(LeaseEntry(kind, id, token=token, number=number))

    def _say_granted(self, use: Use) -> None:
        self._say(use.session, LeaseKind.GRANT, use.id, use.token, use.number)

    def _say_owner(self, session: Session, entry: LeaseEntry) -> None:
        """Of several holders the one that has had it for the longest."""
        holder = min(self.books.holders(entry.name), key=lambda use: use.token, default=None)
        if holder is None and self.paused:
            self._questioned = True
            return  # it is asked again
        member, token = ("", b"") if holder is None else (holder.session.member, holder.token)
        self._answers(session).entries.append(LeaseEntry(LeaseKind.OWNER, entry.id, member, token))

    def owners(self) -> dict[str, tuple[str, ...]]:
        """Every name that is held, and the members that hold it."""
        held = ((name, uses.granted.values()) for name, uses in self.books.names.items())
        return {name: tuple(use.session.member for use in uses) for name, uses in held if uses}


def _refuse(answer: Answer, entry: LeaseEntry, reason: LeaseRefusal = LeaseRefusal.NONE) -> None:
    answer.refused.append(LeaseEntry(LeaseKind.REFUSE, entry.id, token=entry.token, number=reason))
