"""Which member leads: a pure function of the table and the floor."""

from __future__ import annotations

from collections.abc import Callable

from swim.events import LeaderChanged
from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import TokenBucket
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.leadership.choice import below_floor, highest_holder, lowest_member
from swim.protocol.leadership.electorate import Electorate
from swim.protocol.view.identity import from_the_future, is_minted
from swim.protocol.view.table import Record, hash_text
from swim.types import Member, MemberState

__all__ = ["HolderRule", "LeaderRule"]

_FRESH_IDS_PER_S, _FRESH_IDS_BURST = 0.5, 5
"""Whatever floors others tell of, this node changes its id no more often than that."""


class LeaderRule(Part):
    """The leader is the lowest id, not below the floor, among members alive or suspected.

    The floor is the newest leader that this node has followed or heard of. A member that finds
    itself below the floor takes a fresh id and queues at the back, so leadership only ever moves to a
    higher id. What rests on a solo verdict (or on having founded alone) does not raise the floor.
    """

    def __init__(self, context: Context, own: OwnRecord) -> None:
        super().__init__(context)
        self.floor = ""
        self._floor_hash = 0
        self.founded_alone = False
        self.leader: Member | None = None
        self._own = own
        self._seen: tuple[object, ...] | None = None
        self._fresh_ids = TokenBucket(_FRESH_IDS_PER_S, _FRESH_IDS_BURST)

    @property
    def view_hash(self) -> int:
        """Equal at two members exactly when they agree on the members and the floor."""
        return self._table.view_hash ^ self._floor_hash

    @property
    def token(self) -> str | None:
        """The one that the leader shows, as far as this node has heard; None where it shows none."""
        record = None if self.leader is None else self._table.get(self.leader.name)
        return None if record is None else record.token or None

    def believes(self, floor: str, teller: str) -> bool:
        """May this be a floor? Without its leader it is only a number, which anybody may make up."""
        return self._table.has_id(floor)

    def hear_floor(self, floor: str, now: float) -> None:
        """Another member's floor, whose leader is present in this node's view too.

        Where that one counts as dead it is being told so, and refutes; until then to follow its floor
        would be to queue behind no member, and to lead again.
        """
        if floor > self.floor:
            self._raise(floor, now)

    def _raise(self, floor: str, now: float) -> None:
        self.floor = floor
        self._floor_hash = hash_text(floor)
        self._table.note_change(now)

    def meet(self) -> None:
        """A node that founded its cluster is alone no longer. By the others' floor it queues behind them."""
        self.founded_alone = False

    def found(self) -> None:
        """This node founds a cluster: until it meets others, what it concludes does not raise the floor."""
        self.founded_alone = True

    def begin_anew(self, now: float) -> None:
        """This node's id, and the floor that followed from it, are of a time to come: forget both."""
        others = [record for record in self._table if record.name != self._name and record.id is not None]
        newest = max((record.id for record in others if record.id and is_minted(record.id)), default="")
        self._table.forget_newest(newest, max((record.token for record in others), default=""))
        if self.floor > newest:
            self.floor, self._floor_hash = "", 0
        self._own.fresh_id(now, newest)

    def step_back(self, now: float) -> None:
        """This node stalled for so long that others may have moved on: queue at the back."""
        if self.leader is not None and self.leader.name == self._name and not self._own.pinned:
            self._own.fresh_id(now, self.floor)

    def update(self, now: float) -> None:
        """Follow the table and the floor."""
        seen = self._view()
        if seen != self._seen:
            self._seen = seen
            self._follow(now)

    def _view(self) -> tuple[object, ...]:
        """Everything that the leader follows from, in short."""
        return self._table.version, self.floor, self.founded_alone

    def _follow(self, now: float) -> None:
        me = self._own.record
        if me is None or not me.present:
            return
        if below_floor(me, self.floor):
            self._queue_behind(now)
        record = self._choose(now)
        if record is not None and record.id is not None and self._raises_floor(record):
            self._raise(record.id, now)
        leader = None if record is None else record.member
        previous, self.leader = self.leader, leader
        if _identity(leader) != _identity(previous):
            reason = self._why_none(now) if leader is None else ""
            self._outbox.events.append(LeaderChanged(leader, previous, reason))

    def _choose(self, now: float) -> Record | None:
        return lowest_member(self._table, self.floor)

    def _why_none(self, now: float) -> str:
        return "no member may lead (electable=False)"

    def _queue_behind(self, now: float) -> None:
        if self._fresh_ids.take(now):
            self._own.fresh_id(now, self.floor)
        else:  # until then this node is below the floor, and cannot be elected
            self._timers.set_if_unset("fresh id", now + self._fresh_ids.wait(now), self._follow)

    def _raises_floor(self, leader: Record) -> bool:
        assert leader.id is not None
        if not is_minted(leader.id) or leader.id <= self.floor or self.founded_alone:
            return False
        return not any(
            record.solo and record.id is not None and self.floor <= record.id < leader.id
            for record in self._table.dead()
        )


class HolderRule(LeaderRule):
    """With voters: the leader is the member that shows that it holds the lease.

    One that is suspected for longer than the lease lasts does not count: it is possible that it has
    not renewed. `why_none`: in words.
    """

    def __init__(
        self, context: Context, own: OwnRecord, electorate: Electorate, why_none: Callable[[float], str]
    ) -> None:
        super().__init__(context, own)
        self._electorate = electorate
        self._token = ""
        """Under which the leader leads."""
        self._said = why_none
        self.unfollowed: Record | None = None
        """A member that shows that it holds the lease, and whose id is below the floor."""

    def _view(self) -> tuple[object, ...]:
        return *super()._view(), self._own.shows_token

    def hear_floor(self, floor: str, now: float) -> None:
        """Another member's floor. Only holders raise it, so it counts although its leader is gone."""
        if is_minted(floor) and not from_the_future(floor, self._wall(now)):
            super().hear_floor(floor, now)

    def believes(self, floor: str, teller: str) -> bool:
        """Only holders raise it; those of other voters do not count here."""
        record = self._table.get(teller)
        return record is not None and record.voters == self._own.voters

    def step_back(self, now: float) -> None:
        """With a lease the others have not moved on, whatever some of them say."""
        if not self._own.shows_token:
            super().step_back(now)

    def _choose(self, now: float) -> Record | None:
        self.unfollowed = None
        if self._own.shows_token:
            return self._own.record
        holders = [record for record in self._table.showing() if self._holds(record, now)]
        highest = highest_holder(holders)
        if highest is not None and below_floor(highest, self.floor):
            self.unfollowed = highest
            return None
        if highest is not None:
            self._token = highest.token
        return highest

    def _holds(self, record: Record, now: float) -> bool:
        if record.name == self._name or record.id is None:
            return False
        followed = self.leader is not None and self.leader.id == record.id and record.token == self._token
        if record.voters != self._own.voters and not followed:
            return False  # but the leader that is followed may just have changed the voters, or this node has
        if record.state is not MemberState.SUSPECT:
            return True
        until = record.since + self._electorate.configuration.length
        if now < until:
            self._timers.set("holder", until, self._follow)
        return now < until

    def _raises_floor(self, leader: Record) -> bool:
        return leader.id is not None and is_minted(leader.id) and leader.id > self.floor

    def _why_none(self, now: float) -> str:
        return self._said(now)


def _identity(member: Member | None) -> tuple[str, str | None] | None:
    return None if member is None else (member.name, member.id)
