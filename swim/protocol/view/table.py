"""The member table: what this node knows of every member, and the indexes that the parts need."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import lru_cache
from hashlib import blake2b
from heapq import heappop, heappush, merge
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from swim.protocol.view.identity import is_minted, pack_id, valid_boot, valid_id
from swim.protocol.view.rings import Rings
from swim.types import Address, Member, MemberState, value
from swim.wire import pack_host
from swim.wire.bodies import pack_node_state, with_age
from swim.wire.dialect import U32
from swim.wire.messages import Alive, Dead, DeathReason, NodeState, WireState
from swim.wire.serf import decode_tags, encode_tags

__all__ = [
    "BOOT_TAG",
    "ELECTABLE_TAG",
    "ID_TAG",
    "MOVED_MARK",
    "NOT_ELECTABLE",
    "TOKEN_TAG",
    "VOTERS_SIZE",
    "VOTERS_TAG",
    "WIRE_STATES",
    "MemberTable",
    "Record",
    "encode_meta",
    "hash_text",
]

T = TypeVar("T")

ID_TAG, BOOT_TAG = "_id", "_boot"
TOKEN_TAG, ELECTABLE_TAG, VOTERS_TAG = "_token", "_electable", "_voters"
NOT_ELECTABLE = "no"
VOTERS_SIZE = 16
"""Characters of the tag that shows the voters."""
MOVED_MARK = "!"
"""Behind the tag of a voter that has no vote, as an earlier process of its name may live."""
_CLAIMS_MAX = 8
"""Names that are remembered for one address."""
_UNMET_SHARE = 4
"""Of the room for dead members, one part in so many is for those that never answered this node."""
_DEATHS_SPARE = 64
"""Entries that may be out of date in the list of deaths, beyond as many as there are dead members."""
WIRE_STATES = {
    MemberState.ALIVE: WireState.ALIVE,
    MemberState.SUSPECT: WireState.SUSPECT,
    MemberState.DEAD: WireState.DEAD,
    MemberState.LEFT: WireState.LEFT,
}


def encode_meta(tags: dict[str, str], id: str, boot: str, marks: Mapping[str, str] | None = None) -> bytes:
    """A member's meta data: the application's tags and ours, as Serf tags. `marks`: further ones of ours."""
    return encode_tags({**tags, **(marks or {}), BOOT_TAG: boot, ID_TAG: id})


class _Traits(NamedTuple):
    """What thousands of members have in common: their versions, and what their tags say of leadership."""

    versions: bytes
    token: str = ""
    electable: bool = False
    voters: str = ""


def _traits(versions: bytes, tags: Mapping[str, str], *, own: bool) -> _Traits:
    traits = _Traits(versions)
    if own:
        token, voters = tags.get(TOKEN_TAG, ""), tags.get(VOTERS_TAG, "")
        electable = tags.get(ELECTABLE_TAG) != NOT_ELECTABLE
        shown = voters[:VOTERS_SIZE].rstrip(MOVED_MARK)
        traits = _Traits(versions, token if is_minted(token) else "", electable, shown)
    shared: _Traits = _one(traits)
    return shared


def hash_text(*fields: Any) -> int:
    """64 bits for a tuple of plain values."""
    return int.from_bytes(blake2b(repr(fields).encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=1_024)
def _one(value: T) -> T:
    """The same object for all members of which the same is to be said: of their port, for instance."""
    return value


@lru_cache(maxsize=1_024)
def _visible(tags: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The same map for all members with the same tags, which nobody changes."""
    return dict(tags)


@value
class Record:
    """What is known of one member. Replaced as a whole when something changes.

    `solo` marks a death that this node concluded alone, from silence: it is not sent, and any word
    that the member lives cancels it. `view` is the record's share of the view hash, `tags` are those of the
    application.
    """

    name: str
    address: Address
    incarnation: int
    state: MemberState
    meta: bytes
    since: float
    solo: bool
    reason: DeathReason
    id: str | None
    boot: str | None
    traits: _Traits
    view: int
    tags: Mapping[str, str]
    entry: bytes = field(default=b"", init=False, repr=False, compare=False)
    """What `packed` gives, at any time; empty if it was not packed yet, or tells an age."""
    _ageless: bytes = field(default=b"", init=False, repr=False, compare=False)

    @classmethod
    def make(
        cls,
        name: str,
        address: Address,
        incarnation: int,
        state: MemberState,
        meta: bytes,
        versions: bytes,
        since: float,
        solo: bool = False,
        reason: DeathReason = "",
    ) -> Record:
        tags = decode_tags(meta)
        id, boot = tags.get(ID_TAG), tags.get(BOOT_TAG)
        if id is None or boot is None or not valid_id(id) or not valid_boot(boot):
            id = boot = None  # a foreign member
        visible = _visible(tuple(tag for tag in tags.items() if not tag[0].startswith("_")))
        view = hash_text(name, address.host, address.port, incarnation, meta) if state.present else 0
        place = Address(address.host, _one(address.port))
        traits = _traits(versions, tags, own=id is not None)
        changing = (incarnation, state, meta, since, solo, reason)
        return cls(name, place, *changing, id, boot, traits, view, visible)

    @property
    def member(self) -> Member:
        """As the application sees it. Made when asked for: to keep it takes as much as half a record."""
        tags, state = self.tags, self.state
        return Member(self.name, self.address, self.id, tags, state, self.incarnation, self.boot)

    @property
    def versions(self) -> bytes:
        """Of the protocols that it speaks."""
        return self.traits.versions

    @property
    def token(self) -> str:
        """The fencing token of its latest term, if it shows one."""
        return self.traits.token

    @property
    def electable(self) -> bool:
        """May it lead?"""
        return self.traits.electable

    @property
    def voters(self) -> str:
        """Those that it is configured with, as its tag shows them."""
        return self.traits.voters

    @property
    def own(self) -> bool:
        """One of ours (not a foreign member: plain memberlist, Serf)."""
        return self.boot is not None

    @property
    def packed_boot(self) -> bytes:
        """Its boot as messages carry it; empty for a foreign member."""
        return (self.boot or "").encode()

    @property
    def present(self) -> bool:
        return self.state.present

    def same_as(self, news: Alive | NodeState) -> bool:
        """Does this say nothing new of a member that is alive?"""
        return self.incarnation == news.incarnation and self.meta == news.meta

    def become(
        self,
        state: MemberState,
        since: float,
        incarnation: int | None = None,
        *,
        solo: bool = False,
        reason: DeathReason = "",
    ) -> Record:
        """The same member in another state; `reason` is that of its death."""
        number = self.incarnation if incarnation is None else incarnation
        rest = (self.meta, self.versions, since, solo, reason)
        return Record.make(self.name, self.address, number, state, *rest)

    def as_alive(self) -> Alive:
        host, port = pack_host(self.address.host), self.address.port
        return Alive(self.name, self.incarnation, host, port, self.meta, self.versions)

    def as_entry(self) -> NodeState:
        """The record in a push/pull, without an age."""
        host, port, state = pack_host(self.address.host), self.address.port, WIRE_STATES[self.state]
        return NodeState(self.name, self.incarnation, host, port, self.meta, state, self.versions)

    def packed(self, now: float) -> bytes:
        """Its entry as it stands in a push/pull of now. All but the age is packed only once."""
        packed = self.entry or self._ageless
        if not packed:
            packed = pack_node_state(self.as_entry())
            # Not a change: it follows from the other fields.
            object.__setattr__(self, "entry" if self.present else "_ageless", packed)
        # The age is rounded up: on its way it gets no younger.
        return packed if self.entry else with_age(packed, min(int(now - self.since) + 1, U32))

    def as_dead(self, sender: str) -> Dead:
        """`sender` is the member itself when it left."""
        left = self.state is MemberState.LEFT
        accuser = self.name if left else sender
        return Dead(self.name, self.incarnation, accuser, id=pack_id(self.id), reason=self.reason)


class MemberTable:
    """All records by name, with the present members also on the rings, by id and in the view hash."""

    def __init__(self, rings: Rings, dead_max: int) -> None:
        self.rings = rings
        self.view_hash = 0
        self.version = 0
        """Grows with every change."""
        self.changed_at = float("-inf")
        self.returned_at = float("-inf")
        """When a member came that is not the newest: one that was given up, or one of another cluster."""
        self.newest_minted = ""
        self.newest_token = ""
        """The highest fencing token heard of; kept up by `Membership` and `OwnRecord`: they know the time."""
        self._records: dict[str, Record] = {}
        self._names: dict[Address, str | tuple[str, ...]] = {}
        """Who claims to be there: one member, as nearly always, or several."""
        self._ids: list[str] = []
        """The members that may lead, in the order of their ids: those with a minted one, the others apart."""
        self._pinned: list[str] = []
        self._versions = Counter[bytes]()
        self._states = dict.fromkeys(MemberState, 0)
        self._showing: dict[str, None] = {}
        self._dead: dict[str, None] = {}
        self._solo: dict[str, None] = {}
        self._met: dict[str, Address] = {}
        self._unmet: dict[str, None] = {}
        """Those of the dead that this node knew alive, but only by hearsay."""
        self._deaths: list[tuple[float, str]] = []
        self.configurations: dict[str, int] = {}
        """How many present members of our own are configured with which voters."""
        self.refutations = Counter[str]()
        """By name: how often a member that was suspected or given up had a word against that."""
        self._dead_max = dead_max

    def get(self, name: str) -> Record | None:
        return self._records.get(name)

    def at(self, address: Address) -> Record | None:
        """The member at this address; of several that claim it, the latest that is present."""
        names = self._names.get(address)
        if names is None:
            return None
        if type(names) is str:
            return self._records[names]
        if len(names) > 1:
            names = tuple(name for name in names if self._records[name].present) or names
        return self._records[names[-1]]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    @property
    def present_count(self) -> int:
        return len(self._records) - len(self._dead)

    @property
    def dead_count(self) -> int:
        return len(self._dead)

    @property
    def versions(self) -> tuple[bytes, ...]:
        """The protocol versions that the present members speak, each once."""
        return tuple(self._versions)

    def present(self) -> list[Record]:
        return [record for record in self._records.values() if record.present]

    def states(self) -> dict[str, int]:
        """How many records there are in each state."""
        return {state.value: count for state, count in self._states.items()}

    def dead(self) -> list[Record]:
        """Dead and left members, in the order in which this node heard of that."""
        return [self._records[name] for name in self._dead]

    def solo(self) -> list[Record]:
        """Those of the dead that this node has given up alone."""
        return [self._records[name] for name in self._solo]

    def lowest_id(self, floor: str) -> str | None:
        """The present member that may lead and has the lowest id; minted ids count from the floor up."""
        place = self._place(self._ids, floor)
        return min(self._pinned[:1] + self._ids[place : place + 1], key=self._order, default=None)

    def candidates(self, floor: str) -> Iterator[str]:
        """The names of the present members that may lead, in the order of `lowest_id`."""
        minted = islice(self._ids, self._place(self._ids, floor), None)
        return merge(self._pinned, minted, key=self._order) if self._pinned else minted

    def showing(self) -> list[Record]:
        """The present members that show a fencing token."""
        return [self._records[name] for name in self._showing]

    def has_id(self, id: str) -> bool:
        """Is there a present member with this minted id, that may lead?"""
        place = self._place(self._ids, id)
        return place < len(self._ids) and self._records[self._ids[place]].id == id

    def put(self, record: Record, now: float) -> None:
        """Insert or replace a record, and forget the longest dead if there are too many."""
        old = self._records.get(record.name)
        came = record.present and (old is None or not old.present)
        if came and record.id is not None and record.id < self.newest_minted:
            self.returned_at = now
        unmet = old is not None and (old.name in self._unmet or (old.present and not self.met(old)))
        if old is not None:
            self._unindex(old)
        if old is None or old.address != record.address:
            if old is not None:
                self._release(old)
            self._claim(record.address, (*self._claims(record.address), record.name)[-_CLAIMS_MAX:])
        self._records[record.name] = record
        self._index(record)
        if old is not None and old.present and record.present and old.boot != record.boot:
            self.rings.renew()
        self.version += 1
        if old is None or old.view != record.view:
            self.changed_at = now
        if unmet and not record.present:
            self._unmet[record.name] = None
        if len(self._unmet) > self._dead_max // _UNMET_SHARE:
            self.forget(next(iter(self._unmet)))
        elif len(self._dead) > self._dead_max:
            self.forget(self._longest_dead())

    def _longest_dead(self) -> str:
        """Entries of `_deaths` are out of date when the member was alive since, or died again."""
        while True:
            since, name = heappop(self._deaths)
            if name in self._dead and self._records[name].since == since:
                return name

    def forget_dead(self, since: float) -> None:
        """Those that have been dead for longer."""
        for record in self.dead():
            if record.since < since:
                self.forget(record.name)

    def meet(self, name: str) -> None:
        """This member has answered this node, from where its record says that it is."""
        record = self._records.get(name)
        if record is not None:
            self._met[name] = record.address

    def met(self, record: Record) -> bool:
        """Has it ever answered this node from there? Anybody can say that there is such a member."""
        return self._met.get(record.name) == record.address

    def note_change(self, now: float) -> None:
        """Something that all members are to agree on is different."""
        self.changed_at = now

    def heed_token(self, token: str) -> None:
        """A token that was heard of: new ones are above it."""
        self.newest_token = max(self.newest_token, token)

    def forget_newest(self, minted: str, token: str) -> None:
        """What is known to be the newest id and token was of a time to come: these are."""
        self.newest_minted, self.newest_token = minted, token

    def forget(self, name: str) -> None:
        record = self._records[name]
        self._met.pop(name, None)
        del self.refutations[name]
        self.version += 1
        self._unindex(record)
        self._release(record)
        del self._records[name]

    def _release(self, record: Record) -> None:
        self._claim(record.address, tuple(one for one in self._claims(record.address) if one != record.name))

    def _claims(self, address: Address) -> tuple[str, ...]:
        names = self._names.get(address, ())
        return (names,) if isinstance(names, str) else names

    def _claim(self, address: Address, names: tuple[str, ...]) -> None:
        if names:
            self._names[address] = names if len(names) > 1 else names[0]
        else:
            self._names.pop(address, None)

    def _index(self, record: Record) -> None:
        if record.id is not None and is_minted(record.id) and record.id > self.newest_minted:
            self.newest_minted = record.id
        self._states[record.state] += 1
        if not record.present:
            self._dead[record.name] = None
            if record.solo:
                self._solo[record.name] = None
            heappush(self._deaths, (record.since, record.name))
            if len(self._deaths) > 2 * len(self._dead) + _DEATHS_SPARE:
                self._deaths = sorted((self._records[name].since, name) for name in self._dead)
            self.rings.remove(record.name)
            return
        self.view_hash ^= record.view
        self._versions[record.versions] += 1
        self.rings.add(record.name, record.own)
        if record.token:
            self._showing[record.name] = None
        if record.own:
            self.configurations[record.voters] = self.configurations.get(record.voters, 0) + 1
        if record.id is not None and record.electable:
            ids = self._candidates(record.id)
            ids.insert(self._place(ids, record.id, record.name), record.name)

    def _unindex(self, record: Record) -> None:
        self._states[record.state] -= 1
        if not record.present:
            for index in (self._dead, self._solo, self._unmet):
                index.pop(record.name, None)
            return
        self.view_hash ^= record.view
        self._versions[record.versions] -= 1
        if not self._versions[record.versions]:
            del self._versions[record.versions]
        self._showing.pop(record.name, None)
        if record.own:
            self.configurations[record.voters] -= 1
            if not self.configurations[record.voters]:
                del self.configurations[record.voters]
        if record.id is not None and record.electable:
            ids = self._candidates(record.id)
            del ids[self._place(ids, record.id, record.name)]

    def _candidates(self, id: str) -> list[str]:
        return self._ids if is_minted(id) else self._pinned

    def _order(self, name: str) -> tuple[str, str]:
        return self._records[name].id or "", name

    def _place(self, names: list[str], id: str, name: str = "") -> int:
        """Where a member with this id stands among these, or would."""
        key = id, name
        if not names or key <= self._order(names[0]):  # as the lowest that is looked for
            return 0
        if self._order(names[-1]) < key:  # as nearly all that join
            return len(names)
        return bisect_left(names, key, key=self._order)
