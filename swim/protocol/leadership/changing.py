"""Requests to change the voters: from any member, or from outside, on a stream of their own.

A first request gets the state, with a ticket that is good for one request; so a request that was
recorded does nothing when it comes again. It also names the configuration that it replaces: of two that
are made at once, one is refused. Only the leader carries out a change; other members say which one leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgpack

from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import keep_latest
from swim.protocol.leadership.electorate import Electorate
from swim.protocol.leadership.rule import LeaderRule
from swim.types import MemberState, Term
from swim.wire.dialect import UNPACK_ERRORS
from swim.wire.leadership import LEADER_MARK, SETUP_SIZE_MAX
from swim.wire.messages import UserMessage

__all__ = ["Changing", "read_state", "request_for"]

_TICKETS_MAX = 64
_TICKET_SIZE = 8


def request_for(voters: Sequence[str] = (), digest: bytes = b"", ticket: bytes = b"") -> bytes:
    """To change the voters; without any, only for the state."""
    fields = {"v": list(voters), "c": digest, "t": ticket}
    packed: bytes = msgpack.packb({key: value for key, value in fields.items() if value})
    return bytes((LEADER_MARK,)) + packed


def read_state(payload: bytes) -> dict[str, Any] | None:
    """A request, or the answer to one; None for anything else."""
    if payload[:1] != bytes((LEADER_MARK,)):
        return None
    try:
        state = msgpack.unpackb(payload[1:])
    except UNPACK_ERRORS:
        return None
    return state if isinstance(state, dict) else None


class Changing(Part):
    """Answers those requests."""

    def __init__(self, context: Context, electorate: Electorate, leadership: LeaderRule) -> None:
        super().__init__(context)
        self._electorate = electorate
        self._leadership = leadership
        self._tickets: dict[bytes, None] = {}

    def answer(self, message: UserMessage, term: Term | None, now: float) -> UserMessage | None:
        """The state; for a request to change the voters, also what was wrong with it, if anything."""
        request = read_state(message.payload)
        if request is None:
            self._outbox.drop("user")
            return None
        problem = ""
        if request.get("v"):
            problem = self._carry_out(request, term, now)
        configuration, leader = self._electorate.configuration, self._leadership.leader
        ticket = self._rng.randbytes(_TICKET_SIZE)
        self._tickets[ticket] = None
        keep_latest(self._tickets, _TICKETS_MAX)
        state = {
            "c": configuration.digest,
            "n": configuration.number,
            "v": list(configuration.voters),
            "o": not self._electorate.idle,
            "l": "" if leader is None else str(leader.address),
            "me": term is not None,
            "t": ticket,
            "e": problem,
        }
        packed: bytes = msgpack.packb(state)
        return UserMessage(bytes((LEADER_MARK,)) + packed)

    def _carry_out(self, request: dict[str, Any], term: Term | None, now: float) -> str:
        """Begin with it, or say why not."""
        ticket, names = request.get("t"), request["v"]
        if not isinstance(ticket, bytes) or self._tickets.pop(ticket, self) is self:
            return "the request is out of date: ask again"
        if term is None:
            return "this node does not lead"
        if not self._electorate.configuration.voters:
            return "this cluster has no voters: it has to be founded with some"
        if request.get("c") != self._electorate.configuration.digest or not self._electorate.idle:
            return "another change came before this one: look at the voters, and ask again"
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            return "voters are a list of names"
        if len(dict.fromkeys(names)) != len(names):
            return "a voter has one vote: no name may be given twice"
        mine = self._electorate.configuration
        unknown = [name for name in names if name not in mine.voters and not self._is_present(name)]
        if unknown:
            return f"not members now: {', '.join(unknown)}"
        size = len(replace(mine, voters=tuple(names), old=mine.voters, token=term.token).pack())
        if size > SETUP_SIZE_MAX:
            return "so many, or such long names, do not fit into a packet"
        if tuple(names) != mine.voters or self._electorate.moved():
            self._electorate.propose(names, term.token, now)
        return ""

    def _is_present(self, name: str) -> bool:
        record = self._table.get(name)
        return record is not None and record.own and record.state is MemberState.ALIVE
