"""What is written to a kept stream in the same turn of the loop, and what of that finds no room."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

import trio
from trio.testing import wait_all_tasks_blocked

from swim.runtime.kept.handshake import Handshake
from swim.runtime.kept.stream import KeptStream
from swim.runtime.network import Connection
from swim.wire.kept import Data, Frame, Hello, KeptChannel, Sign


class Narrow:
    """A connection whose kernel takes so many bytes at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""
        self.flows = trio.Event()

    def write_at_once(self, data: bytes) -> int:
        """See `Connection`."""
        self.taken += data[: self.room]
        return min(self.room, len(data))

    async def write(self, data: bytes) -> None:
        """See `Connection`."""
        await self.flows.wait()
        self.taken += data


class Hands:
    """Makes channels, and nothing else."""

    def new_channel(self, *, opener: bool) -> KeptChannel:
        """See `Handshake`."""
        return KeptChannel(opener=opener, label=b"", keyring=None)


async def test_what_finds_no_room_of_a_frame_that_is_written_now_comes_before_all_others() -> None:
    stream = Narrow(5)
    kept = KeptStream(cast(Handshake, Hands()), cast(Connection, cast(Any, stream)), deque(), opener=True)
    hello = Hello("a", b"1" * 26, b"s" * 16)
    expected = KeptChannel(opener=True, label=b"", keyring=None)
    frames: list[Frame] = [hello, Sign.READY, Data(1, b"one"), Data(2, b"two")]
    whole = b"".join(map(expected.encode, frames))
    async with trio.open_nursery() as nursery:
        kept.nursery = nursery
        stream.room = 1_000
        stream.flows.set()
        await kept.write(hello)  # the opening: before it nothing else is
        stream.flows = trio.Event()
        kept.write_now(Sign.READY)
        assert not kept.in_frame
        stream.room = 5
        kept.write_now(Data(1, b"one"))
        assert kept.in_frame
        assert not kept.write_at_once(Sign.BYE), "that would stand in the middle of the frame"
        nursery.start_soon(kept.write, Data(2, b"two"))
        await wait_all_tasks_blocked()
        stream.flows.set()
    assert stream.taken == whole
    assert not kept.in_frame
