"""Serf's queries: the gossip carries a question to all members, and answers come straight back by UDP.

Nodes of swim ask each other by requests (`Cluster.request`), which are reliable and may be larger. So queries
go between them and Serf agents only: a node of swim does not answer the query of another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swim.errors import PayloadTooLarge
from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import keep_latest
from swim.protocol.base.outbox import Query, QueryKey, Reply
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.view.table import Record
from swim.wire import pack_host
from swim.wire.errors import DecodeError
from swim.wire.messages import UserMessage
from swim.wire.serf import SerfType, encode_message, filter_fits

__all__ = ["Queries"]

_SIZE_MAX = 1_024
"""Bytes of a whole query, or of a whole answer (Serf's limits)."""
_HEARD_MAX = 4_096
_ASKED_MAX = 64
"""Queries of this node's of which answers are still taken."""
_ACK, _NO_BROADCAST = 1, 2
"""Flags of a query: whoever hears it is to say so at once; it is not to be passed on."""
_INTERNAL = "_serf_"
"""Begins the names of queries that Serf's agents ask each other for their own ends."""


class Queries(Part):
    """What this node asks Serf's agents, and what they ask it."""

    def __init__(self, context: Context, own: OwnRecord) -> None:
        super().__init__(context)
        self._own = own
        self.clock = 1
        """The time of the next query, by a Lamport clock."""
        self._heard: dict[QueryKey, None] = {}
        self._asked: dict[QueryKey, set[str]] = {}
        """This node's own, each with the members that have answered."""

    def ask(self, name: str, payload: bytes, patience_s: float) -> tuple[QueryKey, bytes]:
        """The query, for the gossip to carry. Raises `PayloadTooLarge`."""
        key = (self.clock, self._rng.getrandbits(32))
        address = self._own.address
        body = {
            "Addr": pack_host(address.host),
            "Filters": None,
            "Flags": 0,
            "ID": key[1],
            "LTime": key[0],
            "Name": name,
            "Payload": payload,
            "Port": address.port,
            "RelayFactor": 0,
            "SourceNode": self._name,
            "Timeout": int(patience_s * 1e9),
        }
        message = _checked(encode_message(SerfType.QUERY, body), "query")
        self.clock += 1
        self._remember(key)
        self._asked[key] = set()
        keep_latest(self._asked, _ASKED_MAX)
        return key, message

    def hear(self, body: Mapping[str, Any]) -> bool:
        """Of another member, its time being possible. Whether it is to be passed on."""
        key = (body["LTime"], body["ID"])
        self.clock = max(self.clock, body["LTime"] + 1)
        if key in self._heard:
            return False
        self._remember(key)
        asker = self._table.get(body["SourceNode"])
        foreign = asker is not None and asker.present and not asker.own
        if foreign and not body["Name"].startswith(_INTERNAL) and self._is_meant(body["Filters"] or ()):
            assert asker is not None
            if body["Flags"] & _ACK:
                self._tell(asker, key, b"", _ACK)
            self._outbox.queries.append(Query(asker.member, body["Name"], body["Payload"] or b"", key))
        return not body["Flags"] & _NO_BROADCAST

    def _remember(self, key: QueryKey) -> None:
        self._heard[key] = None
        keep_latest(self._heard, _HEARD_MAX)

    def _is_meant(self, filters: Sequence[bytes | None]) -> bool:
        """All filters have to fit."""
        try:
            return all(filter_fits(text or b"", self._name, self._own.tags) for text in filters)
        except DecodeError:
            self._outbox.drop("query-filter")
            return False

    def answer(self, query: Query, payload: bytes) -> None:
        """Raises `PayloadTooLarge`. Does nothing when the agent that has asked is no member any more."""
        asker = self._table.get(query.member.name)
        if asker is not None and asker.present and not asker.own:
            self._tell(asker, query.key, payload, 0)

    def _tell(self, asker: Record, key: QueryKey, payload: bytes, flags: int) -> None:
        # At the address that it has as a member, not at the one that the query names: anybody could name one.
        body = {"Flags": flags, "From": self._name, "ID": key[1], "LTime": key[0], "Payload": payload}
        message = _checked(encode_message(SerfType.QUERY_RESPONSE, body), "answer to a query")
        self._outbox.send(asker.address, UserMessage(message))

    def hear_answer(self, body: Mapping[str, Any], sender: Record) -> None:
        """Each member answers once."""
        key = (body["LTime"], body["ID"])
        answered = self._asked.get(key)
        if answered is None or sender.own or sender.name != body["From"] or sender.name in answered:
            self._outbox.drop("answer-unasked")
        elif not body["Flags"] & _ACK:
            answered.add(sender.name)
            self._outbox.replies.append(Reply(sender.member, body["Payload"] or b"", key))


def _checked(message: bytes, what: str) -> bytes:
    if len(message) > _SIZE_MAX:
        raise PayloadTooLarge(f"Serf's limit of a {what} is {_SIZE_MAX} bytes in all, not {len(message)}")
    return message
