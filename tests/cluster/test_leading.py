"""Functions that run while a scripted node leads: when they start and end, and in what order."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from swim.errors import NameConflict
from swim.protocol.node import Phase
from swim.runtime.clock import NodeClock
from swim.runtime.driver import Driver
from swim.types import Term
from tests.cluster.scripted import ScriptedNode, driven


class Stage:
    """A scripted node that is given terms and loses them, and what its functions did."""

    def __init__(self, node: ScriptedNode, driver: Driver) -> None:
        self.node, self.driver = node, driver
        self.done: list[str] = []
        self.clean_up = 0.0

    def lead(self, token: str, seconds: float = float("inf")) -> None:
        self.node.term = Term(token, self.driver.now())
        self.renew(seconds)

    def renew(self, seconds: float) -> None:
        self.node.term_ends = self.driver.now() + seconds
        self.driver.settle()

    def follow(self) -> None:
        self.node.term = None
        self.driver.settle()

    async def serve(self, term: Term) -> None:
        """Until it is cancelled; then it takes a while to clean up."""
        self.done.append(f"start {term.token}")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.clean_up)
            self.done.append(f"end {term.token}")

    async def run_until_closed(self, function: Callable[[Term], Awaitable[None]] | None = None) -> None:
        """Let it, or else `serve`, run while the node leads, until the node ends."""
        with pytest.raises(trio.ClosedResourceError):
            await self.driver.leading.run(function or self.serve)


@asynccontextmanager
async def staged(*, clock: NodeClock | None = None) -> AsyncIterator[Stage]:
    async with driven(clock=clock) as (node, driver):
        yield Stage(node, driver)


MockClock = trio.testing.MockClock


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as opened:
        yield opened


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


# --- terms


async def test_a_function_runs_from_the_beginning_of_a_term_to_its_end(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    nursery.start_soon(stage.driver.leading.run, stage.serve)
    await settled()
    assert stage.done == []
    stage.lead("1")
    await settled()
    assert stage.done == ["start 1"]
    stage.follow()
    await settled()
    assert stage.done == ["start 1", "end 1"]
    stage.lead("2")
    await settled()
    assert stage.done == ["start 1", "end 1", "start 2"]


async def test_the_next_term_waits_for_the_clean_up(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    stage.clean_up = 10
    nursery.start_soon(stage.driver.leading.run, stage.serve)
    stage.lead("1")
    await trio.sleep(1)
    stage.lead("2")
    await trio.sleep(9)
    assert stage.done == ["start 1"]
    await trio.sleep(2)
    assert stage.done == ["start 1", "end 1", "start 2"]


async def test_a_term_that_came_and_went_during_the_clean_up_is_left_out(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    stage.clean_up = 10
    nursery.start_soon(stage.driver.leading.run, stage.serve)
    for token in ("1", "2", "3"):
        stage.lead(token)
        await trio.sleep(1)
    await trio.sleep(20)
    assert stage.done == ["start 1", "end 1", "start 3"]


async def test_a_term_that_is_not_renewed_ends_by_itself(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    nursery.start_soon(stage.driver.leading.run, stage.serve)
    stage.lead("1", 3)
    await trio.sleep(2)
    stage.renew(3)
    await trio.sleep(2.5)
    assert stage.done == ["start 1"]
    await trio.sleep(1)
    assert stage.done == ["start 1", "end 1"]
    stage.lead("2", 3)
    await trio.sleep(1)
    assert stage.done == ["start 1", "end 1", "start 2"]


@pytest.mark.parametrize(("stall", "goes_on"), [(0.8, True), (1.2, False)])
async def test_a_stall_while_a_term_is_renewed_is_none_until_the_new_end(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery, stall: float, goes_on: bool
) -> None:
    """Its old end passes between the node's look at the clock and the driver's: nothing was missed."""

    def renew() -> None:
        stage.node.term_ends = stage.driver.now() + 1
        autojump_clock.jump(stall)

    stage.node.on["handle_timer"] = renew
    nursery.start_soon(stage.driver.leading.run, stage.serve)
    stage.lead("1", 1)
    stage.node.deadline = stage.driver.now() + 0.5
    stage.driver.settle()
    await stage.node.heard("handle_timer")
    await settled()
    assert stage.done == (["start 1"] if goes_on else ["start 1", "end 1"])


async def test_a_term_that_ends_sooner_than_was_said(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    nursery.start_soon(stage.driver.leading.run, stage.serve)
    stage.lead("1", 30)
    await settled()
    stage.renew(1)
    await trio.sleep(1.5)
    assert stage.done == ["start 1", "end 1"]
    stage.lead("2", 30)
    await settled()
    stage.renew(-1)
    await settled()
    assert stage.done[2:] == ["start 2", "end 2"]


async def test_a_term_that_has_passed_is_not_begun(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    nursery.start_soon(stage.driver.leading.run, stage.serve)
    stage.lead("1", 0)
    await trio.sleep(1)
    assert stage.done == []
    stage.lead("2", 5)
    await trio.sleep(1)
    assert stage.done == ["start 2"]


async def test_no_function_begins_in_a_term_whose_end_has_passed_while_the_process_stood_still(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    """It stood still before the task that begins the function was run, and the node has not looked since."""
    stage.lead("1", 1)
    autojump_clock.jump(2)
    nursery.start_soon(stage.driver.leading.run, stage.serve)
    await settled()
    assert stage.done == []


async def test_the_deadline_can_be_seen_from_inside(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    left: list[float] = []

    async def look(term: Term) -> None:
        for _ in range(3):
            left.append(trio.current_effective_deadline() - trio.current_time())
            await trio.sleep(1)

    stage.lead("1", 10)
    await stage.driver.leading.run(look)
    assert left == [10, 9, 8]


async def test_a_function_that_wakes_too_late_goes_no_further_than_a_checkpoint() -> None:
    """On the real clock: the whole process stands still, as by SIGSTOP, with the renewal already waiting."""
    steps = 0

    async def step(term: Term) -> None:
        nonlocal steps
        while True:
            steps += 1
            if steps == 3:
                time.sleep(0.3)  # noqa: ASYNC251 - that is the point
            await trio.lowlevel.checkpoint()

    async with staged() as stage:

        def attend() -> None:
            node, now = stage.node, stage.driver.now()
            if now < node.term_ends:  # the node looks at this first
                node.term_ends = now + 100
            else:
                node.term = None

        stage.node.deadline = trio.current_time() + 0.1
        stage.node.on["handle_timer"] = attend
        stage.lead("1", 0.2)
        with trio.move_on_after(0.6) as patience:
            await stage.driver.leading.run(step)
        assert patience.cancelled_caught
    assert steps == 3


# --- what comes of functions


async def test_what_is_returned_is_returned(autojump_clock: MockClock, stage: Stage) -> None:
    async def work(term: Term) -> str:
        await trio.sleep(1)
        return f"done in {term.token}"

    stage.lead("1")
    assert await stage.driver.leading.run(work) == "done in 1"
    assert await stage.driver.leading.run(work) == "done in 1"  # asked for again, and still the leader


async def test_a_function_that_never_waits(autojump_clock: MockClock, stage: Stage) -> None:
    async def work(term: Term) -> int:
        return 7

    stage.lead("1")
    with trio.testing.assert_checkpoints():
        assert await stage.driver.leading.run(work) == 7


async def test_an_exception_emerges_as_itself(autojump_clock: MockClock, stage: Stage) -> None:
    async def fail(term: Term) -> None:
        raise KeyError("mine")

    stage.lead("1")
    with pytest.raises(KeyError, match="mine"):
        await stage.driver.leading.run(fail)
    assert not stage.driver.leading._running


async def test_an_exception_of_the_clean_up_emerges(autojump_clock: MockClock, stage: Stage) -> None:
    async def fail(term: Term) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("mine")

    stage.lead("1", 1)
    with pytest.raises(KeyError, match="mine"):
        await stage.driver.leading.run(fail)


async def test_work_that_was_done_in_spite_of_the_end_counts(autojump_clock: MockClock, stage: Stage) -> None:
    async def work(term: Term) -> int:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        return 7

    stage.lead("1", 1)
    assert await stage.driver.leading.run(work) == 7


async def test_several_at_once_go_their_own_ways(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    done: list[str] = []

    async def short(term: Term) -> None:
        await trio.sleep(1)
        done.append(term.token)

    async with trio.open_nursery() as others:
        others.start_soon(stage.driver.leading.run, stage.serve)
        others.start_soon(stage.driver.leading.run, short)
        nursery.start_soon(stage.driver.leading.run, stage.serve)
        await settled()
        stage.lead("1")
        await trio.sleep(2)
        assert done == ["1"]
        assert stage.done == ["start 1"] * 2
        others.cancel_scope.cancel()
    assert stage.done == ["start 1"] * 2 + ["end 1"]
    stage.follow()
    await settled()
    assert stage.done == ["start 1"] * 2 + ["end 1"] * 2


async def test_cancelled_from_outside(autojump_clock: MockClock, stage: Stage) -> None:
    stage.lead("1")
    with trio.move_on_after(1) as scope:
        await stage.driver.leading.run(stage.serve)
    assert scope.cancelled_caught
    assert stage.done == ["start 1", "end 1"]


# --- ends of the node


async def test_functions_end_before_the_farewell(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    async def run() -> None:
        await stage.run_until_closed()
        stage.done.append("closed")

    stage.clean_up = 30
    stage.node.on["leave"] = lambda: stage.done.append("farewell")
    stage.lead("1")
    nursery.start_soon(run)
    await settled()
    began = trio.current_time()
    await stage.driver.leave()
    stage.driver.stop()
    assert 30 <= trio.current_time() - began < 31
    await settled()
    assert stage.done == ["start 1", "end 1", "farewell", "closed"]


async def test_a_function_may_leave_the_cluster(autojump_clock: MockClock, stage: Stage) -> None:
    async def work(term: Term) -> None:
        await stage.driver.leave()

    stage.lead("1")
    with trio.move_on_after(5):
        await stage.driver.leading.run(work)
    assert stage.node.phase is Phase.LEFT


async def test_no_term_begins_while_leaving(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    stage.clean_up = 5
    stage.lead("1")
    nursery.start_soon(stage.run_until_closed)
    await settled()
    nursery.start_soon(stage.driver.leave)
    await trio.sleep(1)
    stage.lead("2")
    nursery.start_soon(stage.run_until_closed)
    await trio.sleep(30)
    stage.driver.stop()
    await settled()
    assert stage.done == ["start 1", "end 1"]


@pytest.mark.parametrize("first", ["leave", "step down"])
async def test_nor_if_a_function_steps_down_meanwhile(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery, first: str
) -> None:
    async def serve(term: Term) -> None:
        try:
            await stage.serve(term)
        finally:
            if first == "leave":
                stage.driver.yield_leadership()

    stage.clean_up = 5
    stage.node.on["yield_leadership"] = lambda: stage.lead("2")  # nobody else is there
    stage.lead("1")
    nursery.start_soon(stage.run_until_closed, serve)
    await settled()
    if first == "step down":
        stage.driver.yield_leadership()
    nursery.start_soon(stage.driver.leave)
    await trio.sleep(30)
    stage.driver.stop()
    await settled()
    assert stage.node.phase is Phase.LEFT
    assert stage.done == ["start 1", "end 1"]


async def test_the_body_may_be_cancelled_while_a_function_outside_of_it_runs(nursery: trio.Nursery) -> None:
    done: list[str] = []

    with trio.CancelScope() as scope:
        async with staged() as stage:
            done = stage.done
            stage.clean_up = 0.2
            stage.node.on["leave"] = lambda: done.append("farewell")
            stage.lead("1")
            nursery.start_soon(stage.run_until_closed)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()
    assert done == ["start 1", "end 1", "farewell"]


async def test_a_node_that_is_stopped(autojump_clock: MockClock, stage: Stage) -> None:
    async def stop(term: Term) -> None:
        stage.driver.stop()
        await stage.serve(term)

    stage.lead("1")
    with pytest.raises(trio.ClosedResourceError):
        await stage.driver.leading.run(stop)
    assert stage.done == ["start 1", "end 1"]
    assert stage.node.phase is Phase.MEMBER


async def test_a_farewell_that_was_due_is_not_said_by_a_node_that_is_stopped(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    stage.clean_up = 10
    stage.lead("1")
    nursery.start_soon(stage.run_until_closed)
    await settled()
    nursery.start_soon(stage.driver.leave)
    await trio.sleep(1)
    stage.driver.stop()
    await trio.sleep(20)
    assert not [call for call in stage.node.calls if call[0] == "leave"]


async def test_a_node_that_fails() -> None:
    ended = False
    with pytest.raises(NameConflict):  # noqa: PT012
        async with staged() as stage:

            async def serve(term: Term) -> None:
                nonlocal ended
                stage.node.phase, stage.node.failure = Phase.FAILED, NameConflict("taken")
                stage.follow()
                try:
                    await trio.sleep_forever()
                finally:
                    ended = True

            stage.lead("1")
            await stage.driver.leading.run(serve)
    assert ended


async def test_a_node_whose_core_breaks_leads_no_longer(nursery: trio.Nursery) -> None:
    def stumble() -> None:
        raise ZeroDivisionError

    ended = trio.Event()

    async def serve(term: Term) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with staged() as stage:
            stage.lead("1")
            nursery.start_soon(stage.run_until_closed, serve)
            await trio.testing.wait_all_tasks_blocked()
            stage.node.on["handle_timer"] = stumble
            stage.node.deadline = trio.current_time()
            stage.driver.settle()
            await ended.wait()
            await trio.sleep_forever()


# --- stepping down


async def test_stepping_down_waits_for_the_clean_up(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    def step_down() -> None:
        stage.done.append("stepped down")
        stage.node.term = None

    stage.node.on["yield_leadership"] = step_down
    stage.clean_up = 5
    nursery.start_soon(stage.driver.leading.run, stage.serve)
    stage.lead("1")
    await settled()
    stage.driver.yield_leadership()
    await trio.sleep(4)
    assert stage.done == ["start 1"]
    await trio.sleep(2)
    assert stage.done == ["start 1", "end 1", "stepped down"]
    stage.lead("2")
    await settled()
    assert stage.done[3:] == ["start 2"]


async def test_a_function_may_step_down(autojump_clock: MockClock, stage: Stage) -> None:
    async def once(term: Term) -> str:
        if term.token == "1":
            stage.driver.yield_leadership()
            await trio.sleep_forever()
        return term.token

    stage.node.on["yield_leadership"] = lambda: stage.lead("2")  # nobody else is there
    stage.lead("1")
    with trio.fail_after(60):
        assert await stage.driver.leading.run(once) == "2"


async def test_stepping_down_without_functions_is_at_once(autojump_clock: MockClock, stage: Stage) -> None:
    stage.lead("1")
    stage.driver.yield_leadership()
    assert [call[0] for call in stage.node.calls] == ["start", "require_may_yield", "yield_leadership"]


# --- a machine that sleeps


class Sleeper:
    """The system's word for how long the machine has slept."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


async def test_no_function_begins_in_a_term_that_is_over_since_the_machine_slept(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """It slept after the task that begins the function was woken."""
    sleeper = Sleeper()
    async with staged(clock=NodeClock(sleeper)) as stage:
        nursery.start_soon(stage.driver.leading.run, stage.serve)
        await settled()
        stage.lead("1", 30)
        sleeper.seconds += 60
        await settled()
        assert stage.done == []
        stage.lead("2", 30)
        await settled()
        assert stage.done == ["start 2"]
        nursery.cancel_scope.cancel()


async def test_a_machine_that_slept_leads_no_longer(autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    steps: list[float] = []

    async def step(term: Term) -> None:
        while True:
            steps.append(trio.current_time())
            if len(steps) == 5:
                sleeper.seconds += 60  # before the next task of the process is run
            await trio.sleep(0.1)

    async with staged(clock=NodeClock(sleeper)) as stage:
        stage.lead("1", 10)
        with trio.move_on_after(1) as patience:
            await stage.driver.leading.run(step)
        assert patience.cancelled_caught
        assert len(steps) == 5
        assert stage.driver.now() - trio.current_time() == 60


async def test_the_clock_goes_on_while_the_machine_sleeps(autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    clock = NodeClock(sleeper)
    began = clock.now()
    assert began == trio.current_time()
    sleeper.seconds += 0.001  # between two clocks that are read one after the other
    assert clock.now() == began
    assert not clock.look()
    sleeper.seconds += 30
    assert clock.look()
    assert clock.now() == pytest.approx(began + 30.001)
    assert clock.deadline(clock.now()) == pytest.approx(trio.current_time())
    sleeper.seconds -= 30  # never back
    await trio.sleep(1)
    assert clock.now() == pytest.approx(began + 31.001)


async def test_the_timer_is_early_after_a_sleep() -> None:
    sleeper = Sleeper()
    async with staged(clock=NodeClock(sleeper)) as stage:
        stage.node.deadline = trio.current_time() + 3600
        stage.driver.settle()
        sleeper.seconds += 3600
        assert stage.driver.now() > stage.node.deadline
        stage.driver.settle()
        await stage.node.heard("handle_timer")
