"""Strangers that take all they can get of a node's connections, beside a newcomer that wants to join."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from swim.types import Address
from swim.wire import Codec
from swim.wire.messages import UserMessage
from tests.cluster.together import PATIENCE, everybody, open_node, sees

SILENT = 400
JOIN_S = 5.0
"""Generous: it takes a few milliseconds."""


@asynccontextmanager
async def stranger(number: int, target: Address) -> AsyncIterator[trio.SocketStream]:
    """A connection from an address of its own."""
    with trio.socket.socket() as sock:
        await sock.bind((f"127.1.{number // 250}.{number % 250 + 1}", 0))
        await sock.connect(target)
        async with trio.SocketStream(sock) as stream:
            yield stream


async def hold(number: int, target: Address, data: bytes) -> None:
    """Open a connection, send this, and wait until it is closed; again and again."""
    while True:
        try:
            async with stranger(number, target) as stream:
                await stream.send_all(data)
                await stream.receive_some(1)
        except (trio.BrokenResourceError, OSError):
            await trio.sleep(0.05)


async def test_silent_strangers_under_many_addresses_do_not_keep_a_newcomer_out() -> None:
    async with open_node("a") as a, AsyncExitStack() as held:
        for number in range(SILENT):
            await held.enter_async_context(stranger(number, a.address))
        with trio.fail_after(JOIN_S):
            async with open_node("b", a) as b:
                await everybody([a, b], sees("a", "b"))
        assert a.statistics().dropped["stream-gave-way"] >= SILENT - a.statistics().streams


async def test_half_sent_requests_do_not_keep_a_newcomer_out() -> None:
    """As much as the node holds of incomplete requests, and more as soon as some has ended."""
    request = Codec().stream(UserMessage(bytes(19 << 20)))[:-1]
    async with open_node("a") as a, trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(hold, number, a.address, request)
        with trio.fail_after(PATIENCE):
            while not a.statistics().dropped.get("stream-gave-way"):  # noqa: ASYNC110 - no event tells it
                await trio.sleep(0.05)
        with trio.fail_after(JOIN_S):
            async with open_node("b", a) as b:
                await everybody([a, b], sees("a", "b"))
        nursery.cancel_scope.cancel()
