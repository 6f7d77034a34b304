"""This node's own record: its incarnation and id, its tags, and its answer to false accusations."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from swim.errors import TagsError
from swim.events import MemberUpdated
from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import TokenBucket
from swim.protocol.gossip.dissemination import Dissemination
from swim.protocol.view.identity import id_milliseconds, is_minted, mint_boot, mint_id
from swim.protocol.view.table import (
    ELECTABLE_TAG,
    NOT_ELECTABLE,
    TOKEN_TAG,
    VOTERS_SIZE,
    VOTERS_TAG,
    Record,
    encode_meta,
)
from swim.types import Address, MemberState

__all__ = ["INCARNATION_MAX", "META_SIZE_MAX", "OwnRecord", "check_tags"]

META_SIZE_MAX = 512  # memberlist's limit
INCARNATION_MAX = 1 << 31
"""No member is believed to have a higher one; this node goes on as a new process before it gets there."""
_PROTOCOL_VERSIONS = bytes((1, 5, 2))
_SERF_VERSIONS = bytes((2, 5, 5))
_REFUTATIONS_PER_S, _REFUTATIONS_BURST = 5.0, 10
"""Whatever is said of this node, it floods its answer no more often than that."""
_CUT_OFF_S, _CUT_OFFS_MAX = 5.0, 128
"""What is closer together than this is noted as one; so many are remembered."""


def check_tags(tags: Mapping[str, str], marks: Mapping[str, str] | None = None) -> dict[str, str]:
    """The tags as they can be carried. Raises `TagsError`, which says how many bytes there are.

    `marks` are those of our own that stay; there is always room for the token of a leader, and for a longer
    number of its voters.
    """
    if not isinstance(tags, Mapping):
        raise TagsError(f"tags={tags!r}: give names and their values, such as {{'role': 'db'}}")
    for key, value in tags.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TagsError(f"tag {key!r}={value!r}: names and values must be text (str)")
        if not key or key.startswith("_"):
            raise TagsError(
                f"tag name {key!r}: names must not be empty or start with '_' (those are swim's own)"
            )
        try:
            (key + value).encode()
        except UnicodeEncodeError:
            raise TagsError(f"tag {key!r}={value!r}: not valid Unicode text") from None
    largest = {**(marks or {}), TOKEN_TAG: "0" * 26}
    if VOTERS_TAG in largest:
        largest[VOTERS_TAG] = "0" * VOTERS_SIZE
    size = len(encode_meta(dict(tags), "0" * 26, "0" * 8, largest))
    if size > META_SIZE_MAX:
        empty = len(encode_meta({}, "0" * 26, "0" * 8, largest))
        raise TagsError(
            f"these tags need {size - empty} bytes, and {META_SIZE_MAX - empty} of Serf's {META_SIZE_MAX} "
            f"are left for the application's tags: shorten them by {size - META_SIZE_MAX} bytes"
        )
    return dict(tags)


class OwnRecord(Part):
    """Owns everything that only this node may change: no other node raises its incarnation."""

    def __init__(
        self,
        context: Context,
        dissemination: Dissemination,
        address: Address,
        tags: Mapping[str, str],
        pinned_id: str | None,
        electable: bool,
        voters: str,
    ) -> None:
        super().__init__(context)
        self.name = context.name
        self.address = address
        self.boot = mint_boot(context.rng)
        self.id: str | None = None
        self.since = ""
        """The id that it had first: of two processes of one name, which has been a member for longer."""
        self.heir = ""
        """The newest id of this name that the cluster had given up when this process took the name."""
        self.incarnation = 1
        self.versions = _PROTOCOL_VERSIONS + _SERF_VERSIONS
        self.leaving = False
        self.held_off = False
        """Given up by the others, and not answering yet (see `Readmission`): nothing is said of this node."""
        self._accused = 0
        self.cut_off = deque[float](maxlen=_CUT_OFFS_MAX)
        """When this node heard so little that the others may have moved on without it; every few seconds."""
        self.voters = voters
        self._marks = {} if electable else {ELECTABLE_TAG: NOT_ELECTABLE}
        if voters:
            self._marks[VOTERS_TAG] = voters
        self.tags = check_tags(tags, self._marks)
        self._pinned_id = pinned_id
        self._dissemination = dissemination
        self._bucket = TokenBucket(_REFUTATIONS_PER_S, _REFUTATIONS_BURST)

    @property
    def record(self) -> Record | None:
        return self._table.get(self.name)

    @property
    def speaks(self) -> bool:
        """It would be a member, or is one: it neither leaves, nor stays away because it was given up."""
        return not (self.leaving or self.held_off)

    @property
    def pinned(self) -> bool:
        return self._pinned_id is not None

    def note_cut_off(self, now: float) -> None:
        """Most of those that this node pings are silent, or one is back that it had given up alone."""
        if len(self.cut_off) > 1 and now - self.cut_off[-2] < _CUT_OFF_S:
            self.cut_off[-1] = now
        else:
            self.cut_off.append(now)

    def adopted(self, versions: bytes) -> bytes:
        """This node's, with the delegate protocol of a cluster to be joined (plain memberlist: 0,0,0)."""
        return _PROTOCOL_VERSIONS + versions[3:6]

    def enter(self, now: float, newest: str) -> None:
        """Take the first id and tell of it: from here on this process is a member."""
        self.since = self._mint_above(now, newest)
        self.id = self._pinned_id or self.since
        self.publish(now)

    def mint(self, now: float, newest: str) -> None:
        """Take an id, above every one seen: a clock that runs behind cannot jump the queue."""
        if self._pinned_id is not None:
            self.id = self._pinned_id
            return
        self.id = self._mint_above(now, newest)

    def mint_token(self, now: float) -> str:
        """A fencing token: shaped like an id, and above every id and token that was heard of."""
        token = self._mint_above(now, self._table.newest_token)
        self._table.heed_token(token)
        return token

    def _mint_above(self, now: float, newest: str) -> str:
        newest = max(newest, self._table.newest_minted)
        milliseconds = int(self._wall(now) * 1000)
        if is_minted(newest):
            milliseconds = max(milliseconds, id_milliseconds(newest) + 1)
        return mint_id(milliseconds, self._rng)

    def show_token(self, token: str, now: float) -> None:
        """Tell all members under which token this node leads, or led last.

        A node that is alone defers that until another member is present (`tell_token`): what rests on a
        view that it has alone must not reach others. Only a founder's first record shows its token at once,
        as no other node can have heard of that record yet. One that stays away since it was given up is back:
        most voters take it for a member, or they had not granted it the lease. A leader is to be followed.
        """
        self._marks[TOKEN_TAG] = token
        if self.voters:
            self.be_back(now)
        if self._table.present_count == 1 and self.record is not None and self.record.since == now:
            self.publish(now)
        self.tell_token(now)

    @property
    def shows_token(self) -> bool:
        """With voters: this node holds the lease."""
        return TOKEN_TAG in self._marks

    def hide_token(self, now: float) -> None:
        """With voters: this node does not hold the lease any more."""
        if self._marks.pop(TOKEN_TAG, None) is not None:
            self.tell_token(now)

    def show_voters(self, tag: str, mark: str) -> None:
        """Which configuration this node goes by, in its next record."""
        self.voters = tag
        self._marks[VOTERS_TAG] = tag + mark

    def say_voters(self, now: float) -> None:
        """That is another one now."""
        self._say_more(now)

    def tell_token(self, now: float) -> None:
        record = self.record
        if record is None or record.token == self._marks.get(TOKEN_TAG, ""):
            return
        if self.leaving or self._table.present_count == 1:
            return
        doubtful = self.cut_off and now - self.cut_off[-1] < self._config.silence_tolerance
        if self.shows_token and doubtful and not self.voters:
            return  # it may have been given up meanwhile: that is to be heard first
        self._say_more(now)

    def publish(self, now: float) -> None:
        """Put the own record into the table and tell all members."""
        assert self.id is not None
        old = self.record
        meta = encode_meta(self.tags, self.id, self.boot, self._marks)
        record = Record.make(
            self.name, self.address, self.incarnation, MemberState.ALIVE, meta, self.versions, now
        )
        self._table.put(record, now)
        if not self.held_off:
            self._dissemination.news(self.name, record.as_alive(), now)
        seen = (record.id, record.tags, record.address)
        if old is not None and (old.id, old.tags, old.address) != seen:
            self._outbox.events.append(MemberUpdated(record.member, old.member))

    def set_tags(self, tags: Mapping[str, str], now: float) -> None:
        """Raises `TagsError`."""
        self.tags = check_tags(tags, self._marks)
        self._say_more(now)

    def take_after(self, versions: bytes) -> None:
        """Speak the delegate protocol of the cluster that is joined."""
        self.versions = self.adopted(versions)

    def follow(self, incarnation: int) -> None:
        """Another process had this name, with this incarnation."""
        if incarnation < INCARNATION_MAX:
            self.incarnation = max(self.incarnation, incarnation + 1)

    def inherit(self, id: str) -> None:
        """That process is gone."""
        self.heir = max(self.heir, id)

    def leave(self) -> None:
        """From here on nothing is said that would make this node a member again."""
        self.leaving = True

    def stay_away(self) -> None:
        """Say nothing of this node until `be_back`."""
        self.held_off = True

    def move(self, address: Address, now: float) -> None:
        """Others find this process at another address from now on."""
        self.address = address
        self._say_more(now)

    def fresh_id(self, now: float, newest: str) -> None:
        """Go to the back of the queue: a new id for the same process."""
        self.mint(now, newest)
        self._say_more(now)

    def _say_more(self, now: float) -> None:
        if self.leaving or self.record is None:
            return  # not a member yet; or above the incarnation of its farewell it would be one again
        if not self.held_off:
            self.incarnation += 1
        self.publish(now)

    def refute(self, incarnation: int, now: float, id: str | None = None) -> None:
        """Another node says something wrong about this one, at `incarnation`: outbid it.

        Also by id, where another process is said to have taken this one's place.
        """
        if self.leaving or self.record is None:
            return
        if id is not None and self.id is not None and id > self.id and not self.pinned:
            self.mint(now, id)
        if self.held_off:
            self._accused = max(self._accused, incarnation)
            return
        self.incarnation = max(self.incarnation, incarnation) + 1
        if self.incarnation > INCARNATION_MAX:
            self._be_reborn(now)
        self._refute_now(now)

    def be_back(self, now: float) -> None:
        """Answer what was said of this node while it was held off."""
        if self.held_off:
            self.held_off = False
            self.refute(self._accused, now)
            self._accused = 0

    def _be_reborn(self, now: float) -> None:
        """The incarnation was driven to where no member believes it: go on as a new process."""
        self.boot = mint_boot(self._rng)
        self.incarnation = 1
        self.mint(now, self._table.newest_minted)

    def _refute_now(self, now: float) -> None:
        if self._bucket.take(now):
            self._timers.cancel("refute")
            self.publish(now)
        else:
            self._outbox.drop("refutation-delayed")
            self._timers.set("refute", now + self._bucket.wait(now), self._refute_now)
