"""Requests and their answers between real nodes on loopback: errors, cancellation, ends, and how often."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import swim
from swim.runtime.kept.sending import OVERHEAD, WINDOW_SIZE
from swim.wire.kept import Data, Frame, KeptChannel
from swim.wire.records import MESSAGE_SIZE_MAX
from tests.cluster.together import PATIENCE, cluster_of, everybody, open_node, sees

KEY = bytes(range(32))


@asynccontextmanager
async def nodes(*names: str, **options: Any) -> AsyncIterator[list[swim.Cluster]]:
    """As `cluster_of`; what takes too long fails."""
    with trio.fail_after(2 * PATIENCE):
        async with cluster_of(*names, **options) as clusters:
            yield clusters


async def double(sender: swim.Member, payload: bytes) -> bytes:
    return payload * 2


class Busy:
    """A handler that waits until it is let go, and notes what becomes of each request."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.cancelled: list[bytes] = []
        self.go_on = trio.Event()

    async def __call__(self, sender: swim.Member, payload: bytes) -> bytes:
        self.begun.append(payload)
        try:
            await self.go_on.wait()
        except trio.Cancelled:
            self.cancelled.append(payload)
            raise
        return payload

    async def has_begun(self, count: int) -> None:
        while len(self.begun) < count:  # noqa: ASYNC110
            await trio.sleep(0.01)

    async def has_cancelled(self, count: int) -> None:
        while len(self.cancelled) < count:  # noqa: ASYNC110
            await trio.sleep(0.01)


class Passes(trio.abc.Instrument):
    """Counts the passes of the loop."""

    count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


async def test_a_request_alone_is_written_and_answered_without_a_turn_for_a_writer() -> None:
    """What it takes: a stream that becomes readable and a task that wakes, at either end."""
    async with nodes("a", "b") as (a, b), b.serve("double", double):
        await a.request(b.me, b"warm", topic="double")
        each = []
        for _ in range(200):
            passes = Passes()
            trio.lowlevel.add_instrument(passes)
            assert await a.request(b.me, b"1", topic="double") == b"11"
            trio.lowlevel.remove_instrument(passes)
            each.append(passes.count)
        assert sorted(each)[100] <= 4


async def test_requests_and_answers_in_company_share_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    async with nodes("a", "b") as (a, b), b.serve("double", double):
        await a.request(b.me, b"warm", topic="double")
        frames: list[Data] = []
        encode = KeptChannel.encode

        def note(channel: KeptChannel, frame: Frame) -> bytes:
            if isinstance(frame, Data):
                frames.append(frame)
            return encode(channel, frame)

        monkeypatch.setattr(KeptChannel, "encode", note)
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(partial(a.request, b.me, b"%d" % number, topic="double"))
        assert len(frames) < 20


@pytest.mark.parametrize("options", [{}, {"keys": [KEY], "label": "blue"}], ids=["plain", "sealed"])
async def test_each_has_its_own_answer(options: dict[str, object]) -> None:
    async with nodes("a", "b", **options) as (a, b), b.serve("double", double):
        answers: dict[int, bytes] = {}

        async def ask(number: int) -> None:
            answers[number] = await a.request(b.me, b"%d," % number, topic="double")

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(ask, number)
        assert answers == {number: b"%d,%d," % (number, number) for number in range(500)}
        assert a.statistics().messages["asked"] == b.statistics().messages["served"] == 500
        largest = os.urandom(MESSAGE_SIZE_MAX // 2)
        assert await a.request("b", largest, topic="double") == largest * 2
        for node in (a, b):
            assert not node.statistics().dropped


async def test_both_ways_at_once_and_of_oneself() -> None:
    async with nodes("a", "b") as (a, b), a.serve("double", double):

        async def ask_back(sender: swim.Member, payload: bytes) -> bytes:
            return await b.request(sender, payload, topic="double")

        async with b.serve("ask back", ask_back):
            assert await a.request("b", b"x", topic="ask back") == b"xx"
        assert await a.request(a.me, b"y", topic="double") == b"yy"


async def test_what_the_handler_raises_is_the_askers(caplog: pytest.LogCaptureFixture) -> None:
    async with nodes("a", "b") as (a, b):

        async def refuse(sender: swim.Member, payload: bytes) -> Any:
            match payload:
                case b"error":
                    raise KeyError(f"not for {sender.name}\x1b[0m")
                case b"group":
                    raise ExceptionGroup("two", [ValueError("one"), TypeError("other")])
                case b"large":
                    return bytes(MESSAGE_SIZE_MAX + 1)
            return "text"

        async with b.serve("no", refuse):
            for payload, error, reason in (
                (b"error", "KeyError", "not for a"),
                (b"group", "ExceptionGroup", "two"),
                (b"large", "PayloadTooLarge", "at most 1048576 bytes"),
                (b"text", "TypeError", "must be bytes, not str"),
            ):
                with pytest.raises(swim.RequestError, match=f"b could not do it: {error}") as caught:
                    await a.request("b", payload, topic="no")
                assert caught.value.error == error
                assert reason in caught.value.reason
                assert "\x1b" not in caught.value.reason
                assert caught.value.member.name == "b"
        assert len([record for record in caplog.records if "failed" in record.message]) == 4


class Nameless(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("not even that")


async def test_a_handler_whose_exception_has_no_text_does_not_end_what_serves_the_others() -> None:
    async def fail(sender: swim.Member, payload: bytes) -> bytes:
        raise Nameless

    async with nodes("a", "b") as (a, b), b.serve("no", fail):
        for _ in range(2):
            with pytest.raises(swim.RequestError, match=r"Nameless: \(its text cannot be had"):
                await a.request("b", b"", topic="no")


async def test_a_clean_up_that_fails_as_its_topic_ceases_to_be_served_does_not_come_out_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of a handler with tasks of its own trio raises both together, that they were cancelled and failed."""
    begun = trio.Event()

    async def fail() -> None:
        try:
            begun.set()
            await trio.sleep_forever()
        finally:
            raise ValueError("the clean-up failed")

    async def handler(sender: swim.Member, payload: bytes) -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()
        raise AssertionError

    async def ask(cluster: swim.Cluster) -> None:
        with pytest.raises(swim.RequestError, match="Cancelled"):
            await cluster.request("b", b"", topic="work")

    async with nodes("a", "b") as (a, b), trio.open_nursery() as nursery, b.serve("work", handler):
        nursery.start_soon(ask, a)
        await begun.wait()
    assert any("the clean-up of a request of a" in record.getMessage() for record in caplog.records)


async def test_a_request_waits_for_whoever_serves_its_topic() -> None:
    async with nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        answers: list[bytes] = []

        async def ask(topic: str) -> None:
            answers.append(await a.request("b", topic.encode(), topic=topic))

        nursery.start_soon(ask, "late")
        nursery.start_soon(ask, "later")
        await trio.sleep(0.2)
        async with b.serve("late", double):
            await everything(answers, 1)
        async with b.serve("later", double):
            await everything(answers, 2)
        assert answers == [b"latelate", b"laterlater"]


async def everything(found: list[Any], count: int) -> None:
    while len(found) < count:  # noqa: ASYNC110
        await trio.sleep(0.01)


async def test_only_so_many_at_once_and_in_order() -> None:
    async with nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        busy = Busy()
        async with b.serve("work", busy, limit=3):
            for number in range(10):
                nursery.start_soon(a.request, "b", b"%d" % number)
                nursery.start_soon(lambda number=number: a.request("b", b"%d" % number, topic="work"))
                await wait_all_tasks_blocked()
            await busy.has_begun(3)
            await trio.sleep(0.1)
            assert busy.begun == [b"0", b"1", b"2"]
            busy.go_on.set()
            await busy.has_begun(10)
            assert busy.begun == [b"%d" % number for number in range(10)]
        nursery.cancel_scope.cancel()


async def test_what_is_not_served_is_refused_but_not_at_once() -> None:
    async with nodes("a", "b") as (a, b):
        for to in ("a", "b"):
            with pytest.raises(swim.RequestError, match="the topic 'nothing' is not served there") as caught:
                await a.request(to, b"", topic="nothing")
            assert caught.value.error == "Unserved"
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await a.request("b", b"x", topic="late"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.5)
            async with b.serve("late", double):
                await everything(answers, 1)
        busy = Busy()
        async with b.serve("work", busy, limit=1), trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(lambda: a.request("b", b"x", topic="work"))
            await busy.has_begun(1)
            await trio.sleep(3.5)  # the second waits for its turn, however long that takes
            busy.go_on.set()
            await busy.has_begun(2)


async def test_a_query_has_one_answer_of_each_member() -> None:
    async with nodes("a", "b", "c") as (a, b, _):
        async with a.serve("load", double), b.serve("load", double), a.query("load", b"1") as answers:
            heard = {answer.member.name: answer.payload or answer.problem async for answer in answers}
        refused = "Unserved: the topic 'load' is not served there"
        assert heard == {"a": b"11", "b": b"11", "c": refused}
        begun, cancelled = trio.Event(), trio.Event()

        async def slow(sender: swim.Member, payload: bytes) -> bytes:
            begun.set()
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        async with b.serve("slow", slow):
            async with a.query("slow", b"", patience=0.5) as answers:
                heard = {answer.member.name: answer.problem async for answer in answers}
            assert heard["b"] == "no answer within 0.5 s"
            await cancelled.wait()
        with pytest.raises(ValueError, match="a topic has at most 128 bytes"):
            async with a.query("x" * 129, b""):
                pass
    with pytest.raises(trio.ClosedResourceError):
        a.query("load", b"")


async def test_to_cancel_a_request_cancels_its_handler() -> None:
    async with nodes("a", "b") as (a, b):
        busy = Busy()
        async with b.serve("work", busy, limit=2):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    for number in range(3):
                        nursery.start_soon(lambda number=number: a.request("b", b"%d" % number, topic="work"))
                        await wait_all_tasks_blocked()
                    await busy.has_begun(2)
                    scope.cancel()
            await busy.has_cancelled(2)
            busy.go_on.set()
            assert await a.request("b", b"next", topic="work") == b"next"
            assert busy.begun == [b"0", b"1", b"next"], "what had not begun never does"


async def test_a_handler_that_cleans_up_badly_fails_alone() -> None:
    async with nodes("a", "b") as (a, b):
        begun = trio.Event()

        async def hold(sender: swim.Member, payload: bytes) -> bytes:
            if payload == b"":
                return b"fine"
            begun.set()
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the clean-up")

        async with b.serve("work", hold):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: a.request("b", b"x", topic="work"))
                await begun.wait()
                nursery.cancel_scope.cancel()
            assert await a.request("b", b"", topic="work") == b"fine"


async def test_askers_of_handlers_that_are_cancelled_by_the_end_of_serving_are_told() -> None:
    async with nodes("a", "b") as (a, b):
        errors: list[swim.RequestError] = []

        async def ask(to: str) -> None:
            try:
                await a.request(to, b"", topic="work")
            except swim.RequestError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for node in (a, b):
                busy = Busy()
                async with node.serve("work", busy):
                    nursery.start_soon(ask, node.name)
                    await busy.has_begun(1)
                assert busy.cancelled == [b""]
        assert [error.error for error in errors] == ["Cancelled", "Cancelled"]


@pytest.mark.parametrize("how", ["abort", "leave"])
async def test_a_request_to_a_member_that_is_gone_raises_at_once(how: str) -> None:
    async with nodes("a", "b", "c") as (a, b, _):
        busy, errors = Busy(), list[swim.SendError]()

        async def ask() -> None:
            try:
                await a.request("b", b"", topic="work")
            except swim.SendError as error:
                errors.append(error)

        async with b.serve("work", busy, limit=1), trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
            await busy.has_begun(1)
            if how == "abort":
                b.abort()
            else:
                await b.leave()
        assert len(errors) == 3
        for error in errors:
            assert isinstance(error.member, swim.Member)
            assert error.member.name == "b"
            assert "is gone; it is not known whether it has carried out this request" in str(error)
        with pytest.raises(swim.SendError, match="'b' is no member"):
            await a.request("b", b"late")


async def test_what_a_member_has_asked_that_is_gone_is_cancelled() -> None:
    async with nodes("a", "b") as (a, b):
        busy = Busy()

        async def ask(payload: bytes) -> None:
            with suppress(trio.ClosedResourceError):
                await a.request("b", payload, topic="work")

        async with b.serve("work", busy, limit=1), trio.open_nursery() as nursery:
            for payload in (b"0", b"1"):
                nursery.start_soon(ask, payload)
                await wait_all_tasks_blocked()
            await busy.has_begun(1)
            a.abort()
            await everybody([b], sees("b"))
            await busy.has_cancelled(1)
            busy.go_on.set()
            await wait_all_tasks_blocked(0.01)
        assert busy.begun == [b"0"]
        assert b._driver.inbox.size == 0


async def test_nothing_that_is_for_a_process_reaches_its_successor() -> None:
    async with nodes("a", "b") as (a, b):
        before, address = b.me, b.address
        assert before.process is not None
        assert a.member("b") == before
        await a.send(before, b"to the old one")
        b.abort()
        await everybody([a], sees("a"))
        with pytest.raises(swim.SendError, match="'b' is no member"):
            await a.send(before, b"to the old one")
        async with open_node("b", a, bind=str(address)) as again, again.serve("", double):
            await everybody([a, again], sees("a", "b"))
            assert again.me.process not in (None, before.process)
            for what in (a.send, a.request):
                with pytest.raises(swim.SendError, match="is gone, and another process has its name"):
                    await what(before, b"to the old one")
            assert await a.request("b", b"x") == b"xx"
            with pytest.raises(swim.SendError, match="is gone, and another process has its name"):
                await a.send(before, b"to the old one")
            assert again.statistics().messages["received"] == 0


async def test_a_process_is_the_same_with_a_fresh_id() -> None:
    async with nodes("a", "b") as (a, b), a.serve("", double):
        before = a.me
        a.yield_leadership()
        await b.wait_for(lambda cluster: cluster.leader is not None and cluster.leader.name == "b")
        await b.wait_for(lambda cluster: cluster.member("a").id != before.id)
        assert a.me.process == before.process
        assert await b.request(before, b"x") == b"xx"


async def test_broken_streams_double_no_request() -> None:
    async with nodes("a", "b") as (a, b):
        counts, answered = Counter[bytes](), list[bytes]()

        async def count(sender: swim.Member, payload: bytes) -> bytes:
            counts[payload] += 1
            await trio.sleep(0.002)
            return payload

        async def ask(first: int) -> None:
            for number in range(first, first + 100):
                with suppress(swim.SendError):  # on a busy machine such an end may look like a death
                    answered.append(await a.request("b", b"%d" % number, topic="count"))

        async def cut() -> None:
            for node in (a, b, a, b, a):
                await trio.sleep(0.05)
                cut_streams(node)

        async with b.serve("count", count, limit=8), trio.open_nursery() as nursery:
            nursery.start_soon(cut)
            for first in range(0, 800, 100):
                nursery.start_soon(ask, first)
        assert set(counts.values()) == {1}
        assert counts.keys() >= set(answered)
        assert answered


def cut_streams(node: swim.Cluster) -> None:
    """Those that it has opened, as a router does that forgets them."""
    for opener in node._driver._kept._openers.values():
        if opener._stream is not None:
            with socket.socket(fileno=os.dup(opener._stream.connection.socket.fileno())) as same:  # type: ignore[attr-defined]
                same.shutdown(socket.SHUT_RDWR)


async def test_a_node_that_was_given_up_for_a_while_is_told_and_nothing_is_done_twice() -> None:
    async with nodes("a", "b") as (a, b):
        busy = Busy()
        async with b.serve("work", busy), trio.open_nursery() as nursery:
            errors: list[swim.SendError] = []

            async def ask() -> None:
                try:
                    await a.request("b", b"once", topic="work")
                except swim.SendError as error:
                    errors.append(error)

            nursery.start_soon(ask)
            await busy.has_begun(1)
            # As after a silence that was longer than it should be.
            b._driver._kept.lose("a", "is gone")
            await busy.has_cancelled(1)
            await everything(errors, 1)
            assert "had given this node up for a while; it is not known whether" in str(errors[0])
            busy.go_on.set()
            assert await a.request("b", b"again", topic="work") == b"again"
        assert busy.begun == [b"once", b"again"]


async def test_an_answer_that_nobody_waits_for_is_ignored() -> None:
    async with nodes("a", "b") as (a, b):
        slow = trio.Event()

        async def stubborn(sender: swim.Member, payload: bytes) -> bytes:
            if payload == b"slow":
                with trio.CancelScope(shield=True):
                    await slow.wait()
            return payload

        async with b.serve("work", stubborn):
            with trio.move_on_after(0.2):
                await a.request("b", b"slow", topic="work")
            slow.set()
            assert await a.request("b", b"x", topic="work") == b"x"


async def test_a_full_window_holds_up_neither_answers_nor_other_topics() -> None:
    async with nodes("a", "b") as (a, b):
        large = bytes(WINDOW_SIZE - OVERHEAD)
        await a.send("b", large)
        await b.send("a", large)
        for topic in ("", "busy"):
            with trio.move_on_after(0.1) as scope:
                await a.send("b", large, topic="busy")
                await a.request("b", large, topic=topic)
                await a.request("b", large, topic=topic)
            assert scope.cancelled_caught
        async with b.messages("other") as messages, b.serve("double", double):
            await a.send("b", b"passes", topic="other")
            assert await anext(messages) == swim.DirectMessage(a.me, b"passes")
            assert await a.request("b", b"x", topic="double") == b"xx"


async def test_topics_have_messages_of_their_own() -> None:
    async with nodes("a", "b") as (a, b):
        for topic in ("one", "", "two"):
            await a.send("b", b"for " + topic.encode(), topic=topic)
        async with b.messages() as plain, b.messages("one") as one, b.messages("two") as two:
            for stream, payload in ((two, b"for two"), (one, b"for one"), (plain, b"for ")):
                assert await anext(stream) == swim.DirectMessage(a.me, payload)
            a.broadcast("one", b"news")
            for stream in (one, plain):
                assert await anext(stream) == swim.Broadcast(a.me, "one", b"news")
            await a.send("b", b"last", topic="two")
            assert await anext(two) == swim.DirectMessage(a.me, b"last")
        assert a._driver.mail.window("b")._lanes.keys() <= {(0, "two"), (0, ""), (0, "one")}


async def test_bad_topics_and_limits_and_payloads() -> None:
    async with nodes("a", "b") as (a, b):
        calls: tuple[Callable[[str], Awaitable[object]], ...] = (
            lambda topic: a.send("b", b"", topic=topic),
            lambda topic: a.request("b", b"", topic=topic),
            lambda topic: a.serve(topic, double).__aenter__(),
        )
        for call in calls:
            with pytest.raises(ValueError, match="a topic has at most 128 bytes, not 129"):
                await call("x" * 129)
            with pytest.raises(ValueError, match="not valid Unicode"):
                await call("\udcff")
            with pytest.raises(TypeError, match="a topic is a text"):
                await call(b"x")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="at most 128 bytes"):
            a.messages("ö" * 65)
        with pytest.raises(ValueError, match="limit=0: give 1 to"):
            async with a.serve("x", double, limit=0):
                pass
        async with a.serve("x", double):
            with pytest.raises(ValueError, match="'x' is being served already"):
                async with a.serve("x", double):
                    pass
        async with a.serve("x" * 128, double):
            assert await b.request("a", b"x", topic="x" * 128) == b"xx"
        with pytest.raises(swim.PayloadTooLarge):
            await a.request("b", bytes(MESSAGE_SIZE_MAX + 1))
        with pytest.raises(TypeError):
            await a.request("b", "text")  # type: ignore[arg-type]
    with pytest.raises(trio.ClosedResourceError):
        await a.request("b", b"")
    with pytest.raises(trio.ClosedResourceError):
        async with a.serve("x", double):
            pass


async def test_requests_end_with_the_cluster() -> None:
    async with nodes("a", "b") as (a, _), trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(trio.ClosedResourceError, match="the cluster is closed"):
                await a.request("b", b"")

        nursery.start_soon(ask)
        await wait_all_tasks_blocked(0.01)
        a.abort()


async def test_the_bodys_own_error_comes_out_of_serve_as_it_is() -> None:
    async with nodes("a") as (a,):
        with pytest.raises(RuntimeError, match="of the body"):
            async with a.serve("x", double):
                raise RuntimeError("of the body")
        async with a.serve("x", double):
            assert await a.request("a", b"x", topic="x") == b"xx"


async def test_settled_means_that_all_have_the_newest_tags() -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        a.set_tags({"drained": "yes"})
        await a.settled()
        for node in (b, c):
            assert [member.name for member in node.members(drained="yes")] == ["a"]
            assert [member.name for member in node.available(drained="yes")] == ["a"]
    with pytest.raises(trio.ClosedResourceError):
        await a.settled()


async def test_a_packet_for_a_stream_that_is_being_cancelled_is_dropped() -> None:
    """It comes over another stream, in the instant in which the node ends: a random schedule found that."""
    async with nodes("a", "b") as (a, b), b.serve("double", double):
        assert await a.request("b", b"x", topic="double") == b"xx"
        (acceptor,) = b._driver._kept._acceptors.values()
        b.abort()
        for _ in range(20):
            acceptor.post(b"late")
            await trio.lowlevel.cancel_shielded_checkpoint()
