"""What this node does with news of a member: the rules on receipt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from swim.events import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
)
from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import TokenBucket
from swim.protocol.base.networks import Networks
from swim.protocol.gossip.dissemination import Dissemination
from swim.protocol.gossip.own_record import INCARNATION_MAX, OwnRecord
from swim.protocol.membership.asking import Asking
from swim.protocol.membership.contests import Contests, confirms, has_to_answer, is_as, is_rival
from swim.protocol.membership.hearsay import Hearsay
from swim.protocol.membership.newcomers import Newcomers
from swim.protocol.membership.readmission import Readmission
from swim.protocol.view.identity import from_the_future, id_milliseconds, minted_later, pack_id, unpack_id
from swim.protocol.view.precedence import can_change
from swim.protocol.view.table import Record
from swim.types import Address, MemberState
from swim.wire import unpack_address
from swim.wire.messages import Ack, Alive, Dead, DeathReason, Suspect

__all__ = ["Membership"]


_INCARNATION_JUMP_MAX = 1 << 20
"""An incarnation grows by refuting, a few a second at most: a greater leap is nonsense that would,
if it were taken over, soon leave the member no higher number to refute with."""
_META_SIZE_MAX = 1_024
"""Of others: memberlist's senders keep to 512 bytes, but its receivers do not mind more."""
_LEAP_MS_MAX = 60_000
"""An id that is later than all known ones by less than this follows them, even into a time to come."""
_HEARSAY_TOLERANCES = 2
"""For so many silence tolerances a member that others suspect has time to refute it."""
_CORRECTIONS_PER_S, _CORRECTIONS_BURST = 20.0, 32
"""See `correct`."""
_HEARSAY_SHARE = 16
"""Of the room for dead members, one part in so many is for those that this node never knew alive."""


class Membership(Part):
    """Applies news to the table by precedence, reports what changed, and passes the news on."""

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        dissemination: Dissemination,
        networks: Networks,
        readmission: Readmission,
        claimed: Callable[[Record, float], None],
        contests: Contests,
        exchange: Callable[[Record, float], None],
        asking: Asking,
        doubts: Callable[[Record], bool],
        patience: Callable[[], float],
    ) -> None:
        super().__init__(context)
        self._own = own
        self._dissemination = dissemination
        self._networks = networks
        self._claimed = claimed
        self._contests = contests
        self._exchange = exchange
        self._readmission = readmission
        self.hearsay = Hearsay(context, asking, doubts, patience)
        self.newcomers = Newcomers(context, asking, lambda news, ack, at: self.alive(news, at, answer=ack))
        self._corrections = TokenBucket(_CORRECTIONS_PER_S, _CORRECTIONS_BURST)

    # --- news from others

    def alive(
        self,
        news: Alive,
        now: float,
        source: Address | None = None,
        *,
        spread: bool = True,
        answer: Ack | None = None,
        pushed: bool = False,
    ) -> None:
        """`source`: where the packet came from, when it came in a packet. `answer`: to a ping by this name,
        from the address that is told. `pushed`: it is of another than its sender, which nobody asked.

        Without `spread` the news is not passed on: what a joining node learns is no news to others.
        """
        if self.knows(news):
            return
        new = self._table.get(news.node) is None
        if new and spread and answer is None and self._waits(news, source, now, pushed):
            return
        record = self._read(news, now)
        if record is None:
            return
        if record.name == self._name:
            self._about_me(record, now)
            return
        old = self._table.get(record.name)
        if old is None:
            if len(self._table) >= self._config.members_max:
                self._outbox.drop("members-max")
                return
            occupant = self._table.at(record.address)
            if occupant is not None and occupant.present:
                self._contest(None, record, now)
                return
        elif not self._newer(old, record):
            self.hearsay.look_again(old, now, self.answered_after_all)
            if source == record.address and old.own and (old.boot != record.boot or not old.present):
                self.correct(source, self._told(old), now)  # that is not enough: let it find out
            return
        elif has_to_answer(old, record) and not (answer and confirms(answer, record, old)):
            self._contest(old, record, now)
            return
        self._accept(old, record, now, spread=spread)

    def knows(self, news: Alive) -> bool:
        """Has this been heard before?"""
        known = self._table.get(news.node)
        return known is not None and known.present and known.same_as(news)

    def _waits(self, news: Alive, source: Address | None, now: float, pushed: bool) -> bool:
        """Does a newcomer have to answer first? Not one that tells of itself."""
        address = unpack_address(news.address, news.port)
        if source == address or (not pushed and self.newcomers.believed(now)):
            return False
        if self.permits(address):
            self.newcomers.add(news, now)
        else:
            self._outbox.drop("address")
        return True

    def _accept(self, old: Record | None, record: Record, now: float, *, spread: bool = True) -> None:
        accused = old is not None and old.state in (MemberState.SUSPECT, MemberState.DEAD)
        if accused and old is not None and old.boot == record.boot:
            self._table.refutations[record.name] += 1
        self._change(old, record, now)
        if spread:
            self._dissemination.news(record.name, record.as_alive(), now)

    def _contest(self, old: Record | None, claim: Record, now: float) -> None:
        """News moves a member, or gives its name or address to another process: ask which one is there."""
        asked = claim if old is None or not is_rival(old, claim) else old
        if asked is old:
            self.correct(claim.address, self._told(asked), now)  # it asks the other, and gives way

        def settle(ack: Ack | None, at: float) -> None:
            known = self._table.get(claim.name)
            if is_as(known, old) and confirms(ack, claim, old):
                if known is None or self._newer(known, claim):
                    self._accept(known, claim, at)
                return
            self._outbox.drop("contested")
            if asked is old:
                self._exchange(claim, at)  # packets by UDP may not reach it

        self._contests.put((claim.name, claim.address), asked, now, settle)

    def _newer(self, old: Record, new: Record) -> bool:
        """Does what is said of a name take the place of what is known of it?"""
        if old.boot == new.boot:
            if not new.own and old.state is MemberState.LEFT and old.address != new.address:
                return True  # memberlist reclaims a name that left, whatever the incarnation
            return can_change(old.state, old.incarnation, MemberState.ALIVE, new.incarnation)
        later = minted_later(new.id, old.id)
        if later is not None:
            return later  # another process: the later one, even if it lost its incarnation
        # Ids that applications pin say nothing of order; incarnations do, until they are exhausted.
        return new.incarnation > old.incarnation or old.incarnation > INCARNATION_MAX // 2

    def _about_me(self, record: Record, now: float) -> None:
        """What others say of this node is wrong unless it is what this node has said itself."""
        mine = self._own.record
        if mine is None:
            return
        if record.boot != mine.boot and record.address != mine.address:
            self._claimed(record, now)
        elif (
            record.incarnation > mine.incarnation
            or (record.incarnation == mine.incarnation and record.meta != mine.meta)
            or (record.boot != mine.boot and (record.id or "") > (mine.id or ""))
        ):
            self._own.refute(record.incarnation, now, record.id)

    def suspect(self, news: Suspect, now: float) -> None:
        """Another member says that a member does not answer."""
        if not self._sane(news.node, news.incarnation):
            return
        if news.node == self._name:
            if news.incarnation >= self._own.incarnation:
                self._own.refute(news.incarnation, now)
            return
        old = self._table.get(news.node)
        if old is None or not can_change(old.state, old.incarnation, MemberState.SUSPECT, news.incarnation):
            return
        self._change(old, old.become(MemberState.SUSPECT, now, news.incarnation), now)
        self._dissemination.news(news.node, news, now)
        self._outbox.send(old.address, news)  # so that it can refute at once
        patience = _HEARSAY_TOLERANCES * self._config.silence_tolerance
        self._timers.set(("hearsay", news.node), now + patience, lambda at: self._unrefuted(news, at))

    def _unrefuted(self, news: Suspect, now: float) -> None:
        """The accused has had the time to answer, were it alive (SWIM section 4.2)."""
        old = self._table.get(news.node)
        if old is not None:
            self.hearsay.weigh(old, now, lambda at: self._lose(news, at))

    def _lose(self, news: Suspect, now: float) -> None:
        old = self._table.get(news.node)
        if old is not None and old.state is MemberState.SUSPECT and old.incarnation == news.incarnation:
            self._change(old, old.become(MemberState.DEAD, now), now, told_by=news.sender)

    def dead(self, news: Dead, now: float, source: Address | None = None) -> None:
        """Another member says that a member is dead, or a member says itself that it leaves.

        `source`: where the packet came from, when it came in a packet.
        """
        if not self._sane(news.node, news.incarnation):
            return
        if news.early:
            if news.node == self._name and news.id == pack_id(self._own.id):
                self._readmission.refused(news.sender, now)
            return
        if news.node == self._name:
            if news.incarnation >= self._own.incarnation or self._overtaken(news, now):
                self._readmission.told(news, now)
            mine = self._own.record
            refuted = mine is not None and mine.present and mine.incarnation > news.incarnation
            if source is not None and mine is not None and refuted and not self._own.held_off:
                # No flood goes to a member that counts as dead here.
                self.correct(source, mine.as_alive(), now)
            return
        old = self._table.get(news.node)
        if old is None or not self._ends(old, news):
            return
        farewell = _state(news) is MemberState.LEFT
        # A member of memberlist goes on answering pings after its farewell. With keys nobody else says it.
        if old.present and not (farewell and (self._outbox.codec.keyed or not old.own)):
            self.hearsay.weigh(old, now, lambda at: self._bury(news, at), news)
            return
        if not farewell:
            self._outbox.send(old.address, news)  # so that it can refute at once
        self._bury(news, now)

    def _ends(self, old: Record, news: Dead) -> bool:
        """Is this the end of what is known?"""
        if news.incarnation < old.incarnation or minted_later(old.id, unpack_id(news.id)):
            return False  # the process that has the name now may have that incarnation, too
        return old.solo or can_change(old.state, old.incarnation, _state(news), news.incarnation)

    def _bury(self, news: Dead, now: float) -> None:
        old = self._table.get(news.node)
        if old is None or not self._ends(old, news):
            return
        gone = old.become(_state(news), now, news.incarnation, reason=news.reason)
        if old.solo:
            self._table.put(gone, now)  # now others say so too
        else:
            self._change(old, gone, now, told_by=news.sender)
        self._dissemination.news(news.node, news, now)

    def _overtaken(self, news: Dead, now: float) -> bool:
        """Has a later process had this node's name, and ended?"""
        id, mine = unpack_id(news.id), self._own.id
        return bool(minted_later(id, mine)) and not from_the_future(id or "", self._wall(now))

    def _told(self, record: Record) -> Alive | Dead:
        """What this node knows of a name, as news."""
        return record.as_alive() if record.present else record.as_dead(self._name)

    def correct(self, address: Address, message: Alive | Dead, now: float) -> None:
        """Answer what is out of date, within a limit: forged addresses could make much out of little."""
        if self._corrections.take(now):
            self._outbox.send(address, message)
        else:
            self._outbox.drop("corrections-max")

    def remember(self, news: Alive, state: MemberState, age: float, now: float, *, joining: bool) -> None:
        """What is known of a member that is gone, and that this node does not know: not reported.

        Anybody can make up such members. They fill some of the room that there is for the dead, and never
        take that of one that this node has known alive; only a node that joins knows none yet, and takes all.

        It counts as gone for as long as it has been: two nodes that forget it at different times would else
        remind each other of it for ever.
        """
        room = self._config.dead_max if joining else self._config.dead_max // _HEARSAY_SHARE
        full = len(self._table) >= self._config.members_max or self._table.dead_count >= room
        if full:
            self._outbox.drop("dead-max")
        if news.node == self._name or full or age > self._config.dead_retention:
            return
        record = self._read(news, now, state)
        if record is not None:
            self._table.put(replace(record, since=now - age), now)
            self._heed_token(record, now)

    # --- what this node found out itself

    def suspect_silent(self, name: str, phi: float | None, now: float) -> None:
        """This node's detector suspects it. That is no news for others: each observer judges for itself."""
        old = self._table.get(name)
        if old is not None and old.state is MemberState.ALIVE:
            self._change(old, old.become(MemberState.SUSPECT, now), now, phi=phi)

    def recover(self, name: str, now: float) -> None:
        """It answered."""
        self._timers.cancel(("hearsay", name))
        old = self._table.get(name)
        if old is not None and old.state is MemberState.SUSPECT:
            self._change(old, old.become(MemberState.ALIVE, now), now)

    def let_go(self, name: str, now: float) -> None:
        """This node, which suspects it, observes it no more. Those that do tell of a death, not of a life."""
        if self._timers.when(("hearsay", name)) is None:
            self.recover(name, now)

    def declare_dead(self, name: str, reason: DeathReason, now: float, *, solo: bool = False) -> None:
        """This node's own verdict; a solo one stays with this node.

        A member that has said farewell, and ended before it could be asked whether it did, has left.
        """
        self.hearsay.believe_farewell(name, now)
        old = self._table.get(name)
        if old is None or not old.present:
            return
        record = old.become(MemberState.DEAD, now, solo=solo, reason=reason)
        self._change(old, record, now)
        if not solo:
            news = record.as_dead(self._name)
            self._dissemination.news(name, news, now)
            self._outbox.send(old.address, news)

    def answered_after_all(self, name: str, now: float) -> None:
        """Word from a member that this node alone had given up."""
        old = self._table.get(name)
        if old is not None and old.solo:
            self._readmission.answered_after_all(now)
            self._change(old, old.become(MemberState.ALIVE, now), now)

    def _heed_token(self, record: Record, now: float) -> None:
        """Tokens rise above every one heard of, but not above one that cannot have been minted yet.

        Those that other voters have granted are none of this node's business.
        """
        if record.voters != self._own.voters:
            return
        if not from_the_future(record.token, self._wall(now)):
            self._table.heed_token(record.token)

    # --- reading and reporting

    def _sane(self, name: str, incarnation: int) -> bool:
        """Can the member have this incarnation? A made-up one would leave it no higher one to refute with."""
        known = self._table.get(name)
        limit = INCARNATION_MAX if known is None else known.incarnation + _INCARNATION_JUMP_MAX
        if name == self._name or 0 < incarnation <= min(limit, INCARNATION_MAX):
            return True
        self._outbox.drop("incarnation")
        return False

    def _read(self, news: Alive, now: float, state: MemberState = MemberState.ALIVE) -> Record | None:
        """The record that the news describes, or None (and counted) if it cannot be."""
        if not self._sane(news.node, news.incarnation):
            return None
        address = unpack_address(news.address, news.port)
        record = Record.make(news.node, address, news.incarnation, state, news.meta, news.versions, now)
        objection = self._objection(record, now)
        if objection is None:
            return record
        self._outbox.drop(objection)
        if objection == "future-id":
            self.correct(record.address, replace(record.as_dead(self._name), early=True), now)
        return None

    def _leaps(self, id: str) -> bool:
        """Where the ids that are known are of the future, too, those that follow them are welcome."""
        newest = self._table.newest_minted
        return not newest or id_milliseconds(id) > id_milliseconds(newest) + _LEAP_MS_MAX

    def permits(self, address: Address) -> bool:
        """Can a member be there?"""
        return self._networks.permits(address)

    def reaches(self, address: Address) -> bool:
        """Could this node ping a member there?"""
        return self.permits(address) and self._networks.reaches(address)

    def _objection(self, record: Record, now: float) -> str | None:
        """Why no member can be like that, as the reason under which the news is dropped."""
        if not self.permits(record.address):
            return "address"
        if len(record.meta) > _META_SIZE_MAX:
            return "meta"
        if not _compatible(record.versions, self._own.versions):
            return "version"
        if record.id is not None and from_the_future(record.id, self._wall(now)) and self._leaps(record.id):
            known = self._table.get(record.name)
            if known is None or known.id != record.id:
                return "future-id"
        return None

    def _change(
        self,
        old: Record | None,
        new: Record,
        now: float,
        *,
        told_by: str | None = None,
        phi: float | None = None,
    ) -> None:
        """Put a record into the table, and tell the application what that changes."""
        self._table.put(new, now)
        self._heed_token(new, now)
        if new.state is not MemberState.SUSPECT:
            self._timers.cancel(("hearsay", new.name))
        events = self._outbox.events
        was = old is not None and old.present
        if not new.present:
            if was:
                left = new.state is MemberState.LEFT
                reason = new.reason or "told"
                events.append(MemberLeft(new.member) if left else MemberFailed(new.member, reason, told_by))
                self.newcomers.lose(new, now)
            return
        if not was:
            events.append(MemberJoined(new.member))
            return
        assert old is not None
        if old.boot != new.boot:
            gone = old.become(MemberState.DEAD, now)
            events += [MemberFailed(gone.member, "process-gone"), MemberJoined(new.member)]
            return
        if old.state is not new.state:
            suspected = new.state is MemberState.SUSPECT
            events.append(MemberSuspected(new.member, phi) if suspected else MemberRecovered(new.member))
        if (old.id, old.tags, old.address) != (new.id, new.tags, new.address):
            events.append(MemberUpdated(new.member, old.member))


def _state(news: Dead) -> MemberState:
    """Of a member of which this is the news."""
    return MemberState.LEFT if news.sender == news.node else MemberState.DEAD


def _compatible(theirs: bytes, mine: bytes) -> bool:
    """Once a member of another delegate protocol is let in, every push/pull of the cluster fails."""
    if len(theirs) < 6:
        return len(theirs) < 3 or 0 < theirs[0] <= theirs[1]
    if not 0 < theirs[0] <= theirs[1]:
        return False
    return theirs[3] <= mine[5] <= theirs[4] and mine[3] <= theirs[5] <= mine[4]
