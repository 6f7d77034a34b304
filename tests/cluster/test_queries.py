"""Queries of Serf agents, as the driver carries them out: so many at once, and none can harm the node."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from swim.errors import PayloadTooLarge
from swim.protocol.base.outbox import Output, Query
from swim.runtime import queries
from swim.runtime.queries import Queries
from swim.types import Address, Member


def asked(count: int, name: str = "load") -> Output:
    """So many queries of one agent."""
    agent = Member("s", Address("10.0.0.9", 7946), None, {})
    return Output(queries=[Query(agent, name, b"", (number, number)) for number in range(count)])


def desk(handler: Any, answered: list[bytes]) -> Queries:
    """One of a node that serves the topic `load`."""

    def answer(query: Query, payload: bytes) -> None:
        if len(payload) > 900:
            raise PayloadTooLarge("too large for an answer")
        answered.append(payload)

    node: Any = SimpleNamespace(name="a", answer_query=answer)
    serving = SimpleNamespace(handler=lambda topic: handler if topic == "load" else None)
    mail: Any = SimpleNamespace(serving=serving, checked=lambda payload: payload)
    return Queries(node, mail, trio.current_time, lambda: None)


async def test_so_many_are_carried_out_at_once_and_no_more() -> None:
    go_on, running, answered = trio.Event(), [], list[bytes]()

    async def handler(sender: Member, payload: bytes) -> bytes:
        running.append(sender)
        await go_on.wait()
        return b"fine"

    tested = desk(handler, answered)
    async with trio.open_nursery() as nursery:
        tested.follow(asked(100), nursery)
        tested.follow(asked(5, "not served"), nursery)
        await wait_all_tasks_blocked()
        assert len(running) == queries._AT_ONCE
        go_on.set()
        await wait_all_tasks_blocked()
        tested.follow(asked(1), nursery)
    assert len(answered) == queries._AT_ONCE + 1


async def test_a_handler_that_fails_and_an_answer_that_is_too_large_are_told_and_harm_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: list[bytes | Exception] = [ValueError("of the application's"), b"x" * 1_000, b"fine"]
    answered: list[bytes] = []

    async def handler(sender: Member, payload: bytes) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            desk(handler, answered).follow(asked(1), nursery)
            await wait_all_tasks_blocked()
    assert answered == [b"fine"]
    assert [record.getMessage() for record in caplog.records] == [
        "a: a query of s (10.0.0.9:7946) ('load') failed"
    ] * 2
