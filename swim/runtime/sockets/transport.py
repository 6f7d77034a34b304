"""The sockets of a node: one for UDP and a listener for TCP, on the same address and port.

Nothing here waits: the driver says when there is something to read.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import trio

from swim.errors import AddressInUse
from swim.runtime.network import Connection, Traffic
from swim.runtime.sockets.connections import SocketConnection, can_be_spared
from swim.runtime.sockets.refusals import IP_RECVERR, IPV6_RECVERR, SentLog, read_icmp_error
from swim.types import Address

__all__ = ["SocketTransport", "is_local", "is_wildcard", "open_transport", "route_source"]

_PACKET_SIZE_MAX = 65_536
_SEGMENT_SIZE_MAX = 1_200
"""Of TCP, both ways, as `Config.packet_size_max`: so no packet has more than 1,280 bytes."""
_RECEIVE_BUFFER = 1 << 20
_BACKLOG = 1_024
"""A crowd that joins at once: whoever finds no room here tries again after a second, then after three."""
_ACCEPTED_MAX = 64
_PORT_ATTEMPTS = 32

_HAS_ERROR_QUEUE = sys.platform == "linux"
_QUOTED_SIZE_MAX = 2_048
_MAPPED = "::ffff:"


class SocketTransport:
    """Both sockets. IPv4 peers of a dual-stack socket have plain IPv4 addresses on this side of it."""

    def __init__(self, udp: socket.socket, listener: socket.socket) -> None:
        self.listener = listener
        listener.setblocking(False)
        self.traffic = Traffic()
        self.address = normal_address(udp.getsockname())
        """Where the sockets are bound; the host may be a wildcard."""
        self._udp = udp
        self._fd = udp.fileno()
        self._ipv4 = udp.family == socket.AF_INET
        self._sent = SentLog()
        self._errors = False
        """Whether something is in the error queue; most times there is not, and to look costs a call."""
        self._dual_stack = _is_dual_stack(udp)

    @property
    def udp(self) -> socket.socket:
        """The UDP socket."""
        return self._udp

    @property
    def family(self) -> socket.AddressFamily:
        """See `Transport`."""
        return socket.AF_UNSPEC if self._dual_stack else socket.AddressFamily(self._udp.family)

    def close(self) -> None:
        """See `Transport`."""
        self._udp.close()
        self.listener.close()

    def reaches(self, address: Address) -> bool:
        """See `Transport`."""
        return self.socket_address(address) is not None

    def route_source(self, target: Address) -> str | None:
        """See `Transport`."""
        return route_source(target)

    def is_local(self, host: str) -> bool:
        """See `Transport`."""
        return is_local(host)

    # --- datagrams
    def send(self, data: bytes, address: Address, now: float) -> None:
        """See `Transport`."""
        target = self.socket_address(address)
        if target is None:
            self.traffic.dropped["send-family"] += 1
            return
        for _ in range(2):
            try:
                self._udp.sendto(data, target)
            except ConnectionError:
                # An earlier datagram's ICMP error, reported (and thereby cleared) now: once more.
                self._errors = True
                continue
            except OSError as error:
                # This host's own firewall or routes, which say nothing of the other.
                self.traffic.dropped[f"send-{errno.errorcode.get(error.errno or 0, 'error')}"] += 1
                return
            self._sent.note(data, address, now)
            self.traffic.tx_packets += 1
            self.traffic.tx_bytes += len(data)
            return
        self.traffic.dropped["send-ECONNREFUSED"] += 1

    async def wait_readable(self) -> None:
        """See `Transport`."""
        await trio.lowlevel.wait_readable(self._fd)

    def receive(self, limit: int, *, readable: bool = True) -> list[tuple[bytes, Address]]:
        """See `Transport`."""
        receive, traffic = self._udp.recvfrom, self.traffic
        arrived: list[tuple[bytes, Address]] = []
        for _ in range(limit):
            try:
                data, source = receive(_PACKET_SIZE_MAX)
            except BlockingIOError:
                self._errors |= readable and not arrived  # what else could it be?
                break
            except OSError:
                self._errors = True  # an ICMP error about something sent earlier: see `refusals`
                continue
            traffic.rx_packets += 1
            traffic.rx_bytes += len(data)
            arrived.append((data, Address(*source) if self._ipv4 else normal_address(source)))
        return arrived

    def refusals(self, limit: int, now: float) -> Iterator[Address]:
        """The addresses whose hosts say that no process listens there: see `swim.runtime.sockets.refusals`.

        All other errors are counted, and prove nothing.
        """
        if not (_HAS_ERROR_QUEUE and self._errors):
            return
        for _ in range(limit):
            try:
                quoted, ancillary, _, target = self._udp.recvmsg(_QUOTED_SIZE_MAX, 512, socket.MSG_ERRQUEUE)
            except OSError:
                self._errors = False
                return
            error = read_icmp_error(ancillary)
            if error is None or not target:
                continue
            address = normal_address(target)
            if error.number != errno.ECONNREFUSED:
                self.traffic.dropped[f"icmp-{error.name}"] += 1
            elif normal_address((error.offender, 0)).host != address.host:
                self.traffic.dropped["icmp-offender"] += 1
            elif not self._sent.take(quoted, address, now):
                self.traffic.dropped["icmp-unasked"] += 1
            else:
                yield address

    # --- streams
    async def connect(self, address: Address, *, to_keep: bool = False) -> SocketConnection:
        """See `Transport`."""
        target = self.socket_address(address)
        if target is None:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        sock = trio.socket.from_stdlib_socket(self.stream_socket())
        try:
            if to_keep and not can_be_spared(sock.fileno()):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            await sock.connect(target)
            if sock.getsockname() == sock.getpeername():
                # No process listens there, and the kernel happened to give us that very port: TCP connects
                # such a socket to itself.
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        except BaseException:
            sock.close()
            raise
        return SocketConnection(trio.SocketStream(sock), address, self.traffic)

    async def accept(self) -> list[Connection]:
        """See `Transport`."""
        await trio.lowlevel.wait_readable(self.listener)
        accepted = list[Connection]()
        try:
            while len(accepted) < _ACCEPTED_MAX:
                sock, sockaddr = self.listener.accept()
                sock.setblocking(False)
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
                accepted.append(SocketConnection(stream, normal_address(sockaddr), self.traffic))
        except OSError as error:
            if not accepted and not isinstance(error, BlockingIOError):
                raise
        return accepted

    def stream_socket(self) -> socket.socket:
        """A socket to connect with. It comes from the address that this node is bound to."""
        sock = socket.socket(self._udp.family, socket.SOCK_STREAM)
        try:
            if self._dual_stack:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            _limit_segments(sock)
            if os.name == "posix":
                # A connection may last, and its own port be that of a node which is down just now:
                # without this it could not be bound again.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not is_wildcard(self.address.host):
                sock.bind((self.address.host, 0))
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock

    def socket_address(self, address: Address) -> tuple[str, int] | None:
        """The address as this socket's family writes it; None when it cannot be reached from it."""
        host, port = address
        if ":" in host:
            return None if self._ipv4 else address
        if self._ipv4:
            return address
        return (_MAPPED + host, port) if self._dual_stack else None


def normal_address(sockaddr: Any) -> Address:
    """A socket's idea of an address as ours: without scope, and never IPv4 mapped into IPv6."""
    host: str = sockaddr[0]
    if ":" not in host:
        return Address(host, sockaddr[1])
    if host.startswith(_MAPPED) and "." in host:
        host = host[len(_MAPPED) :]
    return Address(host.partition("%")[0], sockaddr[1])


def is_wildcard(host: str) -> bool:
    """Whether this means every address of the machine."""
    return host in ("0.0.0.0", "::")


def open_transport(host: str, port: int) -> SocketTransport:
    """Bind both sockets to a numeric host; with port 0 to a port that is free for both.

    Raises `AddressInUse`, or another OSError that says what to change.
    """
    for attempt in range(_PORT_ATTEMPTS if port == 0 else 1):
        udp = _bound(host, port, socket.SOCK_DGRAM)
        try:
            # A port that is free for UDP may be taken for TCP: another one then.
            listener = _bound(host, udp.getsockname()[1], socket.SOCK_STREAM)
        except AddressInUse:
            udp.close()
            if port != 0 or attempt == _PORT_ATTEMPTS - 1:
                raise
        except BaseException:
            udp.close()
            raise
        else:
            return SocketTransport(udp, listener)
    raise AssertionError("unreachable")


def route_source(target: Address) -> str | None:
    """The local address from which packets to this one would leave. Sends nothing."""
    family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target.host, target.port or 9))
            return normal_address(probe.getsockname()).host
    except OSError:
        return None


def is_local(host: str) -> bool:
    """Whether this machine has the address."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL  # nothing else says that it is gone
    return True


def _bound(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    sock = None
    try:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        if kind is socket.SOCK_STREAM and os.name == "posix":
            # Otherwise connections that ended lately would keep a restarted node off its port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        if kind is socket.SOCK_STREAM:
            _limit_segments(sock)
            sock.listen(_BACKLOG)
        else:
            _prepare_datagrams(sock)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise _explained(error, Address(host, port), kind) from error
    return sock


def _limit_segments(sock: socket.socket) -> None:
    """Before it connects or listens, so that the other side is told, too."""
    if sys.platform != "win32":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_SIZE_MAX)


def _prepare_datagrams(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    if _HAS_ERROR_QUEUE:
        sock.setsockopt(*IP_RECVERR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(*IPV6_RECVERR, 1)


def _explained(error: OSError, address: Address, kind: socket.SocketKind) -> OSError:
    number = error.errno or 0
    if number == errno.EADDRINUSE:
        protocol = "TCP" if kind is socket.SOCK_STREAM else "UDP"
        return AddressInUse(
            number, f"{address} is taken ({protocol}): bind to another port, or to 0 for any that is free"
        )
    if number == errno.EADDRNOTAVAIL:
        advice = (
            "is not an address of this machine: bind to one that is, or to 0.0.0.0, and say with "
            "`advertise` where others reach it"
        )
    elif number == errno.EACCES:
        advice = "needs privileges: bind to a port from 1024 on"
    else:
        advice = f"cannot be bound ({error.strerror})"
    return OSError(number, f"{address} {advice}")


def _is_dual_stack(sock: socket.socket) -> bool:
    return sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
