"""Which addresses this node deals with at all."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from socket import AF_INET, inet_pton

from swim.types import Address

__all__ = ["Networks"]

_CACHE_MAX = 1_024
_BROADCAST = "255.255.255.255"


class Networks:
    """Allowed networks in CIDR form; with none given, everything that can be a host is allowed.

    `reaches`: can this node's sockets send there (to IPv4, to IPv6)?
    """

    def __init__(
        self, networks: Sequence[str], reaches: Callable[[Address], bool] = lambda address: True
    ) -> None:
        """Raises ValueError for text that is not a network."""
        self.reaches = reaches
        self._networks = [_network(text) for text in networks]
        self._known: dict[str, bool] = {}

    def permits(self, address: Address) -> bool:
        """Can a member be there?"""
        return address.port != 0 and self.permits_host(address.host)

    def permits_host(self, host: str) -> bool:
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _CACHE_MAX:
                self._known.clear()
            known = self._known[host] = self._judge(host)
        return known

    def _judge(self, host: str) -> bool:
        if not self._networks and ":" not in host:
            return _can_be_a_host(host)
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if address.is_unspecified or address.is_multicast or host == _BROADCAST:
            return False
        return not self._networks or any(
            address.version == network.version and address in network for network in self._networks
        )


def _can_be_a_host(ipv4: str) -> bool:
    """As the standard library judges it, which takes ten times as long: thousands may join at once."""
    try:
        packed = inet_pton(AF_INET, ipv4)
    except (OSError, ValueError):
        return False
    return not 224 <= packed[0] < 240 and ipv4 not in ("0.0.0.0", _BROADCAST)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"allowed networks: {text!r} is no network; write it like 10.0.0.0/8") from None
