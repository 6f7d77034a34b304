"""What runs while this node holds a name: its lease, mirrored onto trio's cancel scopes.

The core says when a use of a name is granted, until when it lasts, and when it is over. Here that end is the
deadline of a scope, as it is for the functions of a leader (`swim.runtime.leading`).
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from swim.errors import LeaseLost, LeaseRefused
from swim.protocol.leases.holder import Change
from swim.protocol.leases.leases import token_text
from swim.protocol.node import Node
from swim.runtime.clock import NodeClock
from swim.runtime.leading import Functions
from swim.types import Lease
from swim.wire.leases import LeaseRefusal

__all__ = ["Holding"]

T = TypeVar("T")

_REFUSED = {
    LeaseRefusal.DIFFERS: "it is in use otherwise than {}: all must use it alike",
    LeaseRefusal.FULL: "the leader keeps as many names as it can (Config.leases_max)",
    LeaseRefusal.MEMBER_FULL: "this node wants and holds a quarter of all names that the leader keeps",
    LeaseRefusal.SESSION: "the leader has another Config.session (or Config.lease): it must be the same",
}


@dataclass(eq=False, slots=True)
class _Use:
    """One use of a name, from when it is asked for until it is released."""

    name: str
    id: int
    how: str
    """For people: with which limit, or that it is owned."""
    ready: trio.Event = field(default_factory=trio.Event)
    """It is granted, or will not be."""
    lease: Lease | None = None
    ends: float = -math.inf
    """By the node's clock."""
    scope: trio.CancelScope | None = None
    lost: str = ""
    """Why it is over."""
    refusal: LeaseRefusal = LeaseRefusal.NONE

    def end(self, why: str) -> None:
        self.lost = self.lost or why
        if self.scope is not None:
            self.scope.cancel()


class Holding(Functions):
    """The names that one node uses. `settle`: see `Driver.settle`."""

    def __init__(self, node: Node, clock: NodeClock, settle: Callable[[], None]) -> None:
        super().__init__(node, clock)
        self._settle = settle
        self._asked = trio.Event()
        self._uses: dict[int, _Use] = {}
        self._slept = clock.slept
        self._known = trio.lowlevel.ParkingLot()
        """Where tasks wait that have asked which member holds a name, or for all to be released."""

    # --- what the node says

    def follow(self) -> bool:
        """Take over what the node says of names. The machine may have slept: all deadlines are set anew."""
        for change in self._node.leases.take_changes():
            use = self._uses.get(change.id)
            if use is not None:
                self._change(use, change)
        if self._suspended or self._slept != self._clock.slept:
            self._slept = self._clock.slept
            for use in self._uses.values():
                self._look_at(use)
        if self._known:
            self._known.unpark_all()
        return False

    def _look_at(self, use: _Use) -> None:
        if self._suspended:
            if use.lease is None:  # before it gives up what it has, so that nothing is moved to it
                self._node.leases.release(use.id, self._clock.now())
            use.end("this node leaves the cluster")
            use.ready.set()
        elif use.scope is not None:
            use.scope.deadline = self._clock.deadline(use.ends)

    def _change(self, use: _Use, change: Change) -> None:
        if change.token:
            use.ends = change.ends
            self._look_at(use)
            if use.lease is None:
                use.lease = Lease(use.name, token_text(change.token), self._clock.now())
        elif change.moving:
            use.end("another node is to own it")
        else:
            use.refusal = change.refusal
            use.end("the leader did not prolong it")
        use.ready.set()

    @trio.lowlevel.enable_ki_protection
    async def carry_out(self) -> None:
        """What many tasks ask of the node in one turn of the loop goes out together."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            self._settle()

    def close(self) -> None:
        """The node does not run any more: no task waits for anything."""
        super().close()
        for use in self._uses.values():
            use.end("the cluster is closed")
            use.ready.set()
        self._known.unpark_all()

    # --- using a name

    async def _may_begin(self) -> None:
        """A node that leaves uses no more names: wait until it has left."""
        while self._suspended and not self._closed:
            await self._known.park()
        self._require_open()

    @trio.lowlevel.enable_ki_protection
    def _begin(self, name: str, limit: int, owned: bool) -> _Use:
        how = "owned" if owned else f"held with a limit of {limit}"
        use = _Use(name, self._node.leases.want(name, limit, owned, self._clock.now()), how)
        self._uses[use.id] = use
        self._asked.set()
        return use

    @trio.lowlevel.enable_ki_protection
    def _end(self, use: _Use) -> None:
        del self._uses[use.id]
        if not self._closed:
            self._node.leases.release(use.id, self._clock.now())
            self._asked.set()

    def _require_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("the cluster is closed")

    async def _granted(self, use: _Use) -> Lease | None:
        """Wait for it. None where it was over before it was looked at."""
        await use.ready.wait()
        self._require_open()
        if use.refusal is not LeaseRefusal.NONE:
            raise LeaseRefused(f"{use.name!r} is not granted: {_REFUSED[use.refusal].format(use.how)}")
        over = use.lost or self._clock.deadline(use.ends) <= trio.current_time()
        return None if over else use.lease

    @contextmanager
    def _scope(self, use: _Use) -> Iterator[trio.CancelScope]:
        """Cancelled when the lease is over."""
        with trio.CancelScope(deadline=self._clock.deadline(use.ends)) as use.scope:
            self._begun(use.scope)
            try:
                yield use.scope
            finally:
                self._ended(use.scope)

    @asynccontextmanager
    async def lease(self, name: str, limit: int) -> AsyncIterator[Lease]:
        """See `Cluster.hold`."""
        while True:
            await self._may_begin()
            use = self._begin(name, limit, owned=False)
            try:
                lease = await self._granted(use)
                if lease is None:
                    continue
                with self._scope(use) as scope:
                    yield lease
                if scope.cancelled_caught:
                    why = use.lost or "the leader did not prolong it"
                    raise LeaseLost(f"{name!r} is not held any more: {why}", lease)
                return
            finally:
                self._end(use)

    async def run(self, name: str, function: Callable[[Lease], Awaitable[T]]) -> T:
        """See `Cluster.run_while_owner`."""
        while True:
            await self._may_begin()
            use = self._begin(name, 1, owned=True)
            try:
                lease = await self._granted(use)
                if lease is not None:
                    with self._scope(use):
                        return await function(lease)
            finally:
                self._end(use)

    # --- questions

    async def owner(self, name: str) -> str:
        """The name of the member that holds it; empty if none does."""
        self._require_open()
        question = self._node.leases.ask_owner(name, self._clock.now())
        try:
            self._asked.set()
            while (answer := self._node.leases.take_owner(question)) is None:
                await self._known.park()
                self._require_open()
            return answer
        finally:
            self._node.leases.drop_question(question)

    async def drain(self) -> None:
        """Until the leader has heard of all that is released."""
        while not self._node.leases.idle:
            await self._known.park()
