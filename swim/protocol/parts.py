"""The parts of one node, joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swim.errors import SwimError
from swim.protocol.base.calling import Calling
from swim.protocol.base.context import Context
from swim.protocol.base.networks import Networks
from swim.protocol.base.steps import Backlog
from swim.protocol.detector.freshness import Freshness
from swim.protocol.detector.polls import Polls
from swim.protocol.detector.probes import Probes
from swim.protocol.detector.probing import Probing
from swim.protocol.detector.streamed import Streamed
from swim.protocol.detector.subjects import Subjects
from swim.protocol.detector.suspicion import Suspicion
from swim.protocol.exchange.attempts import Attempts
from swim.protocol.exchange.joining import Joining
from swim.protocol.exchange.reunion import Reunion
from swim.protocol.exchange.search import Search
from swim.protocol.exchange.settling import Settling
from swim.protocol.exchange.sync import Sync
from swim.protocol.gossip.broadcasts import Broadcasts
from swim.protocol.gossip.dissemination import Dissemination
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.leadership.changing import Changing
from swim.protocol.leadership.configuration import founding_configuration
from swim.protocol.leadership.electorate import ABOUT_VOTERS, Electorate
from swim.protocol.leadership.lease import Lease
from swim.protocol.leadership.post import Post
from swim.protocol.leadership.rule import HolderRule, LeaderRule
from swim.protocol.leadership.tenure import Tenure
from swim.protocol.leadership.terms import Terms
from swim.protocol.leases.leases import Leases
from swim.protocol.membership.asking import Asking
from swim.protocol.membership.contests import Contests
from swim.protocol.membership.links import OwnLinks
from swim.protocol.membership.naming import Naming
from swim.protocol.membership.readmission import Readmission
from swim.protocol.membership.updates import Membership
from swim.protocol.reception import Reception
from swim.protocol.view.table import Record
from swim.types import Address
from swim.wire.messages import LeaderMessage

__all__ = ["Parts"]


class Parts:
    """What `Node` consists of, from the ground up: each part is given those that it needs.

    Only the leadership, which all the others follow, is given ways to what comes later: to the reason why
    there is no leader, and to a comparison of views.
    """

    _leadership: LeaderRule
    _tenure: Terms

    def __init__(
        self,
        context: Context,
        address: Address,
        networks: Networks,
        tags: Mapping[str, str],
        pinned_id: str | None,
        electable: bool,
        voters: Sequence[str],
    ) -> None:
        self._context = context
        self._table = context.table
        self._outbox = context.outbox
        self._timers = context.timers
        self._networks = networks
        self._subjects = subjects = Subjects(context.config)
        self._streamed = Streamed(context, subjects)
        self._dissemination = Dissemination(context, subjects.suspects, subjects.usual_loss)
        configuration = founding_configuration(voters, context.config.lease)
        self._own = OwnRecord(
            context, self._dissemination, address, tags, pinned_id, electable, configuration.tag
        )
        self._post = Post(context, self._own)
        self._electorate = Electorate(context, self._own, self._post, configuration)
        self._build_leadership(voters)
        self._build_membership()
        self._build_sync()
        self._build_detector()
        self._build_entrances()

    def _build_leadership(self, voters: Sequence[str]) -> None:
        context, own = self._context, self._own
        if voters:
            self._leadership = holder = HolderRule(
                context, own, self._electorate, why_none=lambda now: self._tenure.problem(now) or ""
            )
            self._tenure = Lease(context, own, holder, self._electorate, self._post)
        else:
            self._leadership = LeaderRule(context, own)
            self._tenure = Tenure(
                context,
                own,
                self._leadership,
                self._subjects,
                self._subjects.suspected,
                self._differs,
                self._post,
            )
        self._changing = Changing(context, self._electorate, self._leadership)
        self.leases = Leases(context, self._post, self._leadership, self._tenure)

    def _build_membership(self) -> None:
        context, own = self._context, self._own
        self._asking = Asking(context, own)
        self._calling = Calling(context)
        self._naming = Naming(context, own, self._calling, self._networks.permits, self._fail)
        self._links = OwnLinks(context, own, self._asking)
        self._readmission = Readmission(context, own, self._links, self._leadership)
        self._membership = Membership(
            context,
            own,
            self._dissemination,
            self._networks,
            self._readmission,
            self._naming.claimed,
            Contests(context, own, self._calling, self._asking),
            self._differs,
            self._asking,
            self._streamed.doubts,
            self._subjects.patience,
        )

    def _build_sync(self) -> None:
        self._broadcasts = Broadcasts(self._context, self._own, self._dissemination)
        self._backlog = Backlog(self._context)
        self._sync = Sync(
            self._context,
            self._own,
            self._membership,
            self._leadership,
            self._electorate,
            self._broadcasts,
            self._backlog,
        )
        self._attempts = Attempts(self._table)
        self.settling = Settling(self._context, self._own, self._asking)
        self._search = Search(self._context, self._membership, self._sync, self._attempts, self._asking)
        self._reunion = Reunion(
            self._context,
            self._own,
            self._sync,
            self._calling,
            self._attempts,
            self._asking,
            self._subjects,
            self._streamed,
            self._membership.answered_after_all,
        )

    def _build_detector(self) -> None:
        context, own, subjects = self._context, self._own, self._subjects
        self._freshness = Freshness(context, own)
        self._probes = Probes(context, own, self._dissemination, self._freshness, self._sync.view)
        self._polls = Polls(context, own, self._membership, self._freshness, subjects)
        self._suspicion = Suspicion(
            context, self._links, self._membership, self._polls, self._streamed, subjects, self._probes
        )
        self._probing = Probing(
            context,
            own,
            self._dissemination,
            self._links,
            self._asking,
            subjects,
            self._probes,
            self._suspicion,
            self._search.overlooked,
        )

    def _build_entrances(self) -> None:
        self._reception = Reception(
            self._context,
            self._own,
            self._links,
            self._membership,
            self._asking,
            self._probing,
            self._suspicion,
            self._polls,
            self._sync,
            self._hear_leader_message,
            self.leases.receive,
            self._broadcasts,
            self._freshness,
            self._streamed,
        )
        self._joining = Joining(
            self._context,
            self._own,
            self._sync,
            self._leadership,
            self._electorate,
            self._naming,
            self._networks,
            self._backlog,
            founded=self._broadcasts.found,
            joined=self._joined,
            failed=self._fail,
        )

    def _hear_leader_message(self, message: LeaderMessage, sender: Record, now: float) -> None:
        """A message of another member, if it is for this process."""
        if not self._post.check(message, sender):
            return
        if message.kind in ABOUT_VOTERS:
            self._electorate.receive(message, sender, now)
        else:
            self._tenure.receive(message, sender, now)

    def _differs(self, record: Record, now: float) -> None:
        self._sync.differs(record, now)

    def _joined(self, now: float) -> None:
        raise NotImplementedError

    def _fail(self, failure: SwimError, now: float) -> None:
        raise NotImplementedError
