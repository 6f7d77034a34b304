"""`swim demo`: a cluster of real processes loses its leader and finds another."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable

import click
import trio
from rich.console import Console
from rich.table import Table

from swim.cli.processes import AgentProcess, AgentProcesses

__all__ = ["command"]

_TIME_LIMIT = 60.0
_AGENT_OPTIONS = ("--profile", "local")


class _NotObserved(Exception):
    """Something that the demo is to show did not happen."""


@click.command("demo", short_help="A cluster loses its leader, and gets over it.")
@click.option("--nodes", type=click.IntRange(3, 20), default=5, show_default=True, help="How many processes.")
@click.option("--port-base", type=click.IntRange(1, 65000), help="First of the ports.  [default: free ones]")
def command(nodes: int, port_base: int | None) -> None:
    """Watch a cluster of real processes lose its leader, and get over it. Takes about ten seconds.

    Every line tells what the processes reported. Exit status 0 only if all of it was seen.
    """
    sys.exit(trio.run(_Demo(Console(highlight=False), nodes, port_base).run))


class _Demo:
    def __init__(self, console: Console, count: int, port_base: int | None) -> None:
        self._console = console
        self._names = [f"node-{number}" for number in range(1, count + 1)]
        self._binds = [f"127.0.0.1:{port_base + n if port_base else 0}" for n in range(count)]
        self._processes: AgentProcesses
        self._waiting_for = ""
        self._observed: list[str] = []
        self._begun = time.monotonic()

    async def run(self) -> int:
        """The exit status."""
        interrupted = False
        missing: str | None = None
        async with trio.open_nursery() as nursery:
            self._processes = AgentProcesses(nursery)

            async def watch_signals(*, task_status: trio.TaskStatus[None]) -> None:
                nonlocal interrupted
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                    task_status.started()
                    async for _ in signals:
                        interrupted = True
                        nursery.cancel_scope.cancel()

            await nursery.start(watch_signals)
            try:
                missing = await self._observe_all()
            finally:
                await self._processes.close()
            nursery.cancel_scope.cancel()
        if interrupted:
            self._console.print("Interrupted; all processes are stopped.")
            return 130
        return self._summary(missing)

    async def _observe_all(self) -> str | None:
        """Play all scenes; what was not observed, if anything."""
        with trio.move_on_after(_TIME_LIMIT) as scope:
            try:
                old_leader = await self._gather()
                await self._lose(old_leader)
                await self._recover(old_leader)
                await self._leave()
            except _NotObserved as error:
                return str(error)
        return f"{self._waiting_for} (not within {_TIME_LIMIT:.0f} s)" if scope.cancelled_caught else None

    # --- the scenes
    async def _gather(self) -> AgentProcess:
        agents = self._processes.agents
        self._say(f"{len(self._names)} processes are started on this machine.")
        first = await self._start(0, join="")
        await self._until("the first process becomes a member", lambda: first.id is not None)
        for index in range(1, len(self._names)):
            await self._start(index, join=first.address)
        await self._until("all see all, and the same leader", lambda: self._agreed() is not None)
        leader = agents[self._agreed() or ""]
        self._saw(f"{len(agents)} processes found each other, and all say that {leader.name} leads")
        self._print_table()
        return leader

    async def _lose(self, leader: AgentProcess) -> None:
        self._say(f"SIGKILL for the leader, {leader.name}.")
        killed_at = time.monotonic()
        await self._processes.kill(leader)
        survivors = [agent for agent in self._processes.agents.values() if agent is not leader]
        noticed: dict[str, float] = {}
        led: dict[str, float] = {}

        def all_know() -> bool:
            for agent in survivors:
                dead = agent.time_of("dead", killed_at, member=leader.name)
                new = agent.time_of("leader", killed_at)
                if dead is None or new is None or agent.leader in (None, leader.name):
                    return False
                noticed[agent.name], led[agent.name] = dead - killed_at, new - killed_at
            return len({agent.leader for agent in survivors}) == 1

        await self._until("the others notice and agree on a new leader", all_know)
        new_leader = survivors[0].leader

        def acts() -> list[float]:
            found = [agent.time_of("leading", killed_at, on=True) for agent in survivors]
            return [at - killed_at for at in found if at is not None]

        await self._until("the new leader's function runs", lambda: bool(acts()))
        for agent in survivors:
            self._say(
                f"  {agent.name}: {leader.name} is dead after {noticed[agent.name] * 1000:.0f} ms, "
                f"{agent.leader} leads after {led[agent.name] * 1000:.0f} ms"
            )
        self._saw(f"all {len(survivors)} others noticed within {max(noticed.values()) * 1000:.0f} ms")
        self._saw(f"{new_leader} leads, as all say after {max(led.values()) * 1000:.0f} ms")
        self._saw(f"what only the leader does is done there after {min(acts()) * 1000:.0f} ms")

    async def _recover(self, old: AgentProcess) -> None:
        self._say(f"{old.name} is started again, under the same name and at the same address.")
        agents = self._processes.agents
        survivors = [agent for agent in agents.values() if agent is not old]
        leader = survivors[0].leader
        seeds = ",".join(agent.address for agent in survivors)
        again = await self._processes.start(old.name, bind=old.address, join=seeds, options=_AGENT_OPTIONS)
        await self._until("the old leader is back, and all see all", lambda: self._agreed() is not None)
        self._print_table()
        if self._agreed() != leader:
            raise _NotObserved(f"{leader} goes on leading when {old.name} is back")
        if self._queue()[-1] is not again:
            raise _NotObserved(f"{old.name} is at the back of the queue")
        self._saw(f"{old.name} is back, as a regular member at the back of the queue")
        self._saw(f"{leader} still leads")

    async def _leave(self) -> None:
        self._waiting_for = "all processes leave gracefully"
        statuses = await self._processes.dismiss()
        bad = ", ".join(f"{name}: {status}" for name, status in statuses.items() if status != 0)
        if bad:
            raise _NotObserved(f"all processes leave with exit status 0 (got {bad})")
        self._saw(f"{len(statuses)} processes left, all with exit status 0")

    # --- what the agents' lines show
    async def _start(self, index: int, *, join: str) -> AgentProcess:
        return await self._processes.start(
            self._names[index], bind=self._binds[index], join=join, options=_AGENT_OPTIONS
        )

    def _agreed(self) -> str | None:
        """The leader's name, once every process sees every other under its id and names the same leader."""
        agents = self._processes.agents
        ids = {agent.name: agent.id for agent in agents.values()}
        for agent in agents.values():
            if agent.id is None or {**agent.others, agent.name: agent.id} != ids:
                return None
        leaders = {agent.leader for agent in agents.values()}
        return leaders.pop() if len(leaders) == 1 else None

    def _queue(self) -> list[AgentProcess]:
        return sorted(self._processes.agents.values(), key=lambda agent: agent.id or "")

    async def _until(self, what: str, seen: Callable[[], bool]) -> None:
        self._waiting_for = what
        agents = self._processes.agents
        await self._processes.until(lambda: seen() or any(agent.ended for agent in agents.values()))
        if not seen():
            ended = ", ".join(agent.name for agent in agents.values() if agent.ended)
            raise _NotObserved(f"{what} ({ended} ended by itself)")

    # --- telling
    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _saw(self, text: str) -> None:
        self._observed.append(text)
        self._console.print(text, style="bold", markup=False, soft_wrap=True)

    def _print_table(self) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("QUEUE", "NAME", "ADDRESS", "ID", "SEES", ""):
            table.add_column(heading, justify="right" if heading in ("QUEUE", "SEES") else "left")
        for place, agent in enumerate(self._queue(), 1):
            leads = all(other.leader == agent.name for other in self._processes.agents.values())
            row = (str(place), agent.name, agent.address, agent.id, str(len(agent.others)))
            table.add_row(*row, "<- leader" if leads else "", style="bold cyan" if leads else None)
        self._console.print(table)

    def _summary(self, missing: str | None) -> int:
        self._say(f"Seen in {time.monotonic() - self._begun:.1f} s:")
        for text in self._observed:
            self._console.print(f"  yes  {text}", style="green", markup=False, soft_wrap=True)
        if missing is not None:
            self._console.print(f"  NO   {missing}", style="red", markup=False, soft_wrap=True)
        return 0 if missing is None else 1
