"""The sockets: binding, what cannot be bound, datagrams, ICMP."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import trio

from swim.errors import AddressInUse
from swim.runtime.sockets.transport import SocketTransport, normal_address, open_transport, route_source
from swim.types import Address

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the ICMP error queue is Linux's")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


@pytest.fixture
def pair() -> Iterator[tuple[SocketTransport, SocketTransport]]:
    with closing(open_transport("127.0.0.1", 0)) as a, closing(open_transport("127.0.0.1", 0)) as b:
        yield a, b


async def receive_one(transport: SocketTransport) -> tuple[bytes, Address]:
    with trio.fail_after(60):
        while True:
            await trio.lowlevel.wait_readable(transport.udp)
            for datagram in transport.receive(1):
                return datagram


def test_port_zero_is_one_port_for_both() -> None:
    with closing(open_transport("127.0.0.1", 0)) as transport:
        assert transport.address.port != 0
        assert transport.listener.getsockname()[1] == transport.address.port


def test_port_zero_looks_on_where_the_tcp_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = socket.socket.bind
        answers = iter([taken.getsockname()[1]])

        def biased(sock: socket.socket, address: tuple[str, int]) -> None:
            if sock.type is socket.SOCK_DGRAM:
                address = (address[0], next(answers, 0))
            bind(sock, address)

        class Biased(socket.socket):
            def bind(self, address: tuple[str, int]) -> None:  # type: ignore[override]
                biased(self, address)

        monkeypatch.setattr(socket, "socket", Biased)
        transport = stack.enter_context(closing(open_transport("127.0.0.1", 0)))
        assert transport.address.port != taken.getsockname()[1]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_address_in_use_says_what_to_change(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        with pytest.raises(AddressInUse, match="bind to another port") as caught:
            open_transport("127.0.0.1", taken.getsockname()[1])
        assert caught.value.errno == errno.EADDRINUSE


def test_not_an_address_of_this_machine() -> None:
    with pytest.raises(OSError, match=r"not an address of this machine.*advertise") as caught:
        open_transport("198.51.100.7", 0)
    assert not isinstance(caught.value, AddressInUse)


def test_sockets_are_not_inherited(pair: tuple[SocketTransport, SocketTransport]) -> None:
    assert not pair[0].udp.get_inheritable()
    assert not pair[0].listener.get_inheritable()


async def test_datagrams_and_their_count(pair: tuple[SocketTransport, SocketTransport]) -> None:
    a, b = pair
    a.send(b"hello", b.address, 0.0)
    assert await receive_one(b) == (b"hello", a.address)
    assert (a.traffic.tx_packets, a.traffic.tx_bytes) == (1, 5)
    assert (b.traffic.rx_packets, b.traffic.rx_bytes) == (1, 5)


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_no_segment_of_tcp_is_larger_than_a_datagram_whoever_connects(host: str) -> None:
    with (
        closing(open_transport(host, 0)) as ours,
        socket.socket(ours.udp.family, socket.SOCK_STREAM) as theirs,
        socket.socket(ours.udp.family, socket.SOCK_STREAM) as listener,
    ):
        listener.bind((host, 0))
        listener.listen()
        ours.listener.setblocking(True)
        theirs.connect(ours.listener.getsockname())
        with ours.listener.accept()[0] as accepted, ours.stream_socket() as opened:
            opened.setblocking(True)
            opened.connect(listener.getsockname())
            with listener.accept()[0] as end:
                for sock in (theirs, accepted, opened, end):
                    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1_200


def test_what_cannot_be_sent_is_counted(pair: tuple[SocketTransport, SocketTransport]) -> None:
    a, b = pair
    a.send(bytes(70_000), b.address, 0.0)
    a.send(b"x", Address("::1", 9), 0.0)
    assert dict(a.traffic.dropped) == {"send-EMSGSIZE": 1, "send-family": 1}


@linux_only
@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
async def test_the_kernel_says_where_nobody_listens(host: str) -> None:
    with closing(open_transport(host, 0)) as a:
        with closing(open_transport(host, 0)) as b:
            gone = b.address
        a.send(b"anybody there?", gone, 0.0)
        with trio.fail_after(60):
            await trio.lowlevel.wait_readable(a.udp)
        assert list(a.receive(8)) == []
        assert list(a.refusals(8, 0.0)) == [gone]
        assert list(a.refusals(8, 0.0)) == []


@linux_only
async def test_an_error_about_one_does_not_lose_what_goes_to_another(
    pair: tuple[SocketTransport, SocketTransport],
) -> None:
    a, b = pair
    with closing(open_transport("127.0.0.1", 0)) as c:
        gone = c.address
    for number in range(20):
        a.send(b"to nobody", gone, 0.0)
        a.send(b"%d" % number, b.address, 0.0)
    arrived = [data for data, _ in b.receive(100)]
    assert arrived == [b"%d" % number for number in range(20)]
    assert set(a.refusals(100, 0.0)) == {gone}


@linux_only
@needs_ipv6
async def test_dual_stack_speaks_plain_ipv4() -> None:
    with (
        closing(open_transport("::", 0)) as both,
        closing(open_transport("127.0.0.1", 0)) as four,
        closing(open_transport("::1", 0)) as six,
    ):
        port = both.address.port
        for other, host in ((four, "127.0.0.1"), (six, "::1")):
            both.send(b"out", other.address, 0.0)
            assert await receive_one(other) == (b"out", Address(host, port))
            other.send(b"back", Address(host, port), 0.0)
            assert await receive_one(both) == (b"back", other.address)
        with closing(open_transport("127.0.0.1", 0)) as gone_transport:
            gone = gone_transport.address
        both.send(b"gone", gone, 0.0)
        with trio.fail_after(60):
            await trio.lowlevel.wait_readable(both.udp)
        assert list(both.receive(8)) == []
        assert list(both.refusals(8, 0.0)) == [gone]
        assert both.family is socket.AF_UNSPEC
        assert six.family is socket.AF_INET6


def test_normal_address() -> None:
    assert normal_address(("::ffff:10.0.0.1", 5, 0, 0)) == Address("10.0.0.1", 5)
    assert normal_address(("fe80::1%eth0", 5, 0, 2)) == Address("fe80::1", 5)


def test_route_source() -> None:
    assert route_source(Address("127.0.0.1", 7946)) == "127.0.0.1"
