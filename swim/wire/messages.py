"""The messages of the protocol as values. How they look as bytes is the business of `codec`.

Field names are ours; memberlist's stand beside them where they differ. What is marked *ours* is an
extra map field that foreign members skip; it is left out of the bytes when empty.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from typing import Final, Literal, get_args

from swim.types import value
from swim.wire.leases import LeaseMessage

__all__ = [
    "DEATH_REASONS",
    "GONE",
    "Ack",
    "Alive",
    "Dead",
    "DeathReason",
    "ErrorMessage",
    "LeaderKind",
    "LeaderMessage",
    "Message",
    "Nack",
    "NodeState",
    "ObserverKind",
    "ObserverMessage",
    "Ping",
    "PingReq",
    "PushPull",
    "PushPullHead",
    "Refusal",
    "Standing",
    "StreamMessage",
    "Suspect",
    "UserMessage",
    "WireState",
]


class WireState(IntEnum):
    """`State` of an entry of a push/pull."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


GONE = WireState.DEAD, WireState.LEFT
"""Those of members that are not there any more."""


@value
class Standing:
    """Ours: what a process says of itself where two may have one name, each at its own address over TCP.

    Without `since` it is no member: it is joining, or leaves.
    """

    boot: bytes = b""  # "b"
    since: bytes = b""  # "s": the first id that it took, packed: when it became a member
    heir: bytes = b""  # "h": the newest id of a process of this name that was given up when it joined, packed
    id: bytes = b""  # "i": its id now, packed
    address: bytes = b""  # "a": where it is found, as `pack_addresses` does it
    token: bytes = b""  # "t": given at its address: with it the receiver can prove later that it called there
    echo: bytes = b""  # "e": the token that it was given at the other's address


@value
class Ping:
    """Are you there? Answered with an `Ack` of the same `seq`."""

    seq: int
    node: str = ""
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""
    sender_id: bytes = b""  # ours, map key "i": see identity.pack_id
    view: bytes = b""  # ours, map key "v": the sender's view hash, 8 bytes, when its view is at rest
    count: int = 0  # ours, map key "n": rises with every ping of one process, so that old ones are known
    standing: Standing | None = None  # ours, "s", on streams: of a process that pings by name


@value
class PingReq:
    """Ping `node` for me (memberlist: indirect ping)."""

    seq: int
    node: str
    target: bytes
    port: int
    nack: bool = False
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""


@value
class Ack:
    """I am here, or: the node that you asked me to ping is. `payload` None is nil on the wire.

    With `bare` the payload field is left out, so that the ack is no larger than the ping.
    """

    seq: int
    payload: bytes | None = None
    sender_id: bytes = b""  # ours, "i"
    boot: bytes = b""  # ours, "b"
    wait_ms: int = 0  # ours, "w": when this observer should ping next, in milliseconds from now
    bare: bool = False
    standing: Standing | None = None  # ours, "s", on streams
    unknown: bool = False  # ours, "u": I know no member of the name that the ping gave as its sender's


@value
class Nack:
    """I asked the node that you named, and it did not answer me in time. To a ping: it is not here."""

    seq: int


@value
class Suspect:
    """`sender` suspects `node` at `incarnation`."""

    node: str
    incarnation: int
    sender: str


DeathReason = Literal["", "silence", "process-gone", "quality"]
DEATH_REASONS: Final[tuple[DeathReason, ...]] = get_args(DeathReason)


@value
class Dead:
    """`node` is dead, says `sender`; it left when it says so itself."""

    node: str
    incarnation: int
    sender: str
    id: bytes = b""  # ours, "i": which process of that name
    early: bool = False  # ours, "e": it is not dead, but its id is of a time to come, and no node takes it
    reason: DeathReason = ""  # ours, "w": what the sender goes by


@value
class Alive:
    """`node` is alive at this address with this meta data."""

    node: str
    incarnation: int
    address: bytes
    port: int
    meta: bytes
    versions: bytes  # six numbers: protocol min, max, current; delegate min, max, current


@value
class NodeState:
    """One entry of a push/pull."""

    name: str
    incarnation: int
    address: bytes
    port: int
    meta: bytes
    state: WireState
    versions: bytes
    age: int = 0  # ours, "a": for how many seconds it has been gone


@value
class PushPullHead:
    """What our own nodes add to the header of a push/pull (map key "swim"); foreign nodes add nothing."""

    name: str = ""  # "n"
    boot: bytes = b""  # "b"
    port: int = 0  # "p": the sender's listening port
    clock_ms: int = 0  # "c": its wall clock
    joining: bool = False  # "j": not a member of any cluster yet
    floor: bytes = b""  # "f": its leadership floor, packed as an id
    lost: bytes = b""  # "l": members that it alone gave up: names and addresses, see pack_places
    to: str = ""  # "t": the member that it is meant for; another at that address does not read it
    founder: bytes = b""  # "a": it is joining, and found a cluster itself if need be: its packed address
    setup: bytes = b""  # "v": the voters, as its cluster has them: a packed configuration
    question: int = 0  # "q": the number of the request, and of what is answered
    asker: bytes = b""  # "x", of an answer: the boot of the asker
    seed: bool = False  # "s", of an answer of one that is joining: the asker has answered at one of its seeds


@value
class PushPull:
    """Everything that the sender knows of the cluster. With no nodes it only asks."""

    nodes: Collection[NodeState]
    join: bool = False
    user_state: bytes = b""
    head: PushPullHead | None = None


@value
class UserMessage:
    """Bytes for the layer above (Serf), in a packet or on a stream."""

    payload: bytes


class ObserverKind(IntEnum):
    """What one observer of a member says to another."""

    HINT = 0
    """It has been silent towards me for `age_ms`: look yourself."""
    POLL = 1
    """I want to declare it dead: what do you say? (`round` names the question.)"""
    AGREE = 2
    """To a poll: I have come to the same conclusion."""
    VETO = 3
    """To a poll: it answers me."""
    LOOKING = 4
    """To a poll: not convinced yet; I will say so when I am."""
    LOSSY = 5
    """Another poll: it answers, but most of my packets to it, or of its answers, get lost. And yours?"""


@value
class ObserverMessage:
    """Ours, between the observers of `node`: a user message that begins with `OBSERVER_MARK`.

    It says itself by which process it was written, and for which: an address says nothing. `count` rises with
    every message of one process, and an answer has the `round` of its poll: so each counts once, for the one
    question that it answers.
    """

    kind: ObserverKind
    node: str
    incarnation: int
    age_ms: int = 0
    round: int = 0
    certain: bool = False  # of a poll: it ended a stream as a dying process does, and refuses what is sent
    process: bytes = b""  # the boot of `node`
    author: str = ""
    boot: bytes = b""  # of the author
    to: bytes = b""  # the boot of the addressee
    count: int = 0


class LeaderKind(IntEnum):
    """What one of our own members says to another about leadership."""

    CONFIRM = 0
    """I, of this `id`, may have missed something: do you follow me?"""
    FOLLOW = 1
    """To CONFIRM: yes. (A node that follows another does not answer.)"""
    ASK = 2
    """To a voter, in its `turn`: grant me the lease, or renew it."""
    GRANT = 3
    """To ASK: you have it, from when I received that round first; meanwhile no other process gets it."""
    REFUSE = 4
    """To ASK or TRY: no, for this `reason`; asking again is of use in `left_ms`."""
    RELEASE = 5
    """To a voter: what you granted me in this `turn`, in rounds up to this one, is free."""
    TRY = 6
    """To a voter: would you grant the lease to me, of this `id`? This changes nothing."""
    WOULD = 7
    """To TRY: yes, if you asked me now, in this `turn`."""
    WHO = 8
    """Which process has your name and address?"""
    HERE = 9
    """To WHO: I have."""
    WHAT = 10
    """Which voters are there, by your configuration?"""
    SETUP = 11
    """To WHAT: these (`setup`)."""
    BEHIND = 12
    """To a leader: I cannot follow you, since there was one with this higher `id`."""
    VACANT = 13
    """From a voter to a member whose turn it may be: the leader with this `token` has not renewed it."""


class Refusal(IntEnum):
    """Why a voter does not grant the lease."""

    NONE = 0
    GRANTED = 1
    """Another has it from this voter, for `left_ms` more."""
    STARTING = 2
    """The voter's process is so young that an earlier one may have granted it to another."""
    FLOOR = 3
    """There has been a leader with a higher id, `id`: take a fresh one."""
    VOTERS = 4
    """The voter has another configuration (voters, length of the lease), or none, or is no voter in it."""
    STALE = 5
    """The question belongs to an earlier `turn` of this voter."""
    MOVED = 6
    """The voter was started at another address than an earlier process of its name, which may live."""


@value
class LeaderMessage:
    """Ours, about leadership: a user message that begins with `LEADER_MARK`. An answer has the `round` of
    what it answers.

    `process` is the sender's, and `between` a digest of the cluster's label, and of the names and processes
    of sender and receiver: so it says nothing to another member, nor to another process of the same name. A
    voter's `turn` ends with each grant, and so do all questions that were asked in it.

    `token`: of ASK, the fencing token that the term is to have (left out once it has been granted); of
    WOULD and GRANT, the highest that this voter has granted the lease for to others, and `led`: it is known
    that there was such a term; of RELEASE, the last with which the asker led. `led` of ASK: it leads with its
    token.
    """

    kind: LeaderKind
    round: int
    process: bytes = b""
    between: bytes = b""
    turn: int = 0
    id: bytes = b""  # packed
    token: bytes = b""  # packed
    led: bool = False
    configuration: bytes = b""  # a digest
    setup: bytes = b""  # a whole configuration
    left_ms: int = 0
    reason: Refusal = Refusal.NONE
    quiet_ms: int = 0  # of GRANT: for so long this voter has granted nothing in an earlier turn


@value
class ErrorMessage:
    """What a peer answers on a stream whose framing it could not read."""

    text: str


Message = (
    Ping
    | PingReq
    | Ack
    | Nack
    | Suspect
    | Alive
    | Dead
    | UserMessage
    | ObserverMessage
    | LeaderMessage
    | LeaseMessage
)
StreamMessage = PushPull | Ping | Ack | UserMessage | ErrorMessage
