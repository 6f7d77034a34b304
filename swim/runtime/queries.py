"""One question to all members: requests to nodes of swim, a Serf query to Serf's agents.

And the other way: a Serf query reaches the handler that serves the topic of its name.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from swim.errors import PayloadTooLarge, RequestError, SwimError
from swim.messages import Answer
from swim.protocol.base.outbox import Output, Query, QueryKey, Reply
from swim.protocol.node import Node
from swim.runtime.kept.mail import Mail, checked_topic
from swim.runtime.kept.serving import Handler, call_handler
from swim.runtime.nurseries import unwrapped_nursery
from swim.types import Member

__all__ = ["Queries"]

_AT_ONCE = 64
"""Queries of Serf agents that are carried out at once; further ones are dropped."""

_logger = logging.getLogger("swim")


class Queries:
    """Those of one node."""

    def __init__(self, node: Node, mail: Mail, now: Callable[[], float], settle: Callable[[], None]) -> None:
        self._node = node
        self._mail = mail
        self._now = now
        self._settle = settle
        self._asked: dict[QueryKey, Callable[[Reply], None]] = {}
        self._running = 0

    def follow(self, output: Output, nursery: trio.Nursery) -> None:
        """Take what the node has put out."""
        for reply in output.replies:
            if (heard := self._asked.get(reply.key)) is not None:
                heard(reply)
        for query in output.queries:
            handler = self._mail.serving.handler(query.name)
            if handler is not None and self._running < _AT_ONCE:
                self._running += 1
                nursery.start_soon(self._answer, query, handler)

    @trio.lowlevel.enable_ki_protection
    async def _answer(self, query: Query, handler: Handler) -> None:
        try:
            payload = self._mail.checked(await call_handler(handler, query.member, query.payload))
            self._node.answer_query(query, payload)
            self._settle()
        except Exception:
            _logger.warning(
                "%s: a query of %s (%r) failed", self._node.name, query.member, query.name, exc_info=True
            )
        finally:
            self._running -= 1

    @asynccontextmanager
    async def ask(
        self, topic: str, payload: bytes, patience: float
    ) -> AsyncIterator[trio.MemoryReceiveChannel[Answer]]:
        """See `Cluster.query`."""
        topic, payload = checked_topic(topic), self._mail.checked(payload)
        said, answers = trio.open_memory_channel[Answer](math.inf)  # one of each member
        async with unwrapped_nursery() as nursery:
            nursery.start_soon(self._gather, topic, payload, patience, said)
            async with answers:
                yield answers
            nursery.cancel_scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _gather(
        self, topic: str, payload: bytes, patience: float, said: trio.MemorySendChannel[Answer]
    ) -> None:
        silent = {member.name: member for member in self._node.members()}

        def tell(member: Member, reply: bytes | None, problem: str = "") -> None:
            if silent.pop(member.name, None) is not None:
                said.send_nowait(Answer(member, reply, problem))

        @trio.lowlevel.enable_ki_protection
        async def ask(member: Member) -> None:
            try:
                tell(member, await self._mail.request(member, topic, payload))
            except RequestError as error:
                tell(member, None, f"{error.error}: {error.reason}")
            except SwimError as error:
                tell(member, None, str(error))

        with said:
            agents = [member for member in silent.values() if member.process is None]
            with trio.move_on_after(patience):
                async with trio.open_nursery() as nursery:
                    for member in [member for member in silent.values() if member.process is not None]:
                        nursery.start_soon(ask, member)
                    if agents:
                        await self._ask_agents(agents, topic, payload, patience, tell)
            for member in list(silent.values()):
                tell(member, None, f"no answer within {patience:g} s")

    async def _ask_agents(
        self,
        agents: list[Member],
        topic: str,
        payload: bytes,
        patience: float,
        tell: Callable[[Member, bytes | None, str], None],
    ) -> None:
        key, problem = None, "a plain memberlist, which cannot be asked"
        try:
            key = self._node.query(topic, payload, patience, self._now())
        except PayloadTooLarge as error:
            problem = str(error)
        if key is None:
            for member in agents:
                tell(member, None, problem)
            return
        missing = {member.name for member in agents}
        complete = trio.Event()

        def heard(reply: Reply) -> None:
            tell(reply.member, reply.payload, "")
            missing.discard(reply.member.name)
            if not missing:
                complete.set()

        self._asked[key] = heard
        self._settle()
        try:
            await complete.wait()
        finally:
            del self._asked[key]
