"""One node of the cluster: bytes and time go in; datagrams, requests, events and one deadline come out.

    datagram -> receive_datagram --\
    stream   -> receive_request  ---+-> Node -> drain -> Output(datagrams, requests, events, .., deadline)
    timer    -> handle_timer     --/

After every call a driver (trio, or the simulator) drains the output, carries it out, and re-arms its timer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from swim.config import Config
from swim.errors import SwimError
from swim.protocol.base.context import Context
from swim.protocol.base.middle import median
from swim.protocol.base.networks import Networks
from swim.protocol.base.outbox import Outbox, Output, Query, QueryKey, Request
from swim.protocol.base.phase import Phase
from swim.protocol.exchange.joining import problem_of
from swim.protocol.parts import Parts
from swim.protocol.view.identity import check_pinned_id, pack_id
from swim.protocol.view.rings import Rings
from swim.protocol.view.table import MemberTable
from swim.statistics import CoreStatistics
from swim.types import Address, Explanation, Leadership, Member, Term
from swim.wire import Codec, DecodeError, StreamDecoder
from swim.wire.messages import Ack, Dead, Ping, PushPull, StreamMessage, UserMessage

__all__ = ["Node", "Output", "Phase", "Request"]

_LATE_S = 0.05
"""A timer that is later than this shows that the process stood still."""
_STALL_S = 5.0
"""A leader that stalled for so long queues at the back: else it could stall again and again and lead."""
_SWEEP_S = 60.0
"""Between two looks for members that have been dead for long."""
_FAREWELLS = (0.0, 0.05, 0.15)
"""When the farewell is said, in seconds: packets get lost."""
_MISFITS = {
    "decrypt": "sends what none of this node's keys opens: both need the same key and the same label",
    "plaintext": "sends without encryption, but this node has a key: give the other one the key",
    "encrypted": "sends encrypted, but this node has no key: give it the key",
    "label": "uses another label, or none: both need the same label",
}
"""What is wrong when the bytes of another node cannot be read because the two were set up differently."""


class Node(Parts):
    """The synchronous core. `now` is monotonic seconds of any origin, the same for all calls.

    `wall` maps such a `now` to seconds since the epoch (used for ids and for noticing clock skew).
    `networks`: CIDR text; packets from elsewhere and members elsewhere are dropped. A node that is not
    `electable` never leads. With `voters` (names, the same at all nodes) the leader needs a lease from a
    majority of them. Raises `TagsError`, and ValueError for a bad `pinned_id` or network.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        *,
        config: Config,
        codec: Codec,
        rng: random.Random,
        wall: Callable[[float], float],
        tags: Mapping[str, str] | None = None,
        pinned_id: str | None = None,
        networks: Sequence[str] | Networks = (),
        electable: bool = True,
        voters: Sequence[str] = (),
    ) -> None:
        if pinned_id is not None:
            check_pinned_id(pinned_id)
        self.phase = Phase.NEW
        self.failure: SwimError | None = None
        self.config = config
        self.codec = codec
        self.name = name
        self.address = address
        self._attended = float("-inf")
        table = MemberTable(Rings(config.rings), config.dead_max)
        context = Context(name, config, table, Outbox(codec), rng, wall)
        allowed = networks if isinstance(networks, Networks) else Networks(networks)
        super().__init__(context, address, allowed, tags or {}, pinned_id, electable, voters)

    # --- life

    def start(self, seeds: Sequence[Address], now: float) -> None:
        """Begin to join. With no seeds the node founds a cluster at once (phase MEMBER on return)."""
        assert self.phase is Phase.NEW
        self.phase = Phase.JOINING
        self._sync.set_seeds(seeds)
        self._electorate.voter.start(now)
        self._joining.begin(now)
        self._settle(now)

    def set_seeds(self, seeds: Sequence[Address], now: float) -> None:
        """The seeds, resolved afresh. Used while joining, and to find a lost cluster again."""
        if seeds:  # a name server that knows none for once is no reason to forget them
            self._sync.set_seeds(seeds)

    def sync(self, address: Address, now: float) -> int:
        """Ask for a full exchange with a node at this address; returns the token of the request.

        A running node joins another cluster this way: the two become one.
        """
        return self._sync.ask(address, now, join=True)

    def leave(self, now: float) -> None:
        """Say farewell; phase LEAVING, and LEFT after `Config.leave_linger` (at once when alone).

        A node that was about to join may already be known to the one that it asked.
        """
        if self.phase is not Phase.MEMBER and self._own.record is None:
            self._end(Phase.LEFT)
            return
        self._tenure.release(now)  # before anybody else can begin
        self.leases.stop()
        self.phase = Phase.LEAVING
        self._joining.stop()
        self._reception.end()
        self._own.leave()
        self._timers.clear()
        self._backlog.clear()
        ahead = self._broadcasts.leave(now)
        if not ahead:
            self._farewell(now)
        for delay in _FAREWELLS:
            self._timers.set(("farewell", delay), now + ahead + delay, self._farewell)
        linger = self.config.leave_linger if self._table.present_count > 1 else 0.0
        self._timers.set("left", now + ahead + linger, lambda at: self._end(Phase.LEFT))

    def _farewell(self, now: float) -> None:
        self._tenure.release(now)
        me = self._own  # not its record, which lags behind while refutations are held back
        self._dissemination.news(self.name, Dead(me.name, me.incarnation, me.name, id=pack_id(me.id)), now)
        self._dissemination.flood(now)

    def broadcast(self, name: str, payload: bytes, now: float) -> None:
        """Tell all members, this one included. Raises `PayloadTooLarge`, and ValueError for an empty name."""
        self._broadcasts.send(name, payload, now)

    def query(self, name: str, payload: bytes, patience_s: float, now: float) -> QueryKey | None:
        """Ask Serf's agents; their answers are `Output.replies`. None where there are none to ask.

        Raises `PayloadTooLarge`.
        """
        return self._broadcasts.query(name, payload, patience_s, now)

    def answer_query(self, query: Query, payload: bytes) -> None:
        """One of `Output.queries`. Raises `PayloadTooLarge`."""
        self._broadcasts.answer_query(query, payload)

    def force_leave(self, name: str, now: float) -> None:
        """A member that is dead counts as left from now on. Raises ValueError where it is not dead."""
        self._broadcasts.force_leave(name, now)

    def set_tags(self, tags: Mapping[str, str], now: float) -> None:
        """Replace the application's tags. Raises `TagsError`."""
        self._own.set_tags(tags, now)
        self._settle(now)

    def move(self, address: Address, now: float) -> None:
        """This process has another address from now on: tell all members, to which it is a stranger there."""
        self._attend(now)
        self.address = address
        self._dissemination.introduce(now)
        self._own.move(address, now)
        self._settle(now)

    def yield_leadership(self, now: float) -> bool:
        """Step down: take a fresh id and queue at the back. False if this node did not lead.

        One that is the only one that may lead leads again. Raises ValueError with a pinned id.
        """
        self.require_may_yield()
        leads = self.leader is not None and self.leader.name == self.name
        if leads and self.phase is Phase.MEMBER:
            self._tenure.release(now)
            self._leadership.step_back(now)
            self._settle(now)
        return leads

    def note_functions(self, running: bool, now: float) -> None:
        """The driver runs functions for the leader; or the last of them has ended, its clean-up included."""
        self._tenure.note_functions(running, now)
        self._settle(now)

    def require_may_yield(self) -> None:
        """Raises ValueError with a pinned id."""
        if self._own.pinned:
            raise ValueError("a node with a pinned id cannot yield the leadership: its id stays the lowest")

    def _joined(self, now: float) -> None:
        self.phase = Phase.MEMBER
        self._dissemination.introduce(now)
        self._reception.begin()
        for part in (self._sync, self._reunion, self._search):
            part.begin(now)
        self._broadcasts.joined(now)
        self._timers.set("sweep", now + _SWEEP_S, self._sweep)

    def _fail(self, failure: SwimError, now: float) -> None:
        """This node cannot go on. It says nothing more: its name is another's."""
        self.failure = failure
        self._end(Phase.FAILED)

    def _end(self, phase: Phase) -> None:
        self.phase = phase
        self._tenure.end()
        self.leases.stop()
        self._joining.stop()
        self._timers.clear()
        self._backlog.clear()

    def _sweep(self, now: float) -> None:
        self._timers.set("sweep", now + _SWEEP_S, self._sweep)
        self._table.forget_dead(now - self.config.dead_retention)

    # --- input

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        """Any bytes at all; what is not understood is counted in `dropped`."""
        self._receive_packet(data, source, now, streamed=False)

    def _receive_packet(self, data: bytes, source: Address, now: float, *, streamed: bool) -> None:
        self._attend(now)
        if self.phase in (Phase.NEW, Phase.LEFT, Phase.FAILED):
            return
        if not self._networks.permits_host(source.host):
            self._outbox.drop("network")
            return
        try:
            packet = self.codec.open_packet(data)
        except DecodeError as error:
            self._outbox.drop(error.reason)
            self._warn_of_misfit(error, source, now)
            return
        for reason in packet.dropped:
            self._outbox.drop(reason)
        if self._reception.receive(packet.messages, source, len(data), now, streamed=streamed):
            self._settle(now)

    def receive_refusal(self, address: Address, now: float) -> None:
        """An authentic refusal from this address: it may be of its kernel, of which no process listens there,
        or of a firewall on the way.

        That is: an ICMP "port unreachable" of the destination itself that quotes a datagram which this node
        sent there lately; a refused connect; a reset while data of ours was outstanding.
        """
        self._attend(now)
        record = self._table.at(address)
        if record is not None and record.present and self.phase is Phase.MEMBER:
            self._suspicion.refused(record.name, now)
            self._membership.hearsay.refused(record.name, now)
            self._settle(now)

    def receive_kernel_answer(self, address: Address, now: float) -> None:
        """The kernel at this address took something from us (`Output.kernel_probes`, or a kept stream)."""
        self._attend(now)
        record = self._table.at(address)
        if record is not None and self.phase is Phase.MEMBER:
            self._suspicion.kernel_answered(record.name, now)

    def receive_stream_end(self, name: str, boot: str, now: float) -> None:
        """A kept stream with exactly this process of a member ended unasked, as a dying process ends it.

        That is: closed without a BYE. A reset is none: a firewall answers with one even to acknowledgements.
        """
        self._attend(now)
        record = self._table.get(name)
        if record is not None and record.present and record.boot == boot and self.phase is Phase.MEMBER:
            self._suspicion.stream_ended(name, now)
            self._settle(now)

    def receive_stream_packet(self, data: bytes, name: str, boot: str, now: float) -> None:
        """A packet came over the kept stream with this process of a member, in place of a datagram.

        Its answers go over the stream, too (`Output.stream_packets`).
        """
        record = self._table.get(name)
        if record is None or not record.own or record.boot != boot:
            self._outbox.drop("stream-stranger")
            return
        self._receive_packet(data, record.address, now, streamed=True)

    def stream_decoder(self, *, answering: bool) -> StreamDecoder:
        """As that of the codec. A member reads only so much of members that it does not know."""
        if self.phase is not Phase.MEMBER:
            return self.codec.stream_decoder(answering=answering)
        return self.codec.stream_decoder(answering=answering, keeps=self._sync.keeps(asked=answering))

    def receive_request(self, message: StreamMessage, source: Address, now: float) -> bytes | None:
        """A whole message arrived on a stream that `source` opened; the answer to send, if any."""
        answer = self.answer(message, source, now)
        return None if answer is None else self.codec.stream(answer, answering=True)

    def answer(self, message: StreamMessage, source: Address, now: float) -> StreamMessage | None:
        """As `receive_request`, but the answer is not encoded yet: see `Codec.streaming`."""
        self._attend(now)
        if self.phase in (Phase.NEW, Phase.LEFT, Phase.FAILED) or not self._networks.permits_host(
            source.host
        ):
            return None
        answer: StreamMessage | None = None
        match message:
            case PushPull() if self.phase is Phase.JOINING:
                answer = self._joining.asked_by(message.head, source.host, now)
            case PushPull():
                answer = self._sync.exchange(message, now, host=source.host)
                if message.head is not None and self._sync.succeeds(message.head, now):
                    self._suspicion.succeeded(message.head.name, now)
            case Ping() if message.node in ("", self.name):
                answer = self._naming.answer(message, now)
            case UserMessage():
                answer = self._changing.answer(message, self.term, now)
        self._settle(now)
        return answer

    def receive_bad_stream(self, error: DecodeError, source: Address, now: float) -> bytes | None:
        """A stream could not be decoded: count it; the answer to send before closing, if any.

        That stands in clear, as the other side may have another key or none. A node with a keyring says no
        more than that the keys, or the labels, differ.
        """
        self._outbox.drop(f"stream-{error.reason}")
        self._warn_of_misfit(error, source, now)
        if self.codec.keyed and error.reason not in _MISFITS:
            return None
        return self.codec.clear_error(str(error))

    def _warn_of_misfit(self, error: DecodeError, source: Address, now: float) -> None:
        if error.reason in _MISFITS:
            text = f"{source.host} {_MISFITS[error.reason]}"
            self._outbox.warn(error.reason, source.host, text, now)

    def receive_answer(self, token: int, answer: StreamMessage | Exception | None, now: float) -> str | None:
        """The outcome of a `Request`: the decoded answer, or why there was none.

        (An OSError such as ConnectionRefusedError, a DecodeError, or None for a time-out.)
        Returns None when the exchange succeeded, else one line that says what was wrong.
        """
        self._attend(now)
        if isinstance(answer, PushPull) and not self._sync.answers(answer, token):
            answer = None
        problem = None if isinstance(answer, PushPull | Ack) else problem_of(answer)
        goes_on = self.phase in (Phase.JOINING, Phase.MEMBER)
        called = goes_on and self._calling.receive_answer(token, answer, now)
        if called or self._joining.receive_answer(token, answer, now):
            self._settle(now)
        elif isinstance(answer, PushPull) and self.phase is Phase.MEMBER:
            problem = self._sync.merge(answer, now)
            self._settle(now)
        if isinstance(answer, DecodeError):
            self._outbox.drop(f"stream-{answer.reason}")
        return problem

    def handle_timer(self, now: float) -> None:
        """Do what is due. Drain the sockets before calling this."""
        self._attend(now)
        self._timers.run(now)
        self._settle(now)

    # --- time and consequences

    def _attend(self, now: float) -> None:
        deadline = self._timers.next_deadline()
        late = 0.0 if deadline is None else now - max(deadline, self._attended)
        self._attended = now
        if late > _LATE_S:
            self._context.lost += late
        if self.phase is Phase.MEMBER:
            self._tenure.attend(now, late)
            if late > _STALL_S:
                self._leadership.step_back(now)

    def _settle(self, now: float) -> None:
        """After every input: let the parts follow the table."""
        if self.phase is Phase.MEMBER:
            self._electorate.update(now)
            self._leadership.update(now)
            self._probing.refresh(now)
            self._streamed.follow()
            self._tenure.update(now)
            self.leases.update(now)

    # --- output

    def next_deadline(self) -> float | None:
        """When `handle_timer` is to be called next."""
        return self._timers.next_deadline()

    def may_handle_timer(self, now: float) -> bool:
        """Could `handle_timer` do something now that it would else wake up for later?"""
        return self._timers.patient_due(now)

    def drain(self) -> Output:
        """All that is to be sent, was found out or happened, once; after every call, by every driver."""
        if self.phase is Phase.MEMBER:
            self.leases.flush()
        return self._outbox.drain(self._timers.next_deadline())

    def streams_to_keep(self, now: float) -> tuple[Address, ...]:
        """Where the driver should keep a stream open: to the own members that this node observes.

        So that the death of their process is noticed when their kernel closes it. In a small cluster there
        is a stream between any two, also for packets where UDP is blocked.
        """
        return self._streamed.to_keep(now) if self.phase is Phase.MEMBER else ()

    # --- views

    @property
    def me(self) -> Member:
        record = self._own.record
        if record is not None:
            return record.member
        return Member(self.name, self.address, None, dict(self._own.tags), process=self.boot)

    @property
    def boot(self) -> str:
        """Tells this process from any other under its name."""
        return self._own.boot

    def knows(self, address: Address) -> bool:
        """Does a member send from there?"""
        return self._reception.knows(address)

    def boot_of(self, name: str) -> str | None:
        """The boot of the present own member of this name."""
        record = self._table.get(name)
        return record.boot if record is not None and record.present else None

    def version_of(self, name: str) -> object:
        """Another object whenever something is new about the member of this name."""
        return self._table.get(name)

    def member(self, name: str) -> Member | None:
        """The present member of this name."""
        record = self._table.get(name)
        return record.member if record is not None and record.present else None

    def member_at(self, address: Address) -> Member | None:
        """The present member at this address."""
        record = self._table.at(address)
        return record.member if record is not None and record.present else None

    @property
    def leader(self) -> Member | None:
        return self._leadership.leader

    @property
    def term(self) -> Term | None:
        """This node acts as leader, until `term_ends`. Another value is another term."""
        return self._tenure.term

    @property
    def term_ends(self) -> float:
        """When the term is over unless this is moved ahead, by the driver's clock; -inf without a term.

        It is set ahead of time, so that what acts for the leader can be stopped by a process that froze.
        """
        return self._tenure.term_ends

    @property
    def lease_ends(self) -> float | None:
        """When the lease ends that this node holds, by the driver's clock; None without voters."""
        return self._tenure.lease_ends

    def leadership(self, now: float) -> Leadership:
        """Which member leads, on what grounds, and what is in the way."""
        return self._tenure.describe(now)

    @property
    def floor(self) -> str:
        """The newest leader's id that this node has followed or heard of."""
        return self._leadership.floor

    def gave_up_alone(self, name: str) -> bool:
        """This node alone has given this member up: no other has agreed to that."""
        record = self._table.get(name)
        return record is not None and record.solo

    @property
    def judges_alone(self) -> bool:
        """This node has given a member up alone, or has founded a cluster and met no other node yet."""
        return self._leadership.founded_alone or bool(self._table.solo())

    def members(self) -> tuple[Member, ...]:
        """Present members, this node included, in the order of joining; foreign ones last."""
        present = [record.member for record in self._table.present()]
        return tuple(sorted(present, key=lambda member: (member.id is None, member.id or "", member.name)))

    def explain(self, name: str, now: float) -> Explanation | None:
        """What this node can say of a present member's health."""
        record = self._table.get(name)
        return self._suspicion.explain(record, now) if record is not None and record.present else None

    def statistics(self, now: float) -> CoreStatistics:
        """What this node has done, and how it fares."""
        subjects, probes, table = self._subjects, self._probes, self._table
        trips = [watch.round_trip.mean for watch in subjects.values()]
        known = [trip for trip in trips if trip is not None]
        return CoreStatistics(
            members=table.present_count,
            states=table.states(),
            observed=len(subjects),
            phi=self._suspicion.highest_phi(now),
            round_trip=median(known) if known else None,
            loss=subjects.usual_loss(),
            stream_only=len(subjects.stream_only()),
            pings=probes.pings,
            ping_reqs=probes.ping_reqs,
            acks=self._probing.acks,
            leases=self.leases.counts(),
            stalled=self.stalled,
        )

    @property
    def stalled(self) -> float:
        """Seconds for which this node was not there to serve its timers, so far."""
        return self._context.lost

    @property
    def dropped(self) -> dict[str, int]:
        """What was dropped, by reason."""
        return self._outbox.dropped
