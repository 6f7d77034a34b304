"""Broadcasts, in the form of Serf's user events; and Serf's other gossip, which this node passes on.

A broadcast is flooded like all news, rides on pings, and stands in push/pulls for a while. Each has a time
of the event clock, a Lamport clock: what is older than all that can be remembered is not taken any more. The
node that founds a cluster sets it by the wall clock, so that what was recorded of an earlier life of the
cluster is older than all of its own. Ours also tell their origin and number, in fields that Serf passes on
unread; Serf's are known by time, name and payload.

Intents announce that a member joins or leaves. Serf calls a member that memberlist declares dead "left" if
its intent came before, otherwise "failed".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from swim.errors import PayloadTooLarge
from swim.messages import Broadcast
from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import TokenBucket, keep_latest
from swim.protocol.base.outbox import Query, QueryKey
from swim.protocol.base.steps import Steps, unhurried
from swim.protocol.gossip.dissemination import Dissemination
from swim.protocol.gossip.heard import Heard, HeardEvent
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.gossip.queries import Queries
from swim.protocol.view.table import Record
from swim.types import MemberState
from swim.wire.dialect import map_header, pack
from swim.wire.errors import DecodeError
from swim.wire.messages import UserMessage
from swim.wire.serf import EVENTS_MAX, SerfType, decode_message, encode_message, read_exchange

__all__ = ["BROADCAST_SIZE_MAX", "Broadcasts"]

BROADCAST_SIZE_MAX = 512
"""Bytes of name and payload together (Serf's limit)."""
INTENT_AHEAD_S = 0.2
"""memberlist reads the newest message first, so a farewell must not come close behind its intent."""
_MARK = b"b"
"""Begins our own user messages where Serf's would not be understood: among plain memberlists."""
_EXCHANGED_SIZE_MAX = 65_536
_EXCHANGED_PER_S = 128.0
"""New events that are learned from exchanges, in the long run; floods are not limited so."""
_STEP_EVENTS = 64
"""Of an exchange, so many events are taken in one turn."""
_INTENTS_MAX = 4_096
_TICKS_PER_S = 100
"""Of the wall clock, when a cluster is founded: it may have so many broadcasts per second in the long run."""
_TIME_JUMP_MAX = 1 << 38
"""A time so far ahead of this node's clock is made up. Followed, it would use up the clock of all members."""
_TIME_MAX = 1 << 63
_PASSED_MAX = 512
"""Messages that are known to have been passed on: what is heard again costs nothing."""
_INTENT_TARGETS_MAX = 64
"""Foreign members that this node tells itself that it leaves."""


class Broadcasts(Part):
    """What all members are told, and what Serf's agents tell each other."""

    def __init__(self, context: Context, own: OwnRecord, dissemination: Dissemination) -> None:
        super().__init__(context)
        self._own = own
        self._dissemination = dissemination
        self._number = 0
        self._queries = Queries(context, own)
        self._event_clock = self._status_clock = 1
        """The time of the next event and intent."""
        self._birth = 0
        """Of the cluster, if this node founded it; others have a floor from the member that let them in."""
        self._heard = Heard()
        self._passed: dict[bytes, None] = {}
        """What this node has passed on lately, as it came."""
        self._intents: dict[str, int] = {}
        self._events: bytes | None = None
        """The newest, as they stand in a push/pull."""
        self._exchanged = TokenBucket(_EXCHANGED_PER_S, EVENTS_MAX)
        self.heard_at = -math.inf
        """When the last broadcast came that was new."""

    @property
    def _plain(self) -> bool:
        """Is this a cluster of plain memberlists? They would take Serf's messages for something else."""
        return self._own.versions[3:6] == bytes(3)

    @property
    def _mixed(self) -> bool:
        """Are there present members that are not ours?"""
        return self._table.present_count > sum(self._table.configurations.values())

    # --- this node's own

    def send(self, name: str, payload: bytes, now: float) -> None:
        """Tell all members, this one included. Raises `PayloadTooLarge`, and ValueError for an empty name."""
        size = len(name.encode()) + len(payload)
        if not name:
            raise ValueError("a broadcast needs a name")
        if size > BROADCAST_SIZE_MAX:
            raise PayloadTooLarge(
                f"a broadcast's name and payload have at most {BROADCAST_SIZE_MAX} bytes together, not {size}"
            )
        self._number += 1
        event = HeardEvent(name, payload, self._name, self._own.boot, self._number)
        self._take(self._event_clock, event, now)
        self._spread_event(self._event_clock - 1, event, now)

    def query(self, name: str, payload: bytes, patience_s: float, now: float) -> QueryKey | None:
        """Ask Serf's agents; None where there are none. Raises `PayloadTooLarge`."""
        if self._plain or not self._mixed:
            return None
        key, message = self._queries.ask(name, payload, patience_s)
        self._spread(message, now)
        return key

    def answer_query(self, query: Query, payload: bytes) -> None:
        """See `Queries.answer`."""
        self._queries.answer(query, payload)

    def force_leave(self, name: str, now: float) -> None:
        """A member that is dead will not come back: it counts as left, here and in all other views.

        Raises ValueError where it is a member, or this node knows of none that is dead.
        """
        record = self._table.get(name)
        if self._plain:
            raise ValueError("there is no such word among plain memberlists")
        if record is None or record.state is not MemberState.DEAD:
            alive = record is not None and record.present
            what = "is a member: tell it to leave" if alive else "is no member that has failed"
            raise ValueError(f"{name!r} {what}")
        self._spread_intent(SerfType.LEAVE, {"Prune": False}, now, about=name)
        self._give_up_search(name, now)

    def found(self, now: float) -> None:
        """This node founds a cluster: of ours, nothing is heard that is older."""
        self._birth = max(0, int(self._wall(now) * _TICKS_PER_S))
        self._event_clock = max(self._event_clock, self._birth)

    def joined(self, now: float) -> None:
        """This node has become a member."""
        if not self._plain and self._mixed:
            self._spread_intent(SerfType.JOIN, {}, now)

    def leave(self, now: float) -> float:
        """Announce that this node leaves; for how many seconds its farewell should wait."""
        foreign = [record for record in self._table.present() if not record.own]
        if self._plain or not foreign:
            return 0.0
        intent = self._spread_intent(SerfType.LEAVE, {"Prune": False}, now)
        self._dissemination.flood(now)
        targets = self._rng.sample(foreign, min(len(foreign), _INTENT_TARGETS_MAX))

        def tell(at: float) -> None:  # the agents tell each other, but perhaps not soon enough
            for record in targets:
                self._outbox.send(record.address, intent)

        tell(now)
        self._timers.set("intent", now + INTENT_AHEAD_S / 2, tell)
        return INTENT_AHEAD_S

    def _spread_intent(
        self, kind: SerfType, extra: Mapping[str, object], now: float, *, about: str | None = None
    ) -> UserMessage:
        name = about or self._name
        payload = encode_message(kind, {"LTime": self._status_clock, "Node": name, **extra})
        self._intents[name] = self._status_clock
        self._status_clock += 1
        self._spread(payload, now)
        return UserMessage(payload)

    def _spread_event(self, time: int, event: HeardEvent, now: float) -> None:
        payload = encode_message(SerfType.USER_EVENT, {"CC": False, "LTime": time, **event.as_body()})
        self._spread(_MARK + payload[1:] if self._plain else payload, now)

    def _spread(self, payload: bytes, now: float) -> None:
        self._passed[payload] = None
        keep_latest(self._passed, _PASSED_MAX)
        self._dissemination.news(payload, UserMessage(payload), now, ours=self._plain)

    # --- those of others

    def receive(self, message: UserMessage, sender: Record | None, now: float) -> None:
        """From a packet. What is new is passed on as it came."""
        payload = message.payload
        if sender is None:
            self._outbox.drop("stranger")
            return
        if payload in self._passed:
            return  # most come several times, and should cost nothing then
        if len(payload) >= self._dissemination.part_max:  # compressed, even very small packets may have such
            self._outbox.drop("user-size")
            return
        marked = payload[:1] == _MARK
        if marked:
            payload = bytes((SerfType.USER_EVENT,)) + payload[1:]
        serf = None if marked is not self._plain else decode_message(payload)
        if serf is None:
            self._outbox.drop("user")
            return
        body = serf.body
        match serf.type:
            case SerfType.USER_EVENT:
                new = self._take(body["LTime"], _event(body), now)
            case SerfType.JOIN | SerfType.LEAVE:
                new = self._take_intent(serf.type, body, now)
            case SerfType.QUERY:
                new = self._within_reach(body["LTime"], self._queries.clock) and self._queries.hear(body)
            case SerfType.QUERY_RESPONSE:
                new = False
                self._queries.hear_answer(body, sender)
            case _:
                new = False
        if new:
            self._spread(message.payload, now)

    def _within_reach(self, time: int, clock: int, *, joining: bool = False) -> bool:
        """May a clock follow this? A node that joins has none yet: it follows the member that lets it in."""
        within = time <= (_TIME_MAX if joining else min(clock + _TIME_JUMP_MAX, _TIME_MAX))
        if not within:
            self._outbox.drop("time-ahead")
        return within

    def _after(self, time: int, clock: int, *, joining: bool) -> int:
        """What the clock shows when this node has heard another's."""
        return max(clock, time) if self._within_reach(time, clock, joining=joining) else clock

    def _take(self, time: int, event: HeardEvent, now: float) -> bool:
        """Whether it is new: then the application is told of it."""
        if not self._within_reach(time, self._event_clock):
            return False
        self._event_clock = max(self._event_clock, time + 1)
        if time < self._heard.floor or (event.origin and time < self._birth):
            self._outbox.drop("event-old")
            return False
        if not self._heard.add(time, event):
            return False
        self.heard_at = now
        self._events = None
        record = self._table.get(event.sender)
        known = record is not None and record.present and record.boot == event.origin
        member = record.member if record is not None and known else None
        self._outbox.broadcasts.append(Broadcast(member, event.name, event.payload))
        return True

    def _take_intent(self, kind: SerfType, body: Mapping[str, Any], now: float) -> bool:
        time, node = body["LTime"], body["Node"]
        if not self._within_reach(time, self._status_clock):
            return False
        self._status_clock = max(self._status_clock, time + 1)
        if time <= self._intents.get(node, 0):
            return False
        self._intents.pop(node, None)
        self._intents[node] = time
        keep_latest(self._intents, _INTENTS_MAX)
        if node == self._name and kind is SerfType.LEAVE:
            self._deny_leaving(now)
            return False
        if kind is SerfType.LEAVE:
            self._give_up_search(node, now)
        return True

    def _give_up_search(self, name: str, now: float) -> None:
        """A member that is dead is not looked for any more (see `Search`): it counts as one that has left."""
        record = self._table.get(name)
        if record is not None and record.state is MemberState.DEAD:
            self._table.put(record.become(MemberState.LEFT, record.since, reason=record.reason), now)

    def _deny_leaving(self, now: float) -> None:
        """Another node says that this one leaves."""
        if not self._own.leaving:
            self._spread_intent(SerfType.JOIN, {}, now)

    # --- push/pull

    def state(self, *, to_own: bool) -> bytes:
        """The user state of a push/pull: with the newest events, for members that have missed one."""
        nothing = not (self._heard or self._mixed or (to_own and self._event_clock > 1))
        if nothing or (self._plain and not to_own):
            return b""
        if self._events is None:
            self._events = self._heard.packed(_EXCHANGED_SIZE_MAX)
        head = bytes((SerfType.PUSH_PULL,)) + map_header(6) + pack("EventLTime") + pack(self._event_clock)
        others: tuple[object, ...] = (
            "LTime",
            self._status_clock,
            "LeftMembers",
            [],
            "QueryLTime",
            self._queries.clock,
        )
        return b"".join(
            (head, pack("Events"), self._events, *map(pack, others), pack("StatusLTimes"), pack({}))
        )

    def merge(self, user_state: bytes, now: float, *, joining: bool) -> Steps:
        """Another's user state, in steps. What was before this node joined is none of its business."""
        if not user_state:
            return
        try:
            exchange = yield from unhurried(read_exchange(user_state))
        except DecodeError:
            self._outbox.drop("user-state")
            return
        self._status_clock = self._after(exchange.status_time, self._status_clock, joining=joining)
        queries = self._queries
        queries.clock = self._after(exchange.query_time, queries.clock, joining=joining)
        self._event_clock = self._after(exchange.event_time, self._event_clock, joining=joining)
        if joining:
            self._heard.begin(self._event_clock)
            return
        if exchange.unread:
            self._outbox.drop("events-max", exchange.unread)
        for index, (time, body) in enumerate(exchange.events):
            if index % _STEP_EVENTS == _STEP_EVENTS - 1:
                now = yield
            self._take_exchanged(time, _event(body), now)
        if self._name in exchange.left:
            self._deny_leaving(now)

    def _take_exchanged(self, time: int, event: HeardEvent, now: float) -> None:
        if time < self._heard.floor or (event.origin and time < self._birth):
            return
        if event.size >= self._dissemination.part_max:
            self._outbox.drop("user-size")
        elif not self._exchanged.ready(now):
            self._outbox.drop("events-max")
        elif self._take(time, event, now):
            self._exchanged.take(now)
            self._spread_event(time, event, now)


def _event(body: Mapping[str, Any]) -> HeardEvent:
    """Fields that are ours, where they are there and make sense."""
    sender, origin, number = (body.get(key) for key in ("o", "b", "n"))
    payload = body["Payload"] or b""
    if isinstance(sender, bytes) and isinstance(origin, bytes) and isinstance(number, int):
        return HeardEvent(
            body["Name"], payload, sender.decode(errors="replace"), origin.decode(errors="replace"), number
        )
    return HeardEvent(body["Name"], payload)
