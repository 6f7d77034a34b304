"""The one place where the core meets sockets and trio's clock.

Every call into the `Node` is followed by `settle`, which carries out what the node wants. One task waits
until the UDP socket is readable or the node's deadline has come, whichever is sooner.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from swim.events import MemberFailed, MemberLeft, Snapshot
from swim.protocol.base.networks import Networks
from swim.protocol.node import Node, Phase, Request
from swim.runtime.clock import NodeClock
from swim.runtime.feeds.inbox import Inbox
from swim.runtime.feeds.subscriptions import Subscriptions
from swim.runtime.holding import Holding
from swim.runtime.intake import Intake
from swim.runtime.kept.mail import Mail
from swim.runtime.kept.sending import SendWindow
from swim.runtime.kept.streams import KeptStreams
from swim.runtime.leading import Leading
from swim.runtime.logs import log_event
from swim.runtime.network import Connections, Transport
from swim.runtime.nurseries import unwrapped_nursery
from swim.runtime.queries import Queries
from swim.runtime.sockets.resolve import Seeds
from swim.runtime.sockets.whereabouts import Whereabouts
from swim.runtime.streams import Streams
from swim.types import Address
from swim.wire import DecodeError
from swim.wire.messages import StreamMessage

__all__ = ["Driver"]

_TURN_S = 0.005
"""So long packets are read before timers and everything else have their turn."""
_REFUSALS_MAX = 64
_RESOLVE_INTERVAL_JOINING = 1.0
_RESOLVE_INTERVAL = 30.0
"""Between two looks up of the names of seeds, while this node joins and later."""
_LEAVE_ALLOWANCE = 1.0
"""So much longer than the node lingers its farewell is waited for."""
_STALL_TOLD_S = 1.0
"""A stall of this length is worth a warning."""
_DRAIN_PATIENCE = 1.0
"""Seconds that a leaving node waits for what it has sent to be taken."""

_logger = logging.getLogger("swim")


@dataclass(slots=True)
class _Outcome:
    """Of an exchange for which a caller waits."""

    known: trio.Event = field(default_factory=trio.Event)
    problem: str | None = "the cluster is closed"


class Driver:
    """Runs one node. All of it is one trio task tree, `run`."""

    def __init__(
        self,
        node: Node,
        transport: Transport,
        seeds: Seeds,
        networks: Networks,
        clock: NodeClock,
        random_bytes: Callable[[int], bytes] = os.urandom,
        *,
        advertised: bool = False,
    ) -> None:
        """`advertised`: the node's address is what the application says, whatever this machine has."""
        self.node = node
        self.clock = clock
        self.transport = transport
        networks.reaches = transport.reaches
        self.subscriptions = Subscriptions(self._snapshot, node.config.event_buffer)
        self.leading = Leading(node, clock, self.until, self._after_functions)
        self.holding = Holding(node, clock, self.settle)
        self._seeds = seeds
        self._whereabouts = None if advertised else Whereabouts(node.name, transport)
        connections = Connections(transport)
        self.inbox = Inbox(node.config.message_buffer, node.config.message_memory)
        self.mail = Mail(node, self.inbox, random_bytes, self._carry)
        self.queries = Queries(node, self.mail, self.now, self.settle)
        self._intake = Intake(transport, node.knows)
        self._kept = KeptStreams(node, connections, self, self.mail)
        self._streams = Streams(transport, connections, self._kept, node, networks, self)
        self._scope = trio.CancelScope(shield=True)
        self._alarm = trio.CancelScope()
        self._changed = trio.lowlevel.ParkingLot()
        self._seen = (node.phase, node.leader)
        self._outcomes: dict[int, _Outcome] = {}
        self._nursery: trio.Nursery | None = None
        self._stopped = False
        self._stalled = 0.0

    def now(self) -> float:
        """The time that the node is told."""
        return self.clock.now()

    # --- life
    @trio.lowlevel.enable_ki_protection
    async def run(self, seed_addresses: tuple[Address, ...]) -> None:
        """Be the node until `stop`. Raises the node's failure, if it fails.

        Shielded from cancellation from outside: the node must work until it has left.
        """
        try:
            with self._scope:
                async with unwrapped_nursery() as nursery:
                    self._nursery = nursery
                    self.node.start(seed_addresses, self.now())
                    self.settle()
                    nursery.start_soon(self._read)
                    nursery.start_soon(self._keep_time)
                    nursery.start_soon(self.holding.carry_out)
                    nursery.start_soon(self._streams.serve, nursery)
                    nursery.start_soon(self._refresh_seeds)
                    nursery.start_soon(self._watch_for_failure)
        finally:
            self._nursery = None
            self._stopped = True
            self.leading.suspend()
            self.holding.suspend()
            self.transport.close()
        # Not after an error: then the body is cancelled, which says more than "closed" would.
        self.close()

    def close(self) -> None:
        """End all event streams and wake all that wait."""
        self._stopped = True
        self.subscriptions.end()
        self.inbox.end()
        self.mail.close()
        self._changed.unpark_all()
        self.holding.close()
        self.leading.close()
        for outcome in self._outcomes.values():
            outcome.known.set()

    def stop(self) -> None:
        """Stop at once, without a word to the others."""
        self._stopped = True
        self._scope.cancel()
        self.leading.suspend()
        self.holding.suspend()

    async def leave(self) -> None:
        """Say farewell, and answer for a while longer. Does nothing unless a member.

        Functions that run while this node leads have ended before, clean-up included; from then on it is
        time-limited. It goes on by itself if its caller is cancelled, which may be such a function.
        """
        if self._stopped:
            return
        if self.node.phase is Phase.MEMBER:
            self.leading.suspend(lambda: self.holding.suspend(self._begin_farewell))
            await self.until(lambda: self._stopped or self.node.phase is not Phase.MEMBER)
        with trio.move_on_after(self.node.config.leave_linger + _LEAVE_ALLOWANCE):
            await self.until(lambda: self._stopped or self.node.phase is not Phase.LEAVING)

    def _begin_farewell(self) -> None:
        if self._nursery is not None and not self._stopped:
            self._nursery.start_soon(self._say_farewell)

    @trio.lowlevel.enable_ki_protection
    async def _say_farewell(self) -> None:
        with trio.move_on_after(_DRAIN_PATIENCE):
            await self.mail.drain()
            await self.holding.drain()
        if self.node.phase is Phase.MEMBER:
            self.node.leave(self.now())
            self.settle()

    def yield_leadership(self) -> None:
        """Step down, as soon as the functions that run while this node leads have ended."""
        self.require_open()
        self.node.require_may_yield()

        def step_down() -> None:
            if not self._stopped:
                self.node.yield_leadership(self.now())
                self.leading.resume()
                self.settle()

        self.leading.suspend(step_down)

    def require_open(self) -> None:
        """Raises `trio.ClosedResourceError` when the node does not run any more."""
        if self._stopped:
            raise trio.ClosedResourceError("the cluster is closed")

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Wait for it to be true; looked at after every change."""
        await trio.lowlevel.checkpoint()
        while not predicate():
            self.require_open()
            await self._changed.park()

    async def sync(self, address: Address) -> str | None:
        """A full exchange with the node at this address. Returns what was wrong, or None."""
        outcome = _Outcome()
        if self._stopped:
            return outcome.problem
        token = self.node.sync(address, self.now())
        self._outcomes[token] = outcome
        self.settle()
        try:
            await outcome.known.wait()
        finally:
            self._outcomes.pop(token, None)
        return outcome.problem

    def _after_functions(self) -> None:
        """The node keeps its lease, if it can, until functions that have to end have cleaned up."""
        if not self._stopped:
            self.settle()

    def settle(self, now: float | None = None) -> None:
        """Carry out what the node wants after a call into it, which was told this time, if it is known."""
        node, output = self.node, self.node.drain()
        if output.datagrams:
            now = self.now() if now is None else now
            for data, address in output.datagrams:
                self.transport.send(data, address, now)
        if self._nursery is not None:
            for data, address in output.stream_packets:
                self._kept.post(data, address, self._nursery)
            for request in output.requests:
                self._nursery.start_soon(self._request, request)
            for address in output.kernel_probes:
                self._kept.probe(address, self._nursery)
            self._kept.look(self._nursery, at_once=output.streams_changed)
            if output.replies or output.queries:
                self.queries.follow(output, self._nursery)
        term_changed = self.leading.follow()
        self.holding.follow()
        for broadcast in output.broadcasts:
            self.inbox.publish(broadcast)
        for text in output.warnings:
            _logger.warning("%s: %s", node.name, text)
        for host, fault in output.faults:
            self._note_fault(host or "a seed", fault)
        for verdict in output.verdicts:
            _logger.debug("%s: %s", node.name, verdict)
        seen, self._seen = self._seen, (node.phase, node.leader)  # a new token of the leader's is no event
        if output.events or term_changed or seen != self._seen:
            for event in output.events:
                log_event(node.name, event)
                if isinstance(event, MemberFailed | MemberLeft):
                    self._kept.lose(event.member.name, "is gone")
            self.subscriptions.publish(output.events)
            self._changed.unpark_all()
        deadline = self._deadline()
        if deadline != self._alarm.deadline:  # to move it costs more than to look
            self._alarm.deadline = deadline

    def _deadline(self) -> float:
        deadline = self.node.next_deadline()
        return math.inf if deadline is None else self.clock.deadline(deadline)

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.node.members(), self.node.leader)

    @trio.lowlevel.enable_ki_protection
    async def _watch_for_failure(self) -> None:
        while self.node.phase is not Phase.FAILED:
            await self._changed.park()
        assert self.node.failure is not None
        raise self.node.failure

    @trio.lowlevel.enable_ki_protection
    async def _refresh_seeds(self) -> None:
        if not self._seeds.texts:
            return
        while True:
            joining = self.node.phase is Phase.JOINING
            await trio.sleep(_RESOLVE_INTERVAL_JOINING if joining else _RESOLVE_INTERVAL)
            self.node.set_seeds(await self._seeds.resolve(self.transport.family), self.now())
            self.settle()

    # --- datagrams and time
    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> None:
        while True:
            await self.transport.wait_readable()
            await self._advance(readable=True)

    @trio.lowlevel.enable_ki_protection
    async def _keep_time(self) -> None:
        task = trio.lowlevel.current_task()

        def wake(_: object) -> trio.lowlevel.Abort:
            trio.lowlevel.reschedule(task)  # to unwind an exception every time would cost more than the ping
            return trio.lowlevel.Abort.FAILED

        while True:
            with trio.CancelScope(deadline=self._deadline()) as self._alarm:
                await trio.lowlevel.wait_task_rescheduled(wake)
            await trio.lowlevel.checkpoint_if_cancelled()
            await self._advance()
            if self._whereabouts is not None:
                self._follow_address(self._whereabouts)

    def _follow_address(self, whereabouts: Whereabouts) -> None:
        found = whereabouts.look_again(self.node, self.now())
        if found is not None:
            self._kept.hang_up()
            self.node.move(found, self.now())
            self.settle()

    async def _advance(self, readable: bool = False) -> None:
        self._take_turn(readable)
        while self._intake.waiting:
            await trio.lowlevel.checkpoint()
            self._take_turn(False)

    def _take_turn(self, readable: bool) -> None:
        # What has arrived comes before any verdict: after a stall the answers are all there.
        now = self._read_packets(readable)
        deadline = self.node.next_deadline()
        if deadline is None:
            due = False
        elif deadline <= now:
            due = not self._intake.precedes(now - deadline)
        else:
            due = self.node.may_handle_timer(now)
        if due:
            # Not guarded as input is. A bad packet is gone once dropped; a fault here lies in the node itself
            # and would come again, or a timer would be lost: half a node, which others take for alive.
            # They notice its end, and its operator can start it again.
            self.node.handle_timer(now)
        self._notice_stall()
        self.settle(now)

    def _notice_stall(self) -> None:
        """What blocks the event loop is the application's to find, and nothing else would tell of it."""
        before, self._stalled = self._stalled, self.node.stalled
        stalled = self._stalled - before
        if stalled >= _STALL_TOLD_S:
            _logger.warning(
                "%s: this process stood still for %.1f s: others suspect it", self.node.name, stalled
            )

    def _read_packets(self, readable: bool) -> float:
        """As many as fit into a turn. Returns when all of them had arrived: from then a verdict counts."""
        self._intake.fill(readable=readable)
        now = self.now()  # read when all of them were there: a lease counts from no earlier
        more = self._intake.waiting
        while more:
            data, source = self._intake.take()
            try:
                self.node.receive_datagram(data, source, now)
            except Exception:
                self._note_fault(source)
            more = self._intake.waiting and self.now() - now <= _TURN_S
        for address in self.transport.refusals(_REFUSALS_MAX, now):
            self.receive_refusal(address)
        return now

    def _note_fault(self, source: Address | str, fault: Exception | None = None) -> None:
        # A bug, but one that a stranger can trigger: it must not be able to stop the node.
        words = "%s: internal error while handling input from %s"
        _logger.error(words, self.node.name, source, exc_info=fault or True)
        self.transport.traffic.dropped["internal-error"] += 1

    # --- streams
    def receive_request(self, message: StreamMessage, source: Address) -> StreamMessage | None:
        """See `swim.runtime.streams.Answers`."""
        try:
            return self.node.answer(message, source, self.now())
        except Exception:
            self._note_fault(source)
            return None
        finally:
            self.settle()

    def receive_bad_stream(self, error: DecodeError, source: Address) -> bytes | None:
        """See `swim.runtime.streams.Answers`."""
        try:
            return self.node.receive_bad_stream(error, source, self.now())
        finally:
            self.settle()

    @trio.lowlevel.enable_ki_protection
    async def _request(self, request: Request) -> None:
        answer = await self._streams.request(request)
        problem: str | None = "internal error"
        try:
            problem = self.node.receive_answer(request.token, answer, self.now())
        except Exception:
            self._note_fault(request.address)
        self.settle()
        self._explain_waiting(request.address, problem)
        outcome = self._outcomes.pop(request.token, None)
        if outcome is not None:
            outcome.problem = problem
            outcome.known.set()

    # --- kernels
    def receive_kernel_answer(self, address: Address) -> None:
        """See `swim.runtime.kept.handshake.Reports`."""
        self._report(self.node.receive_kernel_answer, address)

    def receive_refusal(self, address: Address) -> None:
        """See `swim.runtime.kept.handshake.Reports`."""
        self._report(self.node.receive_refusal, address)

    def receive_stream_end(self, name: str, boot: bytes) -> None:
        """See `swim.runtime.kept.handshake.Reports`."""
        self._report(self.node.receive_stream_end, name, boot.decode("ascii", "replace"))

    def receive_stream_packet(self, packet: bytes, name: str, boot: bytes) -> None:
        """See `swim.runtime.kept.handshake.Reports`."""
        try:
            self.node.receive_stream_packet(packet, name, boot.decode("ascii", "replace"), self.now())
        except Exception:
            self._note_fault(name)
        self.settle()

    def _report(self, verb: Callable[..., None], about: Address | str, *details: str) -> None:
        try:
            verb(about, *details, self.now())
        except Exception:
            self._note_fault(about)
        self.settle()

    def _carry(self, window: SendWindow) -> bool:
        return self._nursery is not None and self._kept.carry(window, self._nursery)

    def _explain_waiting(self, address: Address, problem: str | None) -> None:
        """A node that cannot join yet just goes on trying: say why, once for each reason.

        Of its seeds, that is: strangers may have it call others, and cause as many problems as they like.
        """
        if self.node.phase is Phase.JOINING and problem is not None and self._seeds.is_new(problem, address):
            _logger.warning("%s: no way in by %s yet: %s; going on", self.node.name, address, problem)
