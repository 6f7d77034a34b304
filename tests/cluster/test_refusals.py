"""What ICMP says: believed only about what was really sent, lately, and only from the destination."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest
import trio

import swim
from swim.runtime.kept.stream import KeptStream
from swim.runtime.sockets.refusals import SentLog
from swim.runtime.sockets.transport import SocketTransport, open_transport
from swim.types import Address
from tests.cluster.together import cluster_of
from tests.icmp import Forger, Observer, why_no_forger

THERE = Address("127.0.0.1", 7)
PING = bytes(range(40))
LARGE = bytes(index % 251 for index in range(1_200))


@pytest.fixture
def forger() -> Iterator[Forger]:
    if sys.platform != "linux":
        pytest.skip("the ICMP error queue is Linux's")
    if (reason := why_no_forger()) is not None:
        pytest.skip(reason)
    with closing(Forger()) as opened:
        yield opened


@pytest.fixture
def pair() -> Iterator[tuple[SocketTransport, SocketTransport]]:
    """Both listen, so that every refusal is a lie."""
    with closing(open_transport("127.0.0.1", 0)) as a, closing(open_transport("127.0.0.1", 0)) as b:
        yield a, b


async def refused(transport: SocketTransport, now: float = 0.0) -> list[Address]:
    """What is believed of the errors that have arrived."""
    with trio.fail_after(60):
        await trio.lowlevel.wait_readable(transport.udp)
    transport.receive(8)
    return list(transport.refusals(8, now))


async def test_made_up_icmp_that_quotes_no_datagram_is_counted(
    forger: Forger, pair: tuple[SocketTransport, SocketTransport]
) -> None:
    a, b = pair
    a.send(PING, b.address, 0.0)
    forger.unreachable(b.address.host, a.address, b.address)
    assert await refused(a) == []
    forger.unreachable(b.address.host, a.address, b.address, PING[:20])
    assert await refused(a) == []
    forger.unreachable(b.address.host, a.address, b.address, bytes(40))
    assert await refused(a) == []
    assert a.traffic.dropped == {"icmp-unasked": 3}


async def test_what_another_host_says_in_its_own_name_is_counted(
    forger: Forger, pair: tuple[SocketTransport, SocketTransport]
) -> None:
    a, b = pair
    a.send(PING, b.address, 0.0)
    forger.unreachable("127.0.0.9", a.address, b.address, PING)
    assert await refused(a) == []
    assert a.traffic.dropped == {"icmp-offender": 1}


async def test_a_whole_quotation_from_the_destination_is_believed_once(
    forger: Forger, pair: tuple[SocketTransport, SocketTransport]
) -> None:
    a, b = pair
    a.send(PING, b.address, 0.0)
    forger.unreachable(b.address.host, a.address, b.address, PING)
    assert await refused(a) == [b.address]
    forger.unreachable(b.address.host, a.address, b.address, PING)
    assert await refused(a) == []


async def test_resets_that_are_forged_into_idle_streams_and_refusals_of_all_pings_prove_no_death(
    forger: Forger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one that sees all packets: both are authentic, but no stream ends by itself."""
    told = Counter[type]()
    report_end = KeptStream.report_end

    def count(stream: KeptStream) -> None:
        told[type(stream._error)] += 1
        report_end(stream)

    monkeypatch.setattr(KeptStream, "report_end", count)
    async with cluster_of("a", "b", "c") as nodes:
        ours = [node.address for node in nodes]
        async with nodes[0].events() as at_a, nodes[1].events() as at_b, nodes[2].events() as at_c:
            with closing(Observer()) as observer, trio.move_on_after(5.0):
                while True:
                    for source, target, payload in observer.datagrams():
                        if source in ours and target in ours:
                            forger.unreachable(target.host, source, target, payload)
                    for (source, target), number in list(observer.streams.items()):
                        if source in ours or target in ours:
                            forger.reset(source, target, number)
                    observer.streams.clear()
                    await trio.sleep(0.02)
            await trio.sleep(1.0)
            events = [event for each in (at_a, at_b, at_c) for event in each._buffer]
        assert not [event for event in events if isinstance(event, swim.MemberFailed | swim.LeaderChanged)]
    assert told[ConnectionResetError] >= 6, "of each of the streams"


def test_a_datagram_of_some_time_ago_or_to_somebody_else_is_no_proof() -> None:
    log = SentLog()
    log.note(PING, THERE, 10.0)
    assert not log.take(PING, Address("127.0.0.1", 8), 10.0)
    assert not log.take(PING, THERE, 13.1)
    assert log.take(PING, THERE, 12.9)


def test_of_a_large_datagram_a_large_part_is_enough() -> None:
    log = SentLog()
    log.note(LARGE, THERE, 0.0)
    assert not log.take(LARGE[:399], THERE, 0.0)
    assert not log.take(LARGE[1:521], THERE, 0.0)
    assert log.take(LARGE[:520], THERE, 0.0)


def test_the_log_is_bounded_in_addresses_and_for_each() -> None:
    log = SentLog()
    for number in range(5_000):
        log.note(b"%d" % number, THERE, 0.0)
    assert not log.take(b"4900", THERE, 0.0)
    assert log.take(b"4999", THERE, 0.0)
    for number in range(5_000):
        log.note(PING, Address("10.0.0.1", number), 0.0)
    assert not log.take(PING, Address("10.0.0.1", 0), 0.0)
    assert log.take(PING, Address("10.0.0.1", 4_999), 0.0)
