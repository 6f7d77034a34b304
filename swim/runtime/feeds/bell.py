"""What wakes one task: a `ParkingLot` for many, or an `Event`, are several times the work."""

from __future__ import annotations

import trio

__all__ = ["Bell"]


class Bell:
    """One task at a time waits until another rings."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    def __bool__(self) -> bool:
        """Does a task wait?"""
        return self._task is not None

    async def wait(self) -> None:
        """Until it rings."""
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._forget)

    def ring(self) -> None:
        """Wake the task, if one waits."""
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def _forget(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
