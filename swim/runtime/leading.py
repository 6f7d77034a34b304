"""Functions that run while this node leads: its term, mirrored onto trio's cancel scopes.

The core decides when a term begins and ends, and moves its end ahead while all is well (`Node.term`,
`Node.term_ends`). Here that end is the deadline of the functions' scopes. So it is set ahead of time: a
process that was frozen finds it passed when it wakes, before any of its tasks is run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from swim.protocol.node import Node
from swim.runtime.clock import NodeClock
from swim.types import Term

__all__ = ["Functions", "Leading"]

T = TypeVar("T")


class Functions:
    """Functions that run for as long as something is granted to the node, each in a cancel scope.

    A subclass says what that is: `follow` takes over what the node says of it.
    """

    def __init__(self, node: Node, clock: NodeClock) -> None:
        self._node = node
        self._clock = clock
        self._running: dict[trio.CancelScope, None] = {}
        self._suspended = 0
        self._afterwards: list[Callable[[], None]] = []
        self._noticed = clock.slept
        self._watch = _SleepWatch(self)
        self._watching = self._closed = False

    def follow(self) -> bool:
        """Take over what the node says. Whether it is something new."""
        raise NotImplementedError

    def notice_sleep(self) -> None:
        """Time may have passed while the machine slept: what is over is ended before it runs on."""
        self._clock.look()
        if self._clock.slept > self._noticed:  # whoever has looked first
            self._noticed = self._clock.slept
            self.follow()

    def _note_running(self, running: bool) -> None:
        """The first function is about to begin; or the last has ended."""

    @trio.lowlevel.enable_ki_protection
    def _begun(self, scope: trio.CancelScope) -> None:
        if not self._watching:
            self._watching = True
            trio.lowlevel.add_instrument(self._watch)
        if not self._running:
            self._note_running(True)
        self._running[scope] = None

    @trio.lowlevel.enable_ki_protection
    def _ended(self, scope: trio.CancelScope) -> None:
        if self._running.pop(scope, self) is None and not self._running:
            self._note_running(False)
            self._flush()
        if not self._running and self._closed:
            self._watch_no_more()

    def close(self) -> None:
        """The node does not run any more."""
        self._closed = True
        if not self._running:
            self._watch_no_more()

    def _watch_no_more(self) -> None:
        if self._watching:
            self._watching = False
            trio.lowlevel.remove_instrument(self._watch)

    def suspend(self, afterwards: Callable[[], None] | None = None) -> None:
        """Cancel all functions and start none; do this as soon as the last has ended its clean-up."""
        self._suspended += 1
        if afterwards is not None:
            self._afterwards.append(afterwards)
        self.follow()
        if not self._running:
            self._flush()

    def _flush(self) -> None:
        due, self._afterwards = self._afterwards, []
        for afterwards in due:
            afterwards()

    def resume(self) -> None:
        """Undo one `suspend`: functions may start again, unless there is another (a leave ends none)."""
        self._suspended -= 1


class Leading(Functions):
    """The functions of a leader. `follow` is called after every call into the node."""

    def __init__(
        self,
        node: Node,
        clock: NodeClock,
        until: Callable[[Callable[[], bool]], Awaitable[None]],
        after_functions: Callable[[], None],
    ) -> None:
        super().__init__(node, clock)
        self._until = until
        self._after_functions = after_functions
        self._term: Term | None = None
        self._ends = 0.0

    @property
    def term(self) -> Term | None:
        """The term in which functions may run, at this moment."""
        return self._term if trio.current_time() < self._ends else None

    def follow(self) -> bool:
        """Take over what the node says of its term. Whether one has begun or ended.

        The node looks at the clock before anything else, and goes on with no term whose end has passed. So
        an old end that passes between its look and this one is none: the node has moved it ahead in time.
        """
        before, theirs = self._term, None if self._suspended else self._node.term
        if before is None and theirs is None:
            return False
        ends = self._clock.deadline(self._node.term_ends)
        if ends <= self._clock.trio_now():
            theirs = None  # as the node will see when it looks
        if before is not None and (theirs is None or theirs.token != before.token):
            self._end()
        if theirs is not None:
            self._term, self._ends = theirs, ends
            for scope in self._running:
                scope.deadline = ends
        return before is not self._term

    def _end(self) -> None:
        self._term, self._ends = None, 0.0
        for scope in self._running:
            scope.cancel()

    async def run(self, function: Callable[[Term], Awaitable[T]]) -> T:
        """See `Cluster.run_while_leader`."""
        while True:
            await self._until(lambda: self.term is not None)
            self.notice_sleep()
            term = self.term
            if term is None:
                continue
            with trio.CancelScope(deadline=self._ends) as scope:
                try:
                    self._begun(scope)
                    return await function(term)
                finally:
                    self._ended(scope)

    def _note_running(self, running: bool) -> None:
        self._node.note_functions(running, self._clock.now())
        if not running:
            self._after_functions()


class _SleepWatch(trio.abc.Instrument):
    """Looks whether the machine has slept, whenever trio's loop wakes: before any task is run."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def after_io_wait(self, timeout: float) -> None:
        self._functions.notice_sleep()
