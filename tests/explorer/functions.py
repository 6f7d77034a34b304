"""Functions that run while a node leads, on trio, under random terms, cancellation and misbehaviour.

The node is a scripted one; the driver and `Leading` are real, on a mocked clock. What must hold:
- a run begins only inside a term, with that term, and one call's runs do not overlap;
- code that is not shielded passes no checkpoint once its term is over;
- a run whose term is over is cancelled, and a call that waits is served as soon as there is a term;
- what a function returns or raises comes out of its call, and nothing else does;
- the node steps down, and says its farewell, while no function runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

import trio
import trio.testing

from swim.runtime.clock import NodeClock
from swim.runtime.driver import Driver
from swim.types import Term
from tests.cluster.scripted import ScriptedNode, driven
from tests.explorer.oracle import Finding

__all__ = ["play"]

CALLS, STEPS = 4, 40
CLEANUP_MAX_S, STUBBORN_S = 3.0, 2.0
TIED_S = 1e-6
PATIENCE_S = 3_600.0


class Broken(Exception):
    """What functions raise here."""


@dataclass(eq=False)
class Run:
    """One time that a function was started."""

    term: Term
    shielded: bool = False
    cancelled: bool = False


@dataclass(eq=False)
class Call:
    """One use of `run_while_leader`."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    runs: list[Run] = field(default_factory=list)
    running: Run | None = None
    done: bool = False
    promised: object = None
    """What the last function returned, or raised."""


class Play:
    """One schedule."""

    def __init__(self, seed: int, node: ScriptedNode, driver: Driver, sleeper: list[float]) -> None:
        self.rng = Random(f"functions:{seed}")
        self.node, self.driver, self.sleeper = node, driver, sleeper
        self.calls: list[Call] = []
        self.number = 0
        self.over: dict[str, float] = {}
        """When each term was over, by trio's clock."""
        self.calm = self.leaving = False
        node.on["yield_leadership"] = self._stepped_down
        node.on["leave"] = lambda: self._require_idle("said its farewell")

    # --- terms
    def term_ends(self) -> float:
        return self.driver.clock.deadline(self.node.term_ends)

    def lead(self, seconds: float) -> None:
        """A term begins; the node may have lost the one before in the same breath."""
        if self.rng.random() < 0.5:
            self.lose()
        self._note_end()
        self.number += 1
        self.node.term = Term(f"{self.number:04}", self.driver.now())
        self.node.term_ends = self.driver.now() + seconds
        self.driver.settle()

    def renew(self, seconds: float) -> None:
        """A node looks first whether the end has passed."""
        if self.node.term is not None and self.driver.now() < self.node.term_ends:
            self.node.term_ends = self.driver.now() + seconds
            self.driver.settle()

    def lose(self) -> None:
        self._note_end()
        self.node.term = None
        self.driver.settle()

    def _note_end(self) -> None:
        if self.node.term is not None:
            ended = min(trio.current_time(), self.term_ends())
            self.over.setdefault(self.node.term.token, ended)

    def _stepped_down(self) -> None:
        self._require_idle("stepped down")
        self._note_end()
        self.node.term = None
        if not self.calm and self.rng.random() < 0.3:
            self.lead(math.inf)  # there is nobody else

    def sleep(self, seconds: float) -> None:
        """The machine sleeps."""
        self.sleeper[0] += seconds

    # --- functions
    def _require_idle(self, what: str) -> None:
        busy = [call.running.term.token for call in self.calls if call.running is not None]
        if busy:
            raise Finding("functions", f"the node {what} while functions of {busy} ran")

    def _lasts(self, run: Run) -> None:
        """This run has passed a checkpoint: is its term not over, or since this very instant?"""
        now, term = trio.current_time(), self.node.term
        if run.cancelled:
            raise Finding("functions", f"a checkpoint was passed after the end of {run.term.token}")
        if term is not None and term.token == run.term.token:
            over = self.term_ends()
        else:
            over = self.over.get(run.term.token, -math.inf)
        if now > over + TIED_S:
            raise Finding(
                "functions", f"{run.term.token} was over at {over:.3f}, a checkpoint passed at {now:.3f}"
            )

    async def work(self, run: Run, seconds: float, steps: int) -> None:
        """Some checkpoints; as stubborn as `run_stubborn` wants."""
        for _ in range(steps):
            try:
                await trio.sleep(seconds / steps)
            except trio.Cancelled:
                run.cancelled = True
                raise
            self._lasts(run)

    async def clean_up(self, run: Run, seconds: float) -> None:
        run.shielded = True
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)

    async def function(self, call: Call, term: Term) -> str:
        rng = self.rng
        run = Run(term)
        if call.running is not None:
            raise Finding("functions", f"{term.token} began while {call.running.term.token} of that call ran")
        current = self.node.term
        if current is None or current.token != term.token or trio.current_time() >= self.term_ends():
            raise Finding("functions", f"{term.token} began outside its term")
        call.running = run
        call.runs.append(run)
        call.promised = None
        try:
            return await self._behave(
                call, run, rng.choice(["work", "serve", "serve", "swallow", "raise", "yield"])
            )
        finally:
            call.running = None

    async def _behave(self, call: Call, run: Run, how: str) -> str:
        rng = self.rng
        try:
            if how == "serve":
                await self.work(run, math.inf, 1)
            await self.work(run, rng.uniform(0.0, 4.0), rng.randint(1, 9))
            if how == "yield" and not self.leaving:
                self.driver.yield_leadership()
                await self.work(run, 1.0, 1)
        except trio.Cancelled:
            if rng.random() < 0.5:
                await self.clean_up(run, rng.uniform(0.0, CLEANUP_MAX_S))
            if how == "swallow":
                await self._insist(call, run)
                call.promised = f"in spite of {run.term.token}"
                return call.promised
            if how == "raise":
                call.promised = Broken(run.term.token)
                raise call.promised from None
            raise
        call.promised = f"done in {run.term.token}"
        return call.promised

    async def _insist(self, call: Call, run: Run) -> None:
        """It goes on as if nothing were: at each checkpoint it is told again."""
        for _ in range(self.rng.randint(0, 5)):
            try:
                await trio.sleep(STUBBORN_S)
            except trio.Cancelled:
                continue
            raise Finding(
                "functions", f"{run.term.token}: a checkpoint was passed by a function that was cancelled"
            )

    async def call(self, call: Call) -> None:
        """As an application does it."""
        with call.scope:
            try:
                result = await self.driver.leading.run(lambda term: self.function(call, term))
                if call.promised is None or result != call.promised:
                    raise Finding("functions", f"{result!r} came out instead of {call.promised!r}")
            except Broken as error:
                if error is not call.promised:
                    raise Finding("functions", f"{error!r} came out instead of {call.promised!r}") from None
            except trio.ClosedResourceError:
                if not self.leaving:
                    raise Finding("functions", "closed, although nobody has left") from None
        call.done = True

    # --- the schedule
    async def run(self, nursery: trio.Nursery) -> None:
        rng = self.rng
        for _ in range(STEPS):
            while len([call for call in self.calls if not call.done]) < CALLS:
                self.calls.append(Call())
                nursery.start_soon(self.call, self.calls[-1])
            await trio.sleep(rng.choice([0.0, 0.1, 1.0]) * rng.random())
            self.strike()
        await self.settle()
        await self.leave()

    def strike(self) -> None:
        rng = self.rng
        match rng.choice(
            ["lead", "lead", "renew", "renew", "renew", "lose", "yield", "cancel", "sleep", "move"]
        ):
            case "lead":
                self.lead(rng.choice([0.0, 0.3, 1.0, 3.0, math.inf]))
            case "renew":
                self.renew(rng.choice([0.3, 1.0, 3.0]))
            case "lose":
                self.lose()
            case "yield":
                self.driver.yield_leadership()
            case "cancel":
                rng.choice(self.calls).scope.cancel()
            case "sleep":
                self.sleep(rng.choice([0.02, 0.5, 5.0]))
            case "move":
                self.renew(rng.uniform(-1.0, 1.0))

    async def settle(self) -> None:
        """Nothing is forgotten: all that runs for old terms ends, and whoever waits is served."""
        self.calm = True
        self.lose()
        await trio.sleep(2 * CLEANUP_MAX_S)
        self._require_idle("has had no term for long")
        waiting = [call for call in self.calls if not call.done]
        before = [len(call.runs) for call in waiting]
        self.lead(math.inf)
        await trio.testing.wait_all_tasks_blocked()
        for call, runs in zip(waiting, before, strict=True):
            if len(call.runs) == runs:
                raise Finding("functions", "a call that waited was forgotten")

    async def leave(self) -> None:
        self.leaving = True
        if self.rng.random() < 0.5:
            self.driver.yield_leadership()
        await self.driver.leave()
        self._require_idle("has left")
        self.driver.stop()
        await trio.sleep(2 * CLEANUP_MAX_S)
        if not all(call.done for call in self.calls):
            raise Finding("functions", "a call goes on although the cluster is closed")


def play(seed: int) -> None:
    """Raises `Finding`."""

    async def main() -> None:
        sleeper = [1_000.0]
        async with (
            driven(clock=NodeClock(lambda: sleeper[0])) as (node, driver),
            trio.open_nursery() as nursery,
        ):
            with trio.fail_after(PATIENCE_S):
                await Play(seed, node, driver, sleeper).run(nursery)

    try:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    except BaseExceptionGroup as group:
        found = [error for error in _leaves(group) if not isinstance(error, trio.Cancelled)]
        raise found[0] from None


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
