"""Is the address at which others find this node still one of this machine's? That may change at any time."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Iterable

import trio

from swim.protocol.node import Node
from swim.resolve import route_address
from swim.transport import Transport, is_wildcard
from swim.types import Address

__all__ = ["Whereabouts", "watch_address"]

_INTERVAL_S = 1.0

_logger = logging.getLogger("swim")


async def watch_address(node: Node, transport: Transport, moved: Callable[[Address], None]) -> None:
    """Call `moved` with the address at which others find the node from now on, whenever that changes."""
    whereabouts = Whereabouts(node.name, transport)

    def others() -> list[Address]:
        return [member.address for member in node.members() if member.name != node.name]

    while True:
        await trio.sleep(_INTERVAL_S)
        found = whereabouts.look(node.address, others)
        if found is not None:
            moved(found)


class Whereabouts:
    """Looks now and then whether the address is gone, and where the node is to be found then.

    A node that is bound to a wildcard follows the route to the others, as when it was started. One that is
    bound to an address stays there: whoever chose it may have had a reason.
    """

    def __init__(self, name: str, transport: Transport) -> None:
        self._name = name
        self._transport = transport
        self._gone = False

    def look(self, address: Address, others: Callable[[], Iterable[Address]]) -> Address | None:
        """Where others, who are at these addresses, find this node from now on; None where they do now."""
        if is_local(address.host):
            if self._gone:
                self._gone = False
                _logger.warning("%s: %s is an address of this machine again", self._name, address.host)
            return None
        follows = is_wildcard(self._transport.address.host)
        found = route_address(self._transport, others()) if follows else None
        if found is not None:
            self._gone = False
            _logger.warning(
                "%s: %s is no address of this machine any more; others are told to use %s",
                self._name,
                address.host,
                found.host,
            )
        elif not self._gone:
            self._gone = True
            advice = "" if follows else "; bind to 0.0.0.0 to follow such changes"
            _logger.warning(
                "%s: %s is no address of this machine any more: others cannot reach this node%s",
                self._name,
                address.host,
                advice,
            )
        return found


def is_local(host: str) -> bool:
    """Whether this machine has the address."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL  # nothing else says that it is gone
    return True
