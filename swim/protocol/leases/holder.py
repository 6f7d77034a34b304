"""What this process wants and holds. Verbs, answers and `now` go in, messages come out.

Every message has a number, and it is remembered when it was sent and what it told: so an answer, however
late, counts from then, and for no more than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from swim.protocol.leadership.configuration import counted
from swim.protocol.leases.books import share_of_digest
from swim.wire.leases import LeaseEntry, LeaseKind, LeaseMessage, LeaseRefusal, paged, size_of_entry

__all__ = ["Change", "Holder", "State"]

_RENEWALS = 6
"""In the length of a session."""
_CLEANUP = 1 / 12
"""Of a session: so much before a lease is over its use has to end, for what the application cleans up."""
_FIRST_GAP_S = 0.1
"""What has not been answered is said again after so long, then after twice as long, up to a renewal."""
_DIGEST_SIZE = 8


@dataclass(slots=True, eq=False)
class State:
    """One use of a name, as this process sees it."""

    id: int
    name: str
    limit: int
    owned: bool
    token: bytes = b""
    declined: bytes = b""
    """The last grant that came too late: the leader is told so, and it counts no more if it is said again."""
    until: float = -math.inf
    """When the lease is over, unless it is renewed."""
    answered: bool = False
    """The leader knows of it as it is now."""
    released: bool = False
    """It is over, and the leader is told so."""
    lost: bool = False
    """The application has been told that it has the name no more; it may still clean up."""
    moving: bool = False
    """The leader wants it for another one."""
    said: float = -math.inf
    """When the leader was told of it last."""
    share: int = 0

    @property
    def gone(self) -> bool:
        """The leader has said that this process does not have it: there is nothing to say of it."""
        return bool(self.token) and self.until == -math.inf and not self.released

    def entry(self) -> LeaseEntry:
        """What is to be said of it."""
        if self.released:
            return LeaseEntry(LeaseKind.RELEASE, self.id)
        kind = LeaseKind.HOLD if self.token else LeaseKind.WANT
        return LeaseEntry(kind, self.id, self.name, self.token, self.limit, self.owned)


class Change(NamedTuple):
    """What the application has to know of one use of a name.

    With a token this process has it, until `ends` unless that is moved ahead: it is to have stopped by then
    but for its clean-up. Without one it is over: given to another one (`moving`), refused, or else lost.
    """

    id: int
    token: bytes = b""
    ends: float = -math.inf
    moving: bool = False
    refusal: LeaseRefusal = LeaseRefusal.NONE


class _Told(NamedTuple):
    """What a message said, and when it was sent."""

    sent: float
    states: tuple[tuple[State, bytes], ...]
    """Uses, and the tokens that they had."""


class Holder:
    """The side of a process that uses names. `session`: seconds; `room`: bytes of entries in a message."""

    def __init__(self, session: float, room: int) -> None:
        self.states: dict[int, State] = {}
        self.changes: list[Change] = []
        self.term = b""
        """Of the leader that is followed, packed; empty while there is none."""
        self._session = session
        self._counted = counted(session)
        self._room = room
        self._ids = self._number = 0
        self._told: dict[int, _Told] = {}
        self._due: dict[int, None] = {}
        """Uses of which the leader is to be told now."""
        self._unwanted: list[LeaseEntry] = []
        """Releases of what was granted for nothing."""
        self._owners: dict[int, tuple[str, str | None]] = {}
        """Questions about names, and their answers."""
        self._gap = _FIRST_GAP_S
        self._renew_gap = _FIRST_GAP_S
        self._again = self._renew = self._soonest = math.inf
        """When to repeat what was not answered, to renew everything, and when the first lease runs out."""
        self._outgoing: list[LeaseMessage] = []
        self._reporting = False

    # --- verbs

    def want(self, name: str, limit: int, owned: bool, now: float) -> int:
        """Ask for a name; returns the id of this use. `owned`: the leader chooses the process that has it."""
        self._ids += 1
        self.states[self._ids] = State(self._ids, name, limit, owned)
        self._tell(self._ids, now)
        return self._ids

    def release(self, id: int, now: float) -> None:
        """The use has ended, its clean-up included; or it is not waited for any more."""
        state = self.states.get(id)
        if state is None or state.released:
            return
        state.released = True
        self._tell(id, now)

    def ask_owner(self, name: str, now: float) -> int:
        """Which member holds this name? Returns the number of the question, for `take_owner`."""
        self._ids += 1
        self._owners[self._ids] = name, None
        self._again = now
        return self._ids

    def take_owner(self, question: int) -> str | None:
        """The answer: a member's name, empty if none holds it; None while it is not known."""
        answer = self._owners[question][1]
        if answer is not None:
            del self._owners[question]
        return answer

    def drop_question(self, question: int) -> None:
        """No task waits for this answer any more."""
        self._owners.pop(question, None)

    def held(self, now: float) -> list[str]:
        """The names that this process has, sorted."""
        states = self.states.values()
        return sorted({each.name for each in states if each.token and not each.released and now < each.until})

    def count(self) -> tuple[int, int]:
        """How many names are held here, and how many are waited for."""
        held = sum(1 for state in self.states.values() if state.token and not state.released)
        return held, sum(1 for state in self.states.values() if not state.token and not state.released)

    @property
    def idle(self) -> bool:
        """The leader has been told of all that is over."""
        return not any(state.released for state in self.states.values()) and not self._unwanted

    # --- the leader

    def follow(self, term: bytes, now: float) -> None:
        """Another leader, or another term; or none. It is told everything."""
        if term == self.term:
            return
        self.term = term
        self._told.clear()
        self._unwanted.clear()
        self._reporting = False
        self._outgoing.clear()
        for state in self.states.values():
            state.answered = state.moving = False
            state.said, state.share = -math.inf, 0
        self._gap = self._renew_gap = _FIRST_GAP_S
        self._again = self._renew = now if term else math.inf

    def _tell(self, id: int, now: float) -> None:
        self.states[id].answered = False
        self._due[id] = None
        self._gap = _FIRST_GAP_S
        self._again = min(self._again, now + self._gap)
        self._renew = min(self._renew, now + self._session / _RENEWALS)

    def _tell_later(self, state: State, now: float) -> None:
        """After a while: what is asked at once, each time that a grant is declined, goes back and forth as
        fast as the network carries it while grants come too late, and a network that doubles packets
        multiplies it."""
        state.answered = False
        self._again = min(self._again, now + self._gap)

    def receive(self, message: LeaseMessage, now: float) -> None:
        """The answer of the leader that is followed, in its term. It counts from when the leader was told by
        this process, or from when it told its voters, if that was earlier."""
        age = message.age_ms / 1000
        for entry in message.entries:
            self._take(entry, age, now)
        for number in message.numbers:
            told = self._told.get(number)
            if told is not None:
                self._told[number] = told._replace(states=())
                self._answered(told, age, number in message.unknown, now)
        if self._reporting and self._all_known():
            self._reporting = False
            self._unwanted.append(LeaseEntry(LeaseKind.TOLD))

    def _answered(self, told: _Told, age: float, unknown: bool, now: float) -> None:
        """The leader has heard this message. What it did not refuse is as it was told, or is told anew."""
        self._renew_gap = _FIRST_GAP_S
        for state, token in told.states:
            if self.states.get(state.id) is not state or state.token != token or state.released:
                continue
            if unknown:
                self._tell(state.id, now)
                continue
            state.answered = True
            if token and not state.gone:
                self._count(state, told.sent - age, now)
        self._renew = max(self._renew, told.sent + self._session / _RENEWALS)

    def _count(self, state: State, sent: float, now: float) -> None:
        """A lease lasts from the sending of what was answered, or from earlier."""
        until = sent + self._counted
        if until <= state.until:
            return
        state.until = until
        ends = until - self._session * _CLEANUP
        if not state.lost and ends > now:
            self._soonest = min(self._soonest, ends)
            self.changes.append(Change(state.id, state.token, ends))

    def _take(self, entry: LeaseEntry, age: float, now: float) -> None:
        state = self.states.get(entry.id)
        match entry.kind:
            case LeaseKind.GRANT:
                self._granted(entry, state, age, now)
            case LeaseKind.MOVE if state is not None and state.token == entry.token and not state.moving:
                state.moving = True
                if not state.lost:
                    self.changes.append(Change(state.id, moving=True))
            case LeaseKind.REFUSE if state is not None and state.token == entry.token and not state.released:
                self._refused(state, entry.number)
            case LeaseKind.FREED if state is not None and state.released:
                del self.states[entry.id]
            case LeaseKind.OWNER if entry.id in self._owners:
                self._owners[entry.id] = self._owners[entry.id][0], entry.name
            case LeaseKind.TELL:
                self._report(now)

    def _granted(self, entry: LeaseEntry, state: State | None, age: float, now: float) -> None:
        """Only what is still waited for counts, and only from when that was said."""
        if state is not None and state.token == entry.token:
            return  # said twice
        told = self._told.get(entry.number)
        waits = state is not None and not state.token and not state.released
        until = -math.inf if told is None else told.sent - age + self._counted
        over = until - self._session * _CLEANUP <= now
        if state is None or not waits or over or entry.token <= state.declined:
            self._unwanted.append(LeaseEntry(LeaseKind.RELEASE, entry.id, token=entry.token))
            if state is not None and waits:
                state.declined = max(state.declined, entry.token)
                self._tell_later(state, now)
            return
        state.token, state.answered, state.share = entry.token, True, 0
        assert told is not None
        self._count(state, told.sent - age, now)

    def _refused(self, state: State, reason: int) -> None:
        """The leader does not know this lease, or does not grant the name."""
        state.until = -math.inf
        if not state.lost:
            state.lost = True
            refusal = LeaseRefusal(reason) if reason in tuple(LeaseRefusal) else LeaseRefusal.DIFFERS
            self.changes.append(Change(state.id, refusal=refusal))
        if not state.token:
            del self.states[state.id]

    # --- what a new leader asks

    def _report(self, now: float) -> None:
        """Say everything first, and when it has been heard, that this is all."""
        self._reporting = True
        if self._all_known():
            self._reporting = False
            self._unwanted.append(LeaseEntry(LeaseKind.TOLD))
        else:
            self._again = now

    def _all_known(self) -> bool:
        return all(state.answered for state in self.states.values() if state.token and not state.released)

    # --- time

    def tick(self, now: float) -> None:
        """Do what is due: what has run out, what has to be said again."""
        if now >= self._soonest:
            self._run_out(now)
        if now >= self._again:
            self._repeat(now)
        if now >= self._renew:
            self._say_all(now)

    def deadline(self) -> float:
        """When `tick` is to be called next."""
        return min(self._soonest, self._again, self._renew)

    def _run_out(self, now: float) -> None:
        """The application has to stop in time, whatever it is told later."""
        self._soonest = math.inf
        for state in self.states.values():
            if not state.token or state.lost:
                continue
            ends = state.until - self._session * _CLEANUP
            if ends > now:
                self._soonest = min(self._soonest, ends)
            else:
                state.lost = True
                self.changes.append(Change(state.id))

    def _repeat(self, now: float) -> None:
        """What has not been answered for a while."""
        waiting = [state for state in self.states.values() if not state.answered]
        self._due.update((state.id, None) for state in waiting if state.said <= now - self._gap / 2)
        questions = [(id, name) for id, (name, answer) in self._owners.items() if answer is None]
        self._unwanted += [LeaseEntry(LeaseKind.WHO, id, name) for id, name in questions]
        self._again = now + self._gap if waiting or questions else math.inf
        self._gap = min(2 * self._gap, self._session / _RENEWALS)

    def _say_all(self, now: float) -> None:
        """A renewal: of what the leader knows by a digest, of all else in full. Soon again if it is lost."""
        self._renew = now + self._renew_gap if self.states else math.inf
        self._renew_gap = min(2 * self._renew_gap, self._session / _RENEWALS)
        states = [state for state in self.states.values() if not state.gone]
        first = min((state.id for state in states if not state.answered), default=self._ids + 1)
        known = [state for state in states if state.id < first]
        self._due.update((state.id, None) for state in states if state.id >= first)
        mixed = 0
        for state in known:
            state.share = state.share or share_of_digest(state.id, state.token)
            mixed ^= state.share
        if known and self.term:
            digest = mixed.to_bytes(_DIGEST_SIZE, "big")
            self._outgoing.append(replace(self._message(known, now), digest=digest, bound=first - 1))

    # --- messages

    def flush(self, now: float) -> list[LeaseMessage]:
        """What is to be sent at this time, unsealed. It counts from `now`, which may be a little earlier."""
        if not (self._due or self._unwanted or self._outgoing or self._told):
            return []
        while self._told and next(iter(self._told.values())).sent < now - self._session:
            del self._told[next(iter(self._told))]
        due = [self.states[id] for id in self._due if id in self.states and not self.states[id].gone]
        self._due.clear()
        said, self._unwanted = self._unwanted, []
        outgoing, self._outgoing = self._outgoing, []
        if not self.term:
            return []
        told = [(state.entry(), state) for state in due] + [(entry, None) for entry in said]
        for page in paged([(size_of_entry(each[0]), each) for each in told], self._room):
            states = [state for _, state in page if state is not None]
            entries = tuple(entry for entry, _ in page)
            outgoing.append(replace(self._message(states, now), entries=entries))
        return outgoing

    def _message(self, states: list[State], now: float) -> LeaseMessage:
        self._number += 1
        self._told[self._number] = _Told(now, tuple((state, state.token) for state in states))
        for state in states:
            state.said = now
        return LeaseMessage(self.term, numbers=(self._number,), session_ms=round(self._session * 1000))
