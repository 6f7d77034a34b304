"""The nodes of one agent process: started, observed, told what to do, and stopped."""

from __future__ import annotations

import math
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from swim.cli.commands import Commands
from swim.cli.lines import LineWriter
from swim.cli.notify import notify
from swim.cli.report import EventLines, message_fields, payload_field
from swim.cli.running import RunningNode
from swim.cli.scripts import Rule, Scripts
from swim.cli.serving import serve_commands
from swim.cli.stdin import read_lines
from swim.cluster import Cluster, open_cluster
from swim.config import Config
from swim.errors import SwimError
from swim.messages import Message
from swim.types import Address, Member, Term

__all__ = ["AgentNodes", "CommonOptions"]

_OPTIONS = {"`advertise`": "--advertise", "advertise=": "--advertise "}
"""What the parameters of `open_cluster` that its errors name are called here."""
_STATS_INTERVAL = 1.0
_TICK_INTERVAL = 0.02
_FIGURES = (
    "tx_packets",
    "tx_bytes",
    "rx_packets",
    "rx_bytes",
    "stream_tx_bytes",
    "stream_rx_bytes",
    "streams",
)


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """What all nodes of the process have in common."""

    seeds: Sequence[str]
    config: Config
    tags: dict[str, str]
    keys: Sequence[bytes] = field(repr=False)
    label: str
    networks: Sequence[str]
    metrics: tuple[str, int] | None = None
    """Where to serve them."""
    voters: Sequence[str] = ()
    scripts: Sequence[Rule] = ()
    """What is run for which events."""
    ticks: bool = False
    """Whether a node says that it leads, again and again."""


class AgentNodes:
    """All nodes of the process, from the first socket to the last farewell."""

    def __init__(
        self,
        options: CommonOptions,
        nodes: Sequence[RunningNode],
        emit: Callable[[dict[str, Any]], None],
        writer: LineWriter,
        listener: socket.socket | None = None,
    ) -> None:
        self.failure: tuple[int, str] | None = None
        """Exit status and message of the first node that could not start, or failed later."""
        self._options = options
        self._nodes = nodes
        self._emit = emit
        self._writer = writer
        self._listener = listener
        self._clusters: list[Cluster] = []
        self._scripts = Scripts(options.scripts, self._script_failed)
        self._first_bound = trio.Event()
        self._first_address = ""

    @property
    def members(self) -> list[str]:
        """The names of the nodes that are or have been members."""
        return [cluster.name for cluster in self._clusters]

    async def run(self, json_lines: bool, show: Callable[[list[Cluster]], Awaitable[None]] | None) -> None:
        """Run all nodes until the last of them has stopped. `show` keeps a terminal up to date."""
        async with trio.open_nursery() as background:
            await background.start(self._watch_signals)
            if show is not None:
                background.start_soon(show, self._clusters)
            if self._options.metrics is not None and not await self._serve_metrics(background):
                return
            background.start_soon(self._scripts.run)
            commands = Commands(self._nodes, self._report, background)
            if self._listener is not None:
                background.start_soon(serve_commands, self._listener, commands)
            if json_lines:
                background.start_soon(self._report_stats)
                background.start_soon(self._read_commands, commands)
            async with trio.open_nursery() as nursery:
                for node in self._nodes:
                    nursery.start_soon(self._run_node, node)
            background.cancel_scope.cancel()

    def _stop(self) -> None:
        """Every node leaves."""
        notify("STOPPING=1")
        for node in self._nodes:
            node.scope.cancel()

    def _report(self, node: RunningNode, fields: dict[str, Any]) -> None:
        line = {"t": time.monotonic(), "node": node.name or node.bind, **fields}
        self._emit(line)
        self._scripts.offer(line)

    def _script_failed(self, node: str, text: str) -> None:
        self._emit({"t": time.monotonic(), "node": node, "event": "error", "message": text})

    # --- the life of a node
    async def _run_node(self, node: RunningNode) -> None:
        try:
            with node.scope:
                await self._be_member(node)
        except (SwimError, OSError, ValueError) as error:
            # A bad key, bad tags or an address that makes no sense are bad options: all ValueErrors.
            if self.failure is None:
                message = (error.strerror if isinstance(error, OSError) else None) or str(error)
                for parameter, option in _OPTIONS.items():
                    message = message.replace(parameter, option)
                self.failure = (2 if isinstance(error, ValueError) else 1, message)
            self._stop()

    async def _be_member(self, node: RunningNode) -> None:
        options = self._options

        def bound(address: Address) -> None:
            node.name = node.name or str(address)
            self._report(node, {"event": "bound", "address": str(address)})
            if node is self._nodes[0]:
                self._first_address = str(address)
                self._first_bound.set()

        async with open_cluster(
            node.name,
            bind=node.bind,
            advertise=node.advertise,
            seeds=options.seeds or await self._own_seeds(node),
            tags=options.tags,
            keys=options.keys,
            label=options.label,
            allowed_networks=options.networks,
            voters=options.voters,
            config=options.config,
            on_bound=bound,
        ) as cluster:
            node.cluster = cluster
            self._clusters.append(cluster)
            if len(self._clusters) == len(self._nodes):
                notify("READY=1", f"STATUS={', '.join(self.members)}: a member")
            try:
                await self._observe(node, cluster)
            finally:
                node.cluster = None

    async def _own_seeds(self, node: RunningNode) -> list[str]:
        """Where no seeds were given: the first node of the process founds a cluster, its others join that."""
        if node is self._nodes[0]:
            return []
        await self._first_bound.wait()
        return [self._first_address]

    async def _report_messages(self, node: RunningNode, messages: AsyncIterator[Message]) -> None:
        async for message in messages:
            self._report(node, message_fields(message))

    async def _observe(self, node: RunningNode, cluster: Cluster) -> None:
        lines = EventLines(cluster.name)
        async with (
            cluster.events() as events,
            cluster.messages() as messages,
            self._serve_queries(node, cluster),
            trio.open_nursery() as nursery,
        ):
            me = cluster.me
            self._report(node, {"event": "started", "address": str(me.address), "id": me.id})
            nursery.start_soon(self._lead, node, cluster)
            nursery.start_soon(self._report_messages, node, messages)
            async for event in events:
                for fields in lines.observe(event):
                    self._report(node, fields)
                    if fields["event"] == "leader" and fields["is_me"]:
                        node.said_to_lead.set()
                    elif fields["event"] == "leader" and node.said_to_lead.is_set():
                        node.said_to_lead = trio.Event()
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def _serve_queries(self, node: RunningNode, cluster: Cluster) -> AsyncIterator[None]:
        """Those that a script answers, while the block runs."""
        async with AsyncExitStack() as serving:
            for name in self._scripts.queries:
                handler = partial(self._answer_query, node, name)
                await serving.enter_async_context(cluster.serve(name, handler))
            yield

    async def _answer_query(self, node: RunningNode, name: str, sender: Member, payload: bytes) -> bytes:
        """What the script for it says."""
        fields = {"event": "query", "node": node.name, "name": name, "payload": payload_field(payload)}
        return await self._scripts.answer({**fields, "sender": sender.name})

    async def _lead(self, node: RunningNode, cluster: Cluster) -> None:
        """Tell when this node leads, as an application's leadership function would work then."""

        async def function(term: Term) -> None:
            begun = time.monotonic()
            await node.said_to_lead.wait()  # the line that says why comes first
            self._report(node, {"t": begun, "event": "leading", "on": True, "token": term.token})
            try:
                while self._options.ticks:
                    # What cannot be taken back is not done by a process that has just woken up too late.
                    if trio.current_time() < trio.current_effective_deadline():
                        self._report(node, {"event": "tick", "token": term.token})
                    await trio.sleep(_TICK_INTERVAL)
                await trio.sleep_forever()
            finally:
                self._report(node, {"event": "leading", "on": False, "token": term.token})

        with suppress(trio.ClosedResourceError):
            await cluster.run_while_leader(function)

    # --- the process
    async def _watch_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        ends = [signal.SIGTERM, signal.SIGINT]
        # Where it is ignored, as with nohup, the agent is to outlive its terminal.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            ends.append(signal.SIGHUP)
        with trio.open_signal_receiver(*ends) as signals:
            task_status.started()
            async for _ in signals:
                self._stop()

    async def _read_commands(self, commands: Commands) -> None:
        async for line in read_lines(0):
            await commands.obey(line)
        self._stop()

    # --- figures
    async def _serve_metrics(self, nursery: trio.Nursery) -> bool:
        from swim.metrics import serve

        assert self._options.metrics is not None
        host, port = self._options.metrics
        try:
            await nursery.start(serve, self._clusters, host, port)
        except OSError as error:
            self.failure = (1, f"--metrics: cannot serve at {host}:{port}: {error.strerror or error}")
            nursery.cancel_scope.cancel()
            return False
        return True

    async def _report_stats(self) -> None:
        while True:
            await trio.sleep_until(math.floor(trio.current_time() / _STATS_INTERVAL + 1) * _STATS_INTERVAL)
            self._report(self._nodes[0], {"event": "stats", **self._figures()})

    def _figures(self) -> dict[str, Any]:
        """Running totals: nodes of the process that have stopped still count."""
        running = [node.cluster for node in self._nodes if node.cluster is not None]
        everything = [cluster.statistics() for cluster in self._clusters]
        dropped = Counter[str]()
        for statistics in everything:
            dropped.update(statistics.dropped)
        if self._writer.dropped:
            dropped["stdout"] = self._writer.dropped
        return {
            "count": len(running),
            "members": len(running[0].members()) if running else 0,
            "cpu_s": round(time.process_time(), 3),
            "rss_kib": _rss_kib(),
            **{name: sum(getattr(statistics, name) for statistics in everything) for name in _FIGURES},
            "stalled": round(max((statistics.stalled for statistics in everything), default=0.0), 3),
            "stream_only": sum(statistics.stream_only for statistics in everything),
            "dropped": dict(dropped),
        }


def _rss_kib() -> int:
    """Memory in use now; its peak where the system tells no more."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            pages = int(file.read(128).split()[1])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() // 1024
