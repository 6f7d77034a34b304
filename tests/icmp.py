"""Made-up ICMP errors and resets, for tests of what is believed: from a raw socket, as any host could."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from swim.types import Address

__all__ = ["Forger", "Observer", "why_no_forger"]

_PORT_UNREACHABLE = 3, 3
_FIN, _SYN, _RST = 1, 2, 4
_ETH_IP = 0x0800


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

    def reset(self, source: Address, target: Address, number: int) -> None:
        """A TCP reset in the name of the source. Kernels heed it when the number is what they await next."""
        tcp = struct.pack("!HHIIHHHH", source.port, target.port, number, 0, 5 << 12 | _RST, 0, 0, 0)
        ends = socket.inet_aton(source.host) + socket.inet_aton(target.host)
        check = _checksum(ends + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp)) + tcp)
        tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:]
        packet = _ip_header(source.host, target.host, socket.IPPROTO_TCP, len(tcp)) + tcp
        self._socket.sendto(packet, (target.host, 0))


class Observer:
    """Sees all packets of the loopback interface: datagrams, and where streams stand."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_IP))
        self._socket.bind(("lo", _ETH_IP))
        self._socket.setblocking(False)
        self.streams: dict[tuple[Address, Address], int] = {}
        """By source and target: the number of the next byte."""

    def close(self) -> None:
        self._socket.close()

    def datagrams(self) -> Iterator[tuple[Address, Address, bytes]]:
        """Those that have passed since: source, target, payload."""
        while True:
            try:
                packet, origin = self._socket.recvfrom(65_536)
            except BlockingIOError:
                return
            if origin[2] == socket.PACKET_OUTGOING:  # each is seen twice
                continue
            protocol, size = packet[9], 4 * (packet[0] & 15)
            packet, hosts = packet[: int.from_bytes(packet[2:4], "big")], packet[12:20]
            ports = struct.unpack_from("!HH", packet, size)
            source, target = (
                Address(socket.inet_ntoa(hosts[at : at + 4]), port)
                for at, port in zip((0, 4), ports, strict=True)
            )
            if protocol == socket.IPPROTO_UDP:
                yield source, target, packet[size + 8 :]
            elif protocol == socket.IPPROTO_TCP:
                self._follow(source, target, packet[size:])

    def _follow(self, source: Address, target: Address, segment: bytes) -> None:
        number, flags = struct.unpack_from("!I", segment, 4)[0], segment[13]
        if flags & (_FIN | _RST):
            self.streams.pop((source, target), None)
            return
        length = len(segment) - 4 * (segment[12] >> 4) + bool(flags & _SYN)
        self.streams[source, target] = (number + length) & 0xFFFFFFFF


def _ip_header(source: str, target: str, protocol: int, size: int) -> bytes:
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    begin = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, 0, 0, 64, protocol)
    return begin + struct.pack("!H", _checksum(begin + bytes(2) + ends)) + ends


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
