"""What the network says of datagrams that were sent: ICMP errors, and which of them are believed.

Anybody can make up an ICMP error, from any address, and routers on the way send real ones. So "no process
listens there" is believed only from the destination itself, and only when it quotes a datagram that this
node has sent there lately, each datagram once. A host's firewall may still say it in the name of the host:
see `Node.receive_refusal` for what it proves (alone, nothing).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from dataclasses import dataclass

from swim.protocol.base.limits import keep_latest
from swim.types import Address

__all__ = ["IPV6_RECVERR", "IP_RECVERR", "IcmpError", "SentLog", "read_icmp_error"]

# Linux keeps the ICMP errors of a UDP socket in a queue of their own. Python has no names for the options
# (ip(7), ipv6(7)).
IP_RECVERR = (socket.IPPROTO_IP, 11)
IPV6_RECVERR = (socket.IPPROTO_IPV6, 25)
_ORIGINS = (2, 3)  # ICMP, ICMPv6; others are errors of this host's own
_ERROR_SIZE = 16  # struct sock_extended_err, which the offender's address follows
_OFFENDER = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}

_ADDRESSES_MAX = 1_024
_DATAGRAMS_MAX = 8
"""For each address. An answer by ICMP takes one round trip."""
_AFTER_LONG_S = 3.0
"""A datagram that was sent longer ago is not what is refused."""
_QUOTED_MIN = 400
"""A host quotes all of a datagram that is smaller, or more than so much of it (RFC 1812 section 4.3.2.3)."""


@dataclass(frozen=True, slots=True)
class IcmpError:
    """An error of ICMP: its errno, and the host that sent it."""

    number: int
    offender: str

    @property
    def name(self) -> str:
        return errno.errorcode.get(self.number, str(self.number))


def read_icmp_error(ancillary: list[tuple[int, int, bytes]]) -> IcmpError | None:
    """The `sock_extended_err` among these; None when it is not a report by ICMP."""
    for level, kind, content in ancillary:
        if (level, kind) not in (IP_RECVERR, IPV6_RECVERR) or len(content) < _ERROR_SIZE + 2:
            continue
        number, origin = struct.unpack_from("=IB", content)
        (family,) = struct.unpack_from("=H", content, _ERROR_SIZE)
        if origin in _ORIGINS and family in _OFFENDER:
            address = content[_ERROR_SIZE:][_OFFENDER[family]]
            return IcmpError(int(number), socket.inet_ntop(family, address))
    return None


class SentLog:
    """The last datagrams to each address, to compare with what an ICMP error quotes."""

    def __init__(self) -> None:
        self._sent: dict[Address, deque[tuple[bytes, float]]] = {}

    def note(self, data: bytes, address: Address, now: float) -> None:
        """This was sent."""
        sent = self._sent.get(address)
        if sent is None:
            sent = self._sent[address] = deque(maxlen=_DATAGRAMS_MAX)
            keep_latest(self._sent, _ADDRESSES_MAX)  # one that is still in use is back soon
        sent.append((data, now))

    def take(self, quoted: bytes, address: Address, now: float) -> bool:
        """Whether such a datagram was sent there lately. It counts once."""
        sent = self._sent.get(address, ())
        for data, when in sent:
            whole = len(quoted) >= min(len(data), _QUOTED_MIN)
            if whole and data.startswith(quoted) and now - when < _AFTER_LONG_S:
                self._sent[address].remove((data, when))
                return True
        return False
