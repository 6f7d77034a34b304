"""One node of the cluster: bytes and time go in; datagrams, requests, events and one deadline come out.

    datagram -> receive_datagram --\
    stream   -> receive_request  ---+-> Node -> datagrams_to_send, requests_to_send, next_events
    timer    -> handle_timer     --/            next_deadline

After every call a driver (trio, or the simulator) drains the three outputs and re-arms its one timer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from swim.config import Config
from swim.errors import SwimError
from swim.events import Event
from swim.types import Address, Member
from swim.wire import Codec, DecodeError
from swim.wire.messages import StreamMessage

__all__ = ["Node", "Phase", "Request"]


class Phase(Enum):
    """The life of a node, in this order; FAILED can follow any but LEFT."""

    NEW = "new"
    JOINING = "joining"
    MEMBER = "member"
    LEAVING = "leaving"
    LEFT = "left"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Request:
    """A stream that the driver is to open: connect, send `content`, read one answer, close.

    The driver reports the outcome with `Node.receive_answer`, always and once.
    """

    token: int
    address: Address
    content: bytes


class Node:
    """The synchronous core. `now` is monotonic seconds of any origin, the same for all calls.

    `wall` maps such a `now` to seconds since the epoch (used for ids and for noticing clock skew).
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
        networks: Sequence[str] = (),
    ) -> None: ...

    phase: Phase
    failure: SwimError | None
    """Why the node FAILED: `NameConflict`, `JoinError`. The driver raises it."""
    config: Config
    codec: Codec
    name: str
    address: Address

    # --- life
    def start(self, seeds: Sequence[Address], now: float) -> None:
        """Begin to join. With no seeds the node founds a cluster at once (phase MEMBER on return)."""

    def set_seeds(self, seeds: Sequence[Address], now: float) -> None:
        """The seeds, resolved afresh. Used while joining, and to find a lost cluster again."""

    def sync(self, address: Address, now: float) -> int:
        """Ask for a full exchange with a node at this address; returns the token of the request.

        A running node joins another cluster this way: the two become one.
        """

    def leave(self, now: float) -> None:
        """Say farewell; phase LEAVING, and LEFT after `Config.leave_linger`."""

    def set_tags(self, tags: Mapping[str, str], now: float) -> None:
        """Replace the application's tags. Raises `TagsError`."""

    # --- input
    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        """Any bytes at all; what is not understood is counted in `dropped`."""

    def receive_unreachable(self, address: Address, now: float) -> None:
        """The kernel says that no process listens at this address (ICMP, ECONNREFUSED)."""

    def receive_request(self, message: StreamMessage, source: Address, now: float) -> bytes | None:
        """A whole message arrived on a stream that `source` opened; the answer to send, if any."""

    def receive_bad_stream(self, error: DecodeError, source: Address, now: float) -> bytes | None:
        """A stream could not be decoded: count it; the answer to send before closing, if any."""

    def receive_answer(self, token: int, answer: StreamMessage | Exception | None, now: float) -> str | None:
        """The outcome of a `Request`: the decoded answer, or why there was none.

        (An OSError such as ConnectionRefusedError, a DecodeError, or None for a time-out.)
        Returns None when the exchange succeeded, else one line that says what was wrong.
        """

    def handle_timer(self, now: float) -> None:
        """Do what is due. Drain the sockets before calling this."""

    # --- output
    def next_deadline(self) -> float | None:
        """When `handle_timer` is to be called next."""

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Drain the datagrams."""

    def requests_to_send(self) -> list[Request]:
        """Drain the streams to open."""

    def next_events(self) -> list[Event]:
        """Drain what happened, in order (never a `Snapshot`: the driver makes those)."""

    # --- views
    @property
    def me(self) -> Member: ...

    @property
    def leader(self) -> Member | None: ...

    def members(self) -> tuple[Member, ...]:
        """Present members, this node included, in the order of joining; foreign ones last."""

    dropped: dict[str, int]
    """What was dropped, by reason."""
