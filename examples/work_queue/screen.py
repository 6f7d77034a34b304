"""What a node shows: what happens, above a progress bar; without a terminal, one line after the other."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

import swim


class Screen:
    """Open in a ``with`` block, so that the terminal is as before when it ends."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bars = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._jobs: dict[str, TaskID] = {}

    def __enter__(self) -> Screen:
        self._bars.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def event(self, event: swim.Event) -> None:
        match event:
            case swim.MemberJoined(member):
                self.say(f"{member.name} joined")
            case swim.MemberFailed(member, reason):
                self.say(f"{member.name} is dead ({reason})")
            case swim.MemberLeft(member):
                self.say(f"{member.name} left")
            case swim.LeaderChanged(swim.Member() as leader):
                self.say(f"{leader.name} leads")

    def progress(self, job: str, done: int, total: int) -> None:
        if self._bars.disable:
            self.say(f"{job}: {done} of {total}")
            return
        if job not in self._jobs:
            self._jobs[job] = self._bars.add_task(job)
        self._bars.update(self._jobs[job], completed=done, total=total)

    def finished(self, job: str, summary: str) -> None:
        if job in self._jobs:
            self._bars.remove_task(self._jobs.pop(job))
        self.say(f"{job}: {summary}")
