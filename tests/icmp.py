"""Made-up ICMP errors, for tests of what is believed: written to a raw socket, as any host could."""

from __future__ import annotations

import socket
import struct

from swim.types import Address

__all__ = ["Forger", "why_no_forger"]

_PORT_UNREACHABLE = 3, 3


def why_no_forger() -> str | None:
    """Why no ICMP can be made up here; None if it can."""
    try:
        Forger().close()
    except OSError as error:
        return f"raw sockets do not work here ({error.strerror}); they need root"
    return None


class Forger:
    """Says "port unreachable" in the name of any IPv4 host."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def close(self) -> None:
        self._socket.close()

    def unreachable(self, by: str, sender: Address, target: Address, payload: bytes = b"") -> None:
        """Host `by` tells the sender that nobody listens at the target, quoting this payload."""
        udp = struct.pack("!HHHH", sender.port, target.port, 8 + max(100, len(payload)), 0) + payload
        quoted = _ip_header(sender.host, target.host, socket.IPPROTO_UDP, len(udp)) + udp
        unsummed = struct.pack("!BBHI", *_PORT_UNREACHABLE, 0, 0) + quoted
        icmp = unsummed[:2] + struct.pack("!H", _checksum(unsummed)) + unsummed[4:]
        packet = _ip_header(by, sender.host, socket.IPPROTO_ICMP, len(icmp)) + icmp
        self._socket.sendto(packet, (sender.host, 0))


def _ip_header(source: str, target: str, protocol: int, size: int) -> bytes:
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    begin = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, 0, 0, 64, protocol)
    return begin + struct.pack("!H", _checksum(begin + bytes(2) + ends)) + ends


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
