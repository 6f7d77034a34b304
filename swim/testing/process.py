"""One program of a world: a real `trio.run`, in a thread that runs only while the world gives it the turn.

trio asks the clock for how long it may sleep when no task can go on. That is where the turn is given back:
the thread stands still there until the world has something for the program, or its next deadline has come.
So at most one thread runs at any moment, between two instants of virtual time none does, and a program that
gets no turn any more has stopped between two checkpoints, as a killed process has.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Any, TypeVar, cast

import trio

from swim.simulation.schedule import Clock, Schedule

__all__ = ["Process", "WorldError", "process_of"]

T = TypeVar("T")

_LOOK_S = 0.05
"""Real seconds, at most, between two looks at a thread, or something else outside, that is waited for."""
_LOOKS_MAX = 100
"""For a program that has been cancelled."""
_PASSES_MAX = 20_000
"""Of trio's loop, for a program that has been cancelled: it may clean up, but not go on for ever."""
_GRACE_S = 0.5
_KILLS_MAX = 40
_KILL_INTERVAL_S = 0.05
_STACK_LINES_MAX = 12


class WorldError(Exception):
    """A program does what it cannot do in a world; the text says which one, and what."""


class Unwound(BaseException):
    """Raised in a program that does not end when it is cancelled. No program should ever catch it."""


class Process(trio.abc.Clock):
    """A program from its start to its end. It is the clock of its own trio run.

    `body` is the program, as it is run by trio; `ended` is called in its thread when it is over.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        schedule: Schedule,
        body: Callable[[], Awaitable[object]],
        ended: Callable[[], None],
        patience: float,
    ) -> None:
        self.name = name
        self.running = True
        """It has neither ended nor crashed. It may be paused."""
        self.returned = False
        self.result: object = None
        self.error: BaseException | None = None
        """With which the program ended."""
        self.clock = clock
        self._schedule = schedule
        self._body = body
        self._when_ended = ended
        self._patience = patience
        self._go = threading.Lock()
        self._back = threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._has_turn = False
        self._now = clock.local(schedule.now)
        self._deadline = inf
        self._armed = inf
        self._paused = 0.0
        self._arrived: list[Callable[[], object]] = []
        self._scope: trio.CancelScope | None = None
        self._misuse: WorldError | None = None
        self._stuck = self._ending = self._killed = False
        self._passes = self._looks = 0
        self._root: trio.lowlevel.Task | None = None
        self._thread = _Thread(self, self._main)
        self._thread.start()
        schedule.after(0.0, self.turn)

    def __repr__(self) -> str:
        return f"<program {self.name}>"

    # --- the world's side
    @property
    def true_time(self) -> float:
        """The world's time, whatever this machine's clock shows."""
        return self._schedule.now

    @property
    def calls(self) -> bool:
        """Whether it is this program itself that calls now."""
        return threading.current_thread() is self._thread

    @property
    def paused(self) -> bool:
        """Whether it gets no turns for now."""
        return self._paused > self._schedule.now

    def turn(self) -> None:
        """Let it run until nothing in it can go on at this instant."""
        if not self.running or self.paused or self._stuck:
            return
        self._has_turn = True
        self._now = max(self._now, self.clock.local(self._schedule.now))
        self._go.release()
        if not self._back.acquire(timeout=self._patience):
            self._stuck = True
            raise WorldError(
                f"{self.name} has been running for {self._patience:g} s without coming to rest: a program "
                f"must wait by trio's means for whatever it waits for. It is at\n{self._where()}"
            )
        self._has_turn = False
        if self._misuse is not None:
            misuse, self._misuse = self._misuse, None
            raise misuse

    def tell(self, action: Callable[[], object]) -> None:
        """Something has arrived that a task may wait for: `action` wakes it, in the program's thread."""
        if self._has_turn:
            action()
        elif self.running:
            if not self._arrived:
                self._schedule.after(0.0, self.turn)
            self._arrived.append(action)

    def call(self, function: Callable[[], T]) -> T:
        """Call it in the program's thread, between two of its steps, and return what it returns."""
        outcome: list[T] = []
        problem: list[BaseException] = []

        def act() -> None:
            try:
                outcome.append(function())
            except BaseException as error:
                problem.append(error)

        if not self.running or self.paused:
            raise LookupError(f"{self.name} {'stands still' if self.running else 'does not run'}")
        if self._has_turn:
            act()
        else:
            self._arrived.append(act)
            self.turn()
        if problem:
            raise problem[0]
        return outcome[0]

    def pause(self, seconds: float) -> None:
        """No turns for so long. From inside the program: it stands still at this very line."""
        self._paused = max(self._paused, self._schedule.now + seconds)
        self._schedule.at(self._paused, self._resume)
        if self.calls:
            self._hand_back()

    def crash(self) -> None:
        """No turns ever again. From inside the program: it ends at this very line."""
        self.running = False
        if self.calls:
            self._hand_back()
            raise Unwound

    def clock_changed(self) -> None:
        """The clock's rate is another now: its deadline has come nearer, or is farther off."""
        self._armed = inf
        self._arm()

    def _resume(self) -> None:
        if not self.paused:
            self.turn()

    def _arm(self) -> None:
        if self._deadline < inf and self._deadline != self._armed:
            self._armed = self._deadline
            self._schedule.at(self.clock.true(self._deadline), self._wake, self._deadline)

    def _wake(self, deadline: float) -> None:
        if deadline == self._armed and self.running and not self.paused:
            self._armed = inf
            # From true time to the clock's and back may round down: then nothing would be due yet.
            self._now = max(self._now, deadline)
            self.turn()

    def _where(self) -> str:
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "".join(traceback.format_stack(frame)[-_STACK_LINES_MAX:]) if frame else "(no Python code)"

    # --- the end of the world
    def end(self) -> str | None:
        """Unwind the program and end its thread. What was wrong with it; None when it ended by itself.

        It is cancelled, and runs on with a clock that jumps from deadline to deadline, while nothing that it
        does reaches anybody. A program that crashed before is unwound like this as well.
        """
        crashed, self.running = not self.running, False
        self._ending = self._has_turn = True
        if self._thread.is_alive() and not self._stuck:
            self._go.release()
            self._thread.join(self._patience)
        if self._thread.is_alive():
            self._kill()
        if self._thread.is_alive():
            return f"its thread cannot be ended; it is at\n{self._where()}"
        if self._killed and self._root is not None:
            self._thread = _Thread(self, partial(_discard, self._root))  # its clean-up may not end either
            self._thread.start()
            self._kill()
            if self._thread.is_alive():
                return f"its clean-up cannot be ended; it is at\n{self._where()}"
        if self._killed and not crashed and not self._stuck:
            return "it does not end when it is cancelled: it swallows trio.Cancelled, or is shielded for ever"
        return None

    def _kill(self) -> None:
        self._killed = True
        self._thread.join(_GRACE_S)  # one that passes checkpoints ends by itself: see `current_time`
        set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
        for _ in range(_KILLS_MAX):
            if not self._thread.is_alive():
                return
            set_exception(ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(Unwound))
            self._thread.join(_KILL_INTERVAL_S)

    # --- in the program's thread
    def _main(self) -> None:
        self._go.acquire()
        try:
            if not self._ending:
                self.result = trio.run(self._run, clock=self)
                self.returned = True
        except BaseException as error:
            if not self._ending:
                self.error = error
        finally:
            if not self._ending:
                self.running = self._has_turn = False
                self._when_ended()
            self._back.release()

    async def _run(self) -> object:
        self._root = trio.lowlevel.current_root_task()
        with trio.CancelScope() as self._scope:
            return await self._body()
        return None

    def _hand_back(self) -> None:
        self._has_turn = False
        self._back.release()
        self._go.acquire()
        if self._ending and not self._killed and self._scope is not None:
            self._scope.cancel()
        if self._killed:
            raise Unwound

    # --- trio.abc.Clock
    def start_clock(self) -> None:
        """Called by trio."""

    def current_time(self) -> float:
        """The time on this machine's clock. It stands still while the program has the turn."""
        if self._ending:
            self._passes += 1
            if self._passes > _PASSES_MAX or self._killed:
                self._give_up()
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Called by trio when no task can go on."""
        if not self._arrived:
            statistics = trio.lowlevel.current_statistics()
            if statistics.run_sync_soon_queue_size:
                return 0.0
            if trio.to_thread.current_default_thread_limiter().borrowed_tokens:
                return _LOOK_S  # a thread's work takes no virtual time, so the world waits for it
            self._misuse = self._find_misuse(statistics.io_statistics)
            if self._ending:
                return self._hurry(deadline)
            self._deadline = deadline
            self._arm()
            self._hand_back()
        arrived, self._arrived = self._arrived, []
        for action in arrived:
            action()
        return 0.0

    def _hurry(self, deadline: float) -> float:
        if deadline == inf and self._misuse is not None and self._looks < _LOOKS_MAX:
            self._looks += 1
            return _LOOK_S
        if deadline == inf:
            self._give_up()
        self._now = max(self._now, deadline)
        return 0.0

    def _give_up(self) -> None:
        self._killed = True
        raise Unwound

    def _find_misuse(self, waiting: object) -> WorldError | None:
        # One task of trio's own always waits for a socket: the one by which other threads wake it.
        if getattr(waiting, "tasks_waiting_read", 0) + getattr(waiting, "tasks_waiting_write", 0) <= 1:
            return None
        return WorldError(
            f"{self.name} waits for a socket, a pipe or a process of the real world, in which no time passes"
        )


class _Thread(threading.Thread):
    def __init__(self, process: Process, target: Callable[[], None]) -> None:
        super().__init__(target=target, name=process.name, daemon=True)
        self.process = process


def process_of(thread: threading.Thread) -> Process | None:
    """Whose thread this is."""
    return thread.process if isinstance(thread, _Thread) else None


def _discard(task: trio.lowlevel.Task) -> None:
    """Close the coroutines of a task that was left where it was, and of all below it, the innermost first."""
    for nursery in task.child_nurseries:
        for child in list(nursery.child_tasks):
            _discard(child)
        cast(Any, nursery)._children.clear()  # else it complains when it is freed
    try:
        task.coro.close()
    except BaseException:  # whatever the program does now: it is over
        return
