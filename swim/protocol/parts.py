"""The parts of one node, joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swim.errors import SwimError
from swim.protocol.base.calling import Calling
from swim.protocol.base.context import Context
from swim.protocol.base.networks import Networks
from swim.protocol.base.steps import Backlog
from swim.protocol.detector.freshness import Freshness
from swim.protocol.detector.probing import Probing
from swim.protocol.detector.streamed import Streamed
from swim.protocol.detector.suspicion import Suspicion
from swim.protocol.detector.verdicts import Verdicts
from swim.protocol.exchange.attempts import Attempts
from swim.protocol.exchange.joining import Joining
from swim.protocol.exchange.reunion import Reunion
from swim.protocol.exchange.search import Search
from swim.protocol.exchange.sync import Sync
from swim.protocol.gossip.broadcasts import Broadcasts
from swim.protocol.gossip.dissemination import Dissemination
from swim.protocol.gossip.myself import Myself
from swim.protocol.leadership.changing import Changing
from swim.protocol.leadership.configuration import founding_configuration
from swim.protocol.leadership.electorate import ABOUT_VOTERS, Electorate
from swim.protocol.leadership.lease import Lease
from swim.protocol.leadership.post import Post
from swim.protocol.leadership.rule import HolderLeads, Leadership
from swim.protocol.leadership.tenure import Tenure
from swim.protocol.leases.leases import Leases
from swim.protocol.membership.links import Links
from swim.protocol.membership.naming import Naming
from swim.protocol.membership.readmission import Readmission
from swim.protocol.membership.updates import Membership
from swim.protocol.reception import Reception
from swim.protocol.view.table import Record
from swim.types import Address, Term
from swim.wire.messages import Claim

__all__ = ["Parts"]


class Parts:
    """What `Node` consists of. Where two parts need each other, the earlier is given a way to the later."""

    _suspicion: Suspicion
    _probing: Probing
    _naming: Naming
    _tenure: Tenure | Lease
    _holder: HolderLeads

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
        self._dissemination = Dissemination(
            context,
            suspected=lambda name: self._suspicion.suspects(name),
            loss=lambda: self._suspicion.usual_loss(),
        )
        configuration = founding_configuration(voters, context.config.lease)
        self._myself = Myself(
            context, self._dissemination, address, tags, pinned_id, electable, configuration.tag
        )
        self._post = Post(context, self._myself)
        self._electorate = Electorate(context, self._myself, self._post, configuration)
        self._links = Links(
            context, self._myself, ask=lambda *question, **how: self._probing.ask(*question, **how)
        )
        self._readmission = Readmission(context, self._myself, self._links, lambda: self._leadership)
        self._membership = Membership(
            context,
            self._myself,
            self._dissemination,
            networks,
            self._readmission,
            claimed=lambda record, now: self._naming.claimed(record, now),
            ask=lambda *question, **how: self._probing.ask(*question, **how),
            hears=lambda record: self._suspicion.hears(record),
            patience=lambda: self._suspicion.patience(),
        )
        self._build_leadership(voters)
        self._broadcasts = Broadcasts(context, self._myself, self._dissemination)
        self._build_sync()
        self._build_detector()
        self._build_entrances(voters)

    def _build_sync(self) -> None:
        self._backlog = Backlog(self._context)
        self._sync = Sync(
            self._context,
            self._myself,
            self._membership,
            self._leadership,
            self._electorate,
            self._broadcasts,
            self._backlog,
        )

    def _build_leadership(self, voters: Sequence[str]) -> None:
        if not voters:
            self._leadership = Leadership(self._context, self._myself)
            return
        self._leadership = self._holder = HolderLeads(
            self._context,
            self._myself,
            acts=lambda: self._tenure.term is not None,
            why_none=lambda now: self._tenure.problem(now) or "",
            length=lambda: self._electorate.configuration.length,
        )

    def _build_detector(self) -> None:
        self._streamed = Streamed(self._context)
        self._freshness = Freshness(self._context, self._myself)
        self._verdicts = Verdicts(self._context, self._myself, self._membership, self._freshness)
        self._suspicion = Suspicion(
            self._context, self._links, self._membership, self._verdicts, self._streamed
        )
        self._probing = self._suspicion.probing = Probing(
            self._context,
            self._myself,
            self._dissemination,
            self._links,
            self._freshness,
            view_at_rest=self._sync.view,
            asked=self._suspicion.asked,
            answered=self._suspicion.answered,
            taken_up=self._suspicion.taken_up,
            dismissed=self._suspicion.dismissed,
            overlooked=lambda name, now: self._search.overlooked(name, now),
        )
        self._verdicts.watch = self._probing.subjects.get
        self._attempts = Attempts(self._table)
        self._search = Search(self._context, self._membership, self._sync, self._attempts, self._probing.ask)

    def _build_entrances(self, voters: Sequence[str]) -> None:
        context, myself, leads = self._context, self._myself, self._leadership
        if voters:
            self._tenure = Lease(context, myself, self._holder, self._electorate, self._post)
        else:
            self._tenure = Tenure(
                context,
                myself,
                leads,
                self._probing.subjects,
                self._suspicion.suspects,
                self._sync.differs,
                self._post,
            )
        self.leases = Leases(context, self._post, leads, acting=self._acting, derived=not voters)
        self._reception = Reception(
            context,
            self._myself,
            self._links,
            self._membership,
            self._probing,
            self._suspicion,
            self._verdicts,
            self._sync,
            self._claimed,
            self.leases.receive,
            self._broadcasts,
            self._freshness,
            self._streamed,
        )
        self._calling = Calling(context)
        self._reunion = Reunion(context, myself, self._sync, self._calling, self._attempts, self._probing.ask)
        self._changing = Changing(context, self._electorate, leads)
        self._naming = Naming(context, myself, self._calling, self._membership.permits, self._fail)
        self._joining = Joining(
            context,
            self._myself,
            self._sync,
            self._leadership,
            self._electorate,
            self._naming,
            reaches=lambda address: self._networks.reaches(address),
            founded=self._broadcasts.found,
            joined=self._joined,
            failed=self._fail,
        )

    def _acting(self, now: float) -> Term | None:
        """This node's term as leader, if it is not over."""
        return self._tenure.term if now < self._tenure.term_ends else None

    def _claimed(self, claim: Claim, sender: Record, now: float) -> None:
        """A claim of another member, if it is for this process."""
        if not self._post.check(claim, sender):
            return
        if claim.kind in ABOUT_VOTERS:
            self._electorate.receive(claim, sender, now)
        else:
            self._tenure.receive(claim, sender, now)

    def _joined(self, now: float) -> None:
        raise NotImplementedError

    def _fail(self, failure: SwimError, now: float) -> None:
        raise NotImplementedError
