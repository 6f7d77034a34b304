"""Broadcasts, in the form of Serf's user events; and Serf's other gossip, which this node passes on.

A broadcast is flooded like all news, rides on pings, and stands in push/pulls for a while. Each has a time
of the event clock, a Lamport clock: what is older than all that can be remembered is not taken any more. Ours
also tell their origin and number, in fields that Serf passes on unread; Serf's are known by time, name and
payload.

Intents announce that a member joins or leaves. Serf calls a member that memberlist declares dead "left" if
its intent came before, otherwise "failed" (WIRE section 8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swim.errors import PayloadTooLarge
from swim.messages import Broadcast
from swim.protocol.context import Context, Part
from swim.protocol.dissemination import Dissemination
from swim.protocol.myself import Myself
from swim.protocol.table import Record
from swim.wire.messages import UserMessage
from swim.wire.serf import SerfType, decode_message, encode_message

__all__ = ["BROADCAST_SIZE_MAX", "Broadcasts"]

BROADCAST_SIZE_MAX = 512
"""Bytes of name and payload together (Serf's limit)."""
INTENT_AHEAD_S = 0.2
"""memberlist reads the newest message first, so a farewell must not come close behind its intent."""
_MARK = b"b"
"""Begins our own user messages where Serf's would not be understood: among plain memberlists."""
_HEARD_MAX = 4_096
_EVENT_OVERHEAD = 64
_EXCHANGED_SIZE_MAX = 65_536
_INTENTS_MAX = 4_096
_TIME_JUMP_MAX = 1 << 32
"""A time so far ahead of this node's clock is made up. Followed, it would use the clock up for everybody."""
_TIME_MAX = 1 << 63
_PASSED_MAX = 512
_INTENT_TARGETS_MAX = 64
_NO_BROADCAST = 2  # a flag of queries: not to be passed on


@dataclass(frozen=True, slots=True)
class _Event:
    """A broadcast that was heard. `origin` is the boot of its sender; empty for one of Serf's."""

    name: str
    payload: bytes
    sender: str = ""
    origin: str = ""
    number: int = 0

    def same_as(self, other: _Event) -> bool:
        """Of two at one time. The fields that are ours are lost in a push/pull of Serf's."""
        if self.origin and other.origin:
            return (self.origin, self.number) == (other.origin, other.number)
        return (self.name, self.payload) == (other.name, other.payload)

    @property
    def size(self) -> int:
        """About that of a message with it."""
        return _EVENT_OVERHEAD + len(self.payload) + len((self.name + self.sender + self.origin).encode())

    def as_body(self) -> dict[str, object]:
        body: dict[str, object] = {"Name": self.name, "Payload": self.payload}
        if self.origin:
            body |= {"b": self.origin, "n": self.number, "o": self.sender}
        return body


class Broadcasts(Part):
    """What all members are told, and what Serf's agents tell each other."""

    def __init__(self, context: Context, myself: Myself, dissemination: Dissemination) -> None:
        super().__init__(context)
        self._myself = myself
        self._dissemination = dissemination
        self._number = 0
        self._event_clock = self._status_clock = self._query_clock = 1
        """The time of the next event, intent and query."""
        self._floor = 0
        """Events before this time are too old, or were before this node joined."""
        self._heard: dict[int, list[_Event]] = {}
        self._heard_count = 0
        self._passed: dict[bytes, None] = {}
        """What this node has passed on lately, as it came."""
        self._queries: dict[tuple[int, int], None] = {}
        self._intents: dict[str, int] = {}
        self._state: bytes | None = None
        self.heard_at = -math.inf
        """When the last broadcast came that was new."""

    @property
    def _plain(self) -> bool:
        """Is this a cluster of plain memberlists? They would take Serf's messages for something else."""
        return self._myself.versions[3:6] == bytes(3)

    def _foreign(self) -> list[Record]:
        return [record for record in self._table.present() if not record.own]

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
        event = _Event(name, payload, self._name, self._myself.boot, self._number)
        self._take(self._event_clock, event, now)
        self._spread_event(self._event_clock - 1, event, now)

    def joined(self, now: float) -> None:
        """This node has become a member."""
        if not self._plain and self._foreign():
            self._spread_intent(SerfType.JOIN, {}, now)

    def leave(self, now: float) -> float:
        """Announce that this node leaves; for how many seconds its farewell should wait."""
        foreign = [] if self._plain else self._foreign()
        if not foreign:
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

    def _spread_intent(self, kind: SerfType, extra: Mapping[str, object], now: float) -> UserMessage:
        payload = encode_message(kind, {"LTime": self._status_clock, "Node": self._name, **extra})
        self._intents[self._name] = self._status_clock
        self._status_clock += 1
        self._spread(payload, now)
        return UserMessage(payload)

    def _spread_event(self, time: int, event: _Event, now: float) -> None:
        payload = encode_message(SerfType.USER_EVENT, {"CC": False, "LTime": time, **event.as_body()})
        self._spread(_MARK + payload[1:] if self._plain else payload, now)

    def _spread(self, payload: bytes, now: float) -> None:
        self._passed[payload] = None
        if len(self._passed) > _PASSED_MAX:
            del self._passed[next(iter(self._passed))]
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
                new = self._take_query(body)
            case _:
                new = False
        if new:
            self._spread(message.payload, now)

    def _within_reach(self, time: int, clock: int, *, joining: bool = False) -> bool:
        """May a clock follow this? A node that joins has none yet: it follows whoever lets it in."""
        within = time <= (_TIME_MAX if joining else min(clock + _TIME_JUMP_MAX, _TIME_MAX))
        if not within:
            self._outbox.drop("time-ahead")
        return within

    def _after(self, time: int, clock: int, *, joining: bool) -> int:
        """What the clock shows when this node has heard another's."""
        return max(clock, time) if self._within_reach(time, clock, joining=joining) else clock

    def _take(self, time: int, event: _Event, now: float) -> bool:
        """Whether it is new: then the application is told of it."""
        if not self._within_reach(time, self._event_clock):
            return False
        self._event_clock = max(self._event_clock, time + 1)
        if time < self._floor:
            self._outbox.drop("event-old")
            return False
        heard = self._heard.setdefault(time, [])
        if any(event.same_as(other) for other in heard):
            return False
        heard.append(event)
        self._heard_count += 1
        self.heard_at = now
        self._state = None
        while self._heard_count > _HEARD_MAX:
            oldest = min(self._heard)
            self._heard_count -= len(self._heard.pop(oldest))
            self._floor = oldest + 1
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
        if len(self._intents) > _INTENTS_MAX:
            del self._intents[next(iter(self._intents))]
        if node == self._name and kind is SerfType.LEAVE:
            self._deny_leaving(now)
            return False
        return True

    def _deny_leaving(self, now: float) -> None:
        """Somebody says that this node leaves."""
        if not self._myself.leaving:
            self._spread_intent(SerfType.JOIN, {}, now)

    def _take_query(self, body: Mapping[str, Any]) -> bool:
        time, key = body["LTime"], (body["LTime"], body["ID"])
        if not self._within_reach(time, self._query_clock):
            return False
        self._query_clock = max(self._query_clock, time + 1)
        if key in self._queries:
            return False
        self._queries[key] = None
        if len(self._queries) > _HEARD_MAX:
            del self._queries[next(iter(self._queries))]
        return not body["Flags"] & _NO_BROADCAST

    # --- push/pull

    def state(self, *, to_own: bool) -> bytes:
        """The user state of a push/pull: with the newest events, for whoever has missed one."""
        if (self._plain and not to_own) or not (self._heard or self._foreign()):
            return b""
        if self._state is None:
            self._state = encode_message(SerfType.PUSH_PULL, self._body())
        return self._state

    def _body(self) -> dict[str, object]:
        events: list[dict[str, object]] = []
        size = 0
        for time in sorted(self._heard, reverse=True):
            size += sum(len(event.name) + len(event.payload) for event in self._heard[time])
            if size > _EXCHANGED_SIZE_MAX:
                break
            events.append({"Events": [event.as_body() for event in self._heard[time]], "LTime": time})
        return {
            "EventLTime": self._event_clock,
            "Events": events,
            "LTime": self._status_clock,
            "LeftMembers": [],
            "QueryLTime": self._query_clock,
            "StatusLTimes": {},
        }

    def merge(self, user_state: bytes, now: float, *, joining: bool) -> None:
        """Another's user state. What was before this node joined is none of its business."""
        if not user_state:
            return
        serf = decode_message(user_state)
        if serf is None or serf.type is not SerfType.PUSH_PULL:
            self._outbox.drop("user-state")
            return
        body = serf.body
        self._status_clock = self._after(body["LTime"], self._status_clock, joining=joining)
        self._query_clock = self._after(body["QueryLTime"], self._query_clock, joining=joining)
        self._event_clock = self._after(body["EventLTime"], self._event_clock, joining=joining)
        self._state = None
        if joining:
            self._floor = self._event_clock
            return
        for at in body["Events"] or ():
            for each in () if at is None else at["Events"] or ():
                if each is not None and at["LTime"] >= self._floor:
                    event = _event(each)
                    if event.size >= self._dissemination.part_max:
                        self._outbox.drop("user-size")
                    elif self._take(at["LTime"], event, now):
                        self._spread_event(at["LTime"], event, now)
        if self._name in (body["LeftMembers"] or ()):
            self._deny_leaving(now)


def _event(body: Mapping[str, Any]) -> _Event:
    """Fields that are ours, where they are there and make sense."""
    sender, origin, number = (body.get(key) for key in ("o", "b", "n"))
    payload = body["Payload"] or b""
    if isinstance(sender, bytes) and isinstance(origin, bytes) and isinstance(number, int):
        return _Event(
            body["Name"],
            payload,
            sender.decode(errors="replace"),
            origin.decode(errors="replace"),
            number,
        )
    return _Event(body["Name"], payload)
