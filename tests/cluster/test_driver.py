"""The driver around a scripted node: what is called when, and that nothing is lost or left behind."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing

import pytest
import trio
import trio.testing

from swim.config import Config
from swim.errors import NameConflict
from swim.events import MemberUpdated, Snapshot
from swim.protocol.node import Phase, Request
from swim.runtime.driver import Driver
from swim.runtime.feeds.subscriptions import EventStream
from swim.runtime.running import running
from swim.runtime.sockets.transport import open_transport
from swim.types import Address
from swim.wire import DecodeError
from swim.wire.messages import UserMessage
from tests.cluster.names import Names
from tests.cluster.scripted import ScriptedNode, driven, make_driver
from tests.cluster.together import Stopwatch

HELLO = UserMessage(b"hello")
Scripted = tuple[ScriptedNode, Driver]


@pytest.fixture
async def joining() -> AsyncIterator[Scripted]:
    """A node that does not run yet, and will not be a member by itself."""
    node, driver = make_driver()
    node.member_at_start = False
    with closing(driver.transport):
        yield node, driver


async def connect(address: Address) -> trio.SocketStream:
    return await trio.open_tcp_stream(address.host, address.port)


async def read_all(stream: trio.SocketStream) -> bytes:
    with trio.fail_after(60):
        return b"".join([bytes(data) async for data in stream])


def ask(node: ScriptedNode, address: Address) -> int:
    """Make the node want a stream."""
    node.requests.append(Request(77, address, HELLO, node.codec))
    return 77


# --- datagrams and time


async def test_datagrams_come_before_the_timer() -> None:
    """Those of members, after a stall: their answers are all there."""
    async with driven() as (node, driver):
        node.known = True
        with ExitStack() as stack:
            peers = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(6)]
            node.deadline = trio.current_time() + 0.05
            driver.settle()
            for number in range(600):
                if number % 100 == 99:
                    time.sleep(0.05)  # noqa: ASYNC251 - the process stalls, and datagrams queue up beyond the deadline
                peers[number % 6].sendto(b"%d" % number, node.address)
            await node.heard("handle_timer")
        order = [call[0] for call in node.calls if call[0] in ("receive_datagram", "handle_timer")]
        assert order == ["receive_datagram"] * 600 + ["handle_timer"]
        assert driver.transport.traffic.rx_packets == 600


async def test_a_flood_of_strangers_keeps_neither_timers_nor_members_waiting() -> None:
    async with driven() as (node, driver):
        with ExitStack() as stack:
            stranger, member = (
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
            )
            member.bind(("127.0.0.1", 0))
            node.members_at = {Address(*member.getsockname())}
            node.on["receive_datagram"] = lambda data, source: time.sleep(0.001)
            for _ in range(300):
                stranger.sendto(b"rubbish", node.address)
            member.sendto(b"news", node.address)
            node.deadline = trio.current_time()
            driver.settle()
            await node.heard("handle_timer")
            order = [call[1] if call[0] == "receive_datagram" else call[0] for call in node.calls]
            assert order.index(b"news") < 20
            assert order.index("handle_timer") < 40
            await node.heard("receive_datagram", 301)


async def test_what_waits_of_a_flood_is_bounded() -> None:
    async with driven() as (node, driver):
        node.on["receive_datagram"] = lambda data, source: time.sleep(0.001)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for round in range(8):
                for _ in range(500):
                    stranger.sendto(bytes(10), node.address)
                await node.heard("receive_datagram", round + 1)
            assert len(driver._intake._strangers.packets) <= 2_048
            for _ in range(8):
                for _ in range(20):
                    stranger.sendto(bytes(60_000), node.address)
                await trio.sleep(0.01)
            assert sum(len(data) for data, _ in driver._intake._strangers.packets) < 3 * 1024 * 1024
        assert driver.transport.traffic.dropped["flood"] > 0
        node.on.clear()


async def test_what_could_wait_is_done_when_a_packet_wakes_the_process_anyway() -> None:
    async with driven() as (node, driver):
        node.deadline, node.patient = trio.current_time() + 3_600.0, trio.current_time()
        driver.settle()
        await trio.testing.wait_all_tasks_blocked()
        assert ("handle_timer",) not in [call[:1] for call in node.calls]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"news", node.address)
            await node.heard("handle_timer")
        order = [call[0] for call in node.calls if call[0] in ("receive_datagram", "handle_timer")]
        assert order[:2] == ["receive_datagram", "handle_timer"]


async def test_a_call_from_elsewhere_arms_the_timer_anew() -> None:
    async with driven() as (node, driver):
        await trio.testing.wait_all_tasks_blocked()
        node.deadline = trio.current_time() + 0.01
        driver.settle()
        await node.heard("handle_timer")
        await trio.testing.wait_all_tasks_blocked()
        assert len(await node.heard("handle_timer")) == 1


async def test_what_the_node_says_is_sent() -> None:
    async with driven() as (node, _), driven() as (other, driver):
        node.on["receive_datagram"] = lambda data, source: node.datagrams.append((b"pong", source))
        other.datagrams.append((b"ping", node.address))
        driver.settle()
        assert await other.heard("receive_datagram") == [("receive_datagram", b"pong", node.address)]


async def test_a_fault_in_the_core_is_noted_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    async with driven() as (node, driver):

        def stumble(data: bytes, source: Address) -> None:
            if data == b"bad":
                raise ZeroDivisionError

        node.on["receive_datagram"] = stumble
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer, caplog.at_level(logging.ERROR, "swim"):
            peer.sendto(b"bad", node.address)
            peer.sendto(b"good", node.address)
            await node.heard("receive_datagram", 2)
        assert driver.transport.traffic.dropped == {"internal-error": 1}
        assert "ZeroDivisionError" in caplog.text


async def test_a_fault_in_work_that_the_core_has_put_off_is_noted_and_survived(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with driven() as (node, driver):
        node.faults.append(("10.0.0.9", ZeroDivisionError("of a later step")))
        with caplog.at_level(logging.ERROR, "swim"):
            driver.settle()
        assert driver.transport.traffic.dropped == {"internal-error": 1}
        assert "10.0.0.9" in caplog.text
        assert "ZeroDivisionError: of a later step" in caplog.text


async def test_a_fault_in_the_timer_is_not_swallowed() -> None:
    def stumble() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with driven() as (node, driver):
            node.on["handle_timer"] = stumble
            node.deadline = trio.current_time()
            driver.settle()
            await trio.sleep(5)


@pytest.mark.skipif(sys.platform != "linux", reason="the ICMP error queue is Linux's")
async def test_the_node_hears_where_nobody_listens() -> None:
    transport = open_transport("127.0.0.1", 0)
    gone = transport.address
    transport.close()
    async with driven() as (node, driver):
        node.datagrams.append((b"ping", gone))
        driver.settle()
        assert await node.heard("receive_refusal") == [("receive_refusal", gone)]


async def test_a_fault_about_a_refusal_is_noted_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    transport = open_transport("127.0.0.1", 0)
    gone = transport.address
    transport.close()
    async with driven() as (node, driver):

        def stumble(address: Address) -> None:
            raise ZeroDivisionError

        node.on["receive_refusal"] = stumble
        node.datagrams.append((b"ping", gone))
        driver.settle()
        await node.heard("receive_refusal")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"still there?", node.address)
            await node.heard("receive_datagram")
        assert driver.transport.traffic.dropped == {"internal-error": 1}
        assert "ZeroDivisionError" in caplog.text


# --- streams that others open


async def test_a_request_is_answered_and_the_stream_closed() -> None:
    async with driven() as (node, driver):
        node.on["receive_request"] = lambda message: b"answer to " + message.payload
        stream = await connect(node.address)
        for byte in node.codec.stream(HELLO):
            await stream.send_all(bytes([byte]))
        assert await read_all(stream) == b"answer to hello"
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert driver.transport.traffic.streams == 0
        assert driver.transport.traffic.stream_tx_bytes == 15
        assert driver.transport.traffic.stream_rx_bytes == len(node.codec.stream(HELLO))


async def test_garbage_is_reported_and_the_answer_to_it_arrives() -> None:
    async with driven() as (node, _):
        node.on["receive_bad_stream"] = lambda reason: b"what?"
        stream = await connect(node.address)
        await stream.send_all(b"\xee" * 300_000)
        assert await read_all(stream) == b"what?"
        await stream.aclose()
        assert await node.heard("receive_bad_stream") == [("receive_bad_stream", "type")]


async def test_a_stream_that_ends_early() -> None:
    async with driven() as (node, _):
        stream = await connect(node.address)
        await stream.send_all(node.codec.stream(HELLO)[:-1])
        await stream.aclose()
        assert await node.heard("receive_bad_stream") == [("receive_bad_stream", "truncated")]
        await (await connect(node.address)).aclose()  # nothing at all: somebody only looked
        await trio.testing.wait_all_tasks_blocked()
        assert len(await node.heard("receive_bad_stream")) == 1


async def test_half_open_streams_are_bounded_in_time_and_number() -> None:
    config = Config.local(stream_timeout=1.0, streams_max=3, leave_linger=0.05)
    async with driven(config=config) as (node, driver):
        streams = [await connect(node.address) for _ in range(5)]
        await streams[0].send_all(node.codec.stream(HELLO)[:3])
        for stream in streams:
            assert await read_all(stream) == b""
            await stream.aclose()
        assert driver.transport.traffic.dropped == {"stream-gave-way": 2, "stream-timeout": 3}
        node.on["receive_request"] = lambda message: b"still here"
        stream = await connect(node.address)
        await stream.send_all(node.codec.stream(HELLO))
        assert await read_all(stream) == b"still here"
        await stream.aclose()


async def test_a_stream_that_says_nothing_gives_way_to_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swim.runtime.visits.GRACE", 0.05)
    async with driven(config=Config.local(streams_max=3, leave_linger=0.05)) as (node, driver):
        node.on["receive_request"] = lambda message: b"welcome"
        silent = [await connect(node.address) for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(0.06)
        stream = await connect(node.address)
        await stream.send_all(node.codec.stream(HELLO))
        assert await read_all(stream) == b"welcome"
        assert await read_all(silent[0]) == b""  # the oldest
        assert driver.transport.traffic.dropped == {"stream-gave-way": 1}
        for each in (stream, *silent):
            await each.aclose()


async def test_one_host_cannot_take_all_places() -> None:
    async with driven(config=Config.local(streams_max=3, leave_linger=0.05)) as (node, driver):
        node.on["receive_request"] = lambda message: b"welcome"
        crowd = [await connect(node.address) for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        elsewhere = trio.socket.socket()
        await elsewhere.bind(("127.0.0.2", 0))
        await elsewhere.connect(node.address)
        stream = trio.SocketStream(elsewhere)
        await stream.send_all(node.codec.stream(HELLO))
        assert await read_all(stream) == b"welcome"
        assert await read_all(crowd[0]) == b""
        assert driver.transport.traffic.dropped == {"stream-gave-way": 1}
        for each in (stream, *crowd):
            await each.aclose()


async def test_a_stream_from_a_network_that_is_not_allowed() -> None:
    async with driven(networks=("10.0.0.0/8",)) as (node, driver):
        stream = await connect(node.address)
        assert await read_all(stream) == b""
        await stream.aclose()
        assert driver.transport.traffic.dropped == {"stream-network": 1}
        assert not [call for call in node.calls if call[0] == "receive_request"]


async def test_a_fault_while_answering_a_stream(caplog: pytest.LogCaptureFixture) -> None:
    async with driven() as (node, driver):

        def stumble(message: object) -> bytes:
            raise ZeroDivisionError

        node.on["receive_request"] = stumble
        stream = await connect(node.address)
        await stream.send_all(node.codec.stream(HELLO))
        assert await read_all(stream) == b""
        await stream.aclose()
        assert driver.transport.traffic.dropped == {"internal-error": 1}
    assert "ZeroDivisionError" in caplog.text


# --- streams that the node asks for


async def test_every_request_gets_one_answer() -> None:
    async with driven() as (node, driver), driven() as (other, _):
        other.on["receive_request"] = lambda message: other.codec.stream(UserMessage(b"hi"), answering=True)
        token = ask(node, other.address)
        driver.settle()
        assert await node.heard("receive_answer") == [("receive_answer", token, UserMessage(b"hi"))]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(None, ConnectionError), (b"\xee", DecodeError), (b"\x08", ConnectionError)],
    ids=["silence", "garbage", "half"],
)
async def test_an_answer_that_is_none(answer: bytes | None, kind: type[Exception]) -> None:
    async with driven() as (node, driver), driven() as (other, _):
        other.on["receive_request"] = lambda message: answer
        ask(node, other.address)
        driver.settle()
        ((_, _, received),) = await node.heard("receive_answer")
        assert isinstance(received, kind)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_request_to_nobody(host: str) -> None:
    transport = open_transport("127.0.0.1", 0)
    gone = Address(host, transport.address.port)
    transport.close()
    async with driven() as (node, driver):
        ask(node, gone)
        driver.settle()
        ((_, _, received),) = await node.heard("receive_answer")
        assert isinstance(received, OSError)


async def test_an_answer_that_never_comes() -> None:
    config = Config.local(stream_timeout=0.2, leave_linger=0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with driven(config=config) as (node, driver):
            token = ask(node, Address(*silent.getsockname()))
            driver.settle()
            assert await node.heard("receive_answer") == [("receive_answer", token, None)]


async def test_sync_waits_for_its_outcome() -> None:
    async with driven() as (_, driver), driven() as (other, _):
        with trio.fail_after(60):
            assert await driver.sync(other.address) == "ConnectionError"
            other.on["receive_request"] = lambda message: other.codec.stream(HELLO, answering=True)
            assert await driver.sync(other.address) is None


async def test_the_end_wakes_the_tasks_that_wait() -> None:
    woken: list[str] = []
    node, driver = make_driver()
    with closing(driver.transport), socket.socket() as silent, trio.fail_after(60):
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        async def sync() -> None:
            woken.append(str(await driver.sync(Address(*silent.getsockname()))))

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await driver.until(lambda: False)
            woken.append("until")

        async with trio.open_nursery() as nursery, running(driver, ()):
            nursery.start_soon(sync)
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.05)
        assert sorted(woken) == ["the cluster is closed", "until"]
        assert await driver.sync(node.address) == "the cluster is closed"


# --- seeds


async def test_a_node_that_waits_says_why_of_its_seeds_and_of_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Strangers can have it call as many other ports as they like, and answer what they like."""
    node, driver = make_driver(seeds=["127.0.0.1:1"])
    node.member_at_start = False
    (seed,) = await driver._seeds.resolve(driver.transport.family)
    others = [Address("127.0.0.1", port) for port in range(2, 60)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run, (seed,))
        try:
            await node.heard("start")
            for address in (seed, *others, seed):
                ask(node, address)
                driver.settle()
            await node.heard("receive_answer", 2 + len(others))
        finally:
            driver.stop()
    assert [record.getMessage() for record in caplog.records if "no way in" in record.getMessage()] == [
        "scripted: no way in by 127.0.0.1:1 yet: ConnectionRefusedError; going on"
    ]


async def test_seeds_are_looked_up_again_and_again(autojump_clock: trio.testing.MockClock) -> None:
    names = Names(one=["10.0.0.1"])
    trio.socket.set_custom_hostname_resolver(names)
    node, driver = make_driver(seeds=["one:7"])
    told: list[tuple[float, tuple[Address, ...]]] = []
    node.on["set_seeds"] = lambda seeds: told.append((trio.current_time(), seeds))
    node.member_at_start = False
    with closing(driver.transport), trio.move_on_after(70):
        node.on["start"] = lambda seeds: names.names.update(one=["10.0.0.2"])
        async with trio.open_nursery() as nursery:

            async def become_a_member() -> None:
                await trio.sleep(11.5)
                node.phase = Phase.MEMBER
                driver.settle()

            nursery.start_soon(become_a_member)
            async with running(driver, (Address("10.0.0.1", 7),)):
                await trio.sleep_forever()
    assert [round(at) for at, _ in told] == [*range(1, 13), 42]
    assert {seeds for _, seeds in told} == {(Address("10.0.0.2", 7),)}


# --- events


async def test_a_slow_reader_gets_a_snapshot() -> None:
    config = Config.local(event_buffer=3, leave_linger=0.05)
    async with driven(config=config) as (node, driver), EventStream(driver.subscriptions) as events:
        for _ in range(20):
            node.events = [node.updated()]
            driver.settle()
        kinds = [type(await anext(events)), type(await anext(events))]
        assert kinds[0] is Snapshot
        assert kinds[1] is MemberUpdated


# --- life and death


async def test_leaving_is_waited_for_even_when_cancelled() -> None:
    with trio.CancelScope() as scope:
        async with driven() as (node, _):
            scope.cancel()
            await trio.sleep_forever()
    assert node.phase is Phase.LEFT
    assert [call[0] for call in node.calls] == ["start", "leave", "handle_timer"]


async def test_leaving_is_limited_in_time() -> None:
    async with driven() as (node, _):
        stopwatch = Stopwatch()
        node.on["leave"] = lambda: setattr(node, "deadline", None)  # a node that never has left
    assert node.phase is Phase.LEAVING
    assert stopwatch.seconds < 3


async def test_the_body_unwinds_before_the_node_leaves() -> None:
    async with driven() as (node, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            finally:
                assert node.phase is Phase.MEMBER
    assert node.phase is Phase.LEFT


async def test_a_failure_while_joining_emerges_as_itself(joining: Scripted) -> None:
    node, driver = joining

    def fail(seeds: object) -> None:
        node.phase = Phase.FAILED
        node.failure = NameConflict("taken")

    node.on["start"] = fail
    with pytest.raises(NameConflict, match="taken"), trio.fail_after(60):
        async with running(driver, ()):
            pytest.fail("not a member")
    assert not [call for call in node.calls if call[0] == "leave"]


async def test_a_later_failure_cancels_the_body() -> None:
    cancelled = False
    with pytest.raises(NameConflict, match="taken"), trio.fail_after(60):  # noqa: PT012
        async with driven() as (node, driver):
            node.phase = Phase.FAILED
            node.failure = NameConflict("taken")
            driver.settle()
            try:
                await driver.until(lambda: False)
            except trio.Cancelled:
                cancelled = True
                raise
    assert cancelled
    assert not [call for call in node.calls if call[0] == "leave"]


async def test_that_the_cluster_is_closed_is_no_second_error_beside_why() -> None:
    """Of a task of the body that finds that out in the instant of the failure."""
    with pytest.raises(NameConflict, match="taken"), trio.fail_after(60):  # noqa: PT012
        async with driven() as (node, driver), trio.open_nursery() as nursery:

            async def late() -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    driver.require_open()

            nursery.start_soon(late)
            node.phase = Phase.FAILED
            node.failure = NameConflict("taken")
            driver.settle()
            await trio.sleep_forever()


async def test_what_else_goes_wrong_beside_a_failure_comes_out_with_it() -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(60):  # noqa: PT012
        async with driven() as (node, driver):
            node.phase = Phase.FAILED
            node.failure = NameConflict("taken")
            driver.settle()
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("of the application's")
    assert {type(error) for error in caught.value.exceptions} == {NameConflict, ValueError}


async def test_an_exception_of_the_body_emerges_as_itself() -> None:
    with pytest.raises(KeyError) as caught:
        async with driven() as (node, _):
            raise KeyError("body")
    assert node.phase is Phase.LEFT
    assert caught.value.__context__ is None


async def test_a_group_of_the_body_emerges_as_it_is() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with driven():
            raise ExceptionGroup("mine", [KeyError("one")])
    assert caught.value.message == "mine"


async def test_cancelled_while_joining(joining: Scripted) -> None:
    node, driver = joining
    with trio.move_on_after(0.05) as scope:
        async with running(driver, ()):
            pytest.fail("not a member")
    assert scope.cancelled_caught
    assert [call[0] for call in node.calls] == ["start"]


def test_ctrl_c_reaches_the_body_and_the_node_still_leaves() -> None:
    nodes: list[ScriptedNode] = []

    async def main() -> None:
        async with driven() as (node, _):
            nodes.append(node)
            # It arrives while the driver is at work.
            node.on["receive_datagram"] = lambda data, source: signal.raise_signal(signal.SIGINT)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.sendto(b"x", node.address)
            await trio.sleep(5)

    # What is started in the background by a script has SIGINT ignored; trio then leaves it alone.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            trio.run(main)
    finally:
        signal.signal(signal.SIGINT, before)
    assert nodes[0].phase is Phase.LEFT


async def test_a_leave_that_was_begun_is_brought_to_its_end() -> None:
    started = trio.current_time()
    async with driven(config=Config.local(leave_linger=0.3)) as (node, driver):
        with trio.move_on_after(0.05) as scope:
            await driver.leave()
        assert scope.cancelled_caught
        assert node.phase is Phase.LEAVING
    assert node.phase is Phase.LEFT  # type: ignore[comparison-overlap]
    assert trio.current_time() - started >= 0.3
    assert len([call for call in node.calls if call[0] == "leave"]) == 1
