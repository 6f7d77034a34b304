"""Is the address at which others find this node still one of this machine's? That may change at any time."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from swim.protocol.node import Node
from swim.runtime.network import Transport
from swim.runtime.sockets.resolve import ELSEWHERE, is_loopback
from swim.runtime.sockets.transport import is_wildcard
from swim.types import Address

__all__ = ["Whereabouts"]

_INTERVAL_S = 0.75
"""Between two looks, at least: one follows a timer of the node, of which about one a second is due, since to
wake up costs more than to look."""
_OTHERS_MAX = 8
"""Members to which the routes are looked up."""

_logger = logging.getLogger("swim")


class Whereabouts:
    """Looks now and then whether the address is gone, and where the node is to be found then.

    A node that is bound to a wildcard follows the routes to the others, as when it was started: its address
    is that from which its packets come to at least some of them. One that is bound to an address stays
    there: the operator may have had a reason to choose it.
    """

    def __init__(self, name: str, transport: Transport) -> None:
        self._name = name
        self._transport = transport
        self.follows = is_wildcard(transport.address.host)
        """It goes by the routes to the others."""
        self._gone = False
        self._next = -math.inf

    def look_again(self, node: Node, now: float) -> Address | None:
        """As `look`, for this node; None if it is too soon for that."""
        if now < self._next:
            return None
        self._next = now + _INTERVAL_S
        members = node.members() if self.follows else ()
        return self.look(node.address, [member.address for member in members if member.name != node.name])

    def look(self, address: Address, others: Sequence[Address]) -> Address | None:
        """Where others, at these addresses, find this node from now on; None where they do now."""
        here = self._transport.is_local(address.host)
        if self.follows:
            sources = self._sources(others or (() if here else ELSEWHERE))
            if sources and not (here and address.host in sources):
                self._gone = False
                found = Address(sources[0], address.port)
                _logger.warning("%s: reached at %s from now on, not at %s", self._name, found, address)
                return found
        if here is self._gone:  # not as it was
            self._gone = not here
            self._tell(address.host)
        return None

    def _sources(self, others: Sequence[Address]) -> list[str]:
        """From which addresses of this machine packets go to others on other machines."""
        elsewhere = [other for other in others if not is_loopback(other.host)]
        return [
            source
            for target in elsewhere[:_OTHERS_MAX]
            if self._transport.reaches(target)
            and (source := self._transport.route_source(target)) is not None
        ]

    def _tell(self, host: str) -> None:
        if not self._gone:
            _logger.warning("%s: %s is an address of this machine again", self._name, host)
            return
        advice = "" if self.follows else "; bind to 0.0.0.0 to follow such changes"
        _logger.warning(
            "%s: %s is no address of this machine any more: others cannot reach this node%s",
            self._name,
            host,
            advice,
        )
