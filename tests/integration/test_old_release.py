"""A node of release 0.1.0 joins: as a script that writes bytes of its own, so that it never becomes newer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import msgpack
import trio

import swim
from tests.cluster.together import PATIENCE, open_node

NAME, BOOT, SEALED_BOOT = "old", "0ld0ld00", b"0ld0ld00"
VERSIONS = bytes((1, 5, 2, 2, 5, 5))
PING, ACK, DEAD, PUSH_PULL, COMPOUND, CRC = 0, 2, 5, 6, 7, 12
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def packed(fields: dict[str, object]) -> bytes:
    """As memberlist's msgpack: no type for binary data."""
    data: bytes = msgpack.packb(fields, use_bin_type=False)
    return data


def minted() -> tuple[str, bytes]:
    """An id of now: as text, and packed."""
    number = int(time.time() * 1_000) << 80
    return "".join(DIGITS[number >> shift & 31] for shift in range(125, -1, -5)), number.to_bytes(16, "big")


class OldNode:
    """What 0.1.0 does to be a member and stay one: it looks, joins, answers pings, and says farewell."""

    def __init__(self, host: str, port: int) -> None:
        self.there = (host, port)
        self.udp = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.pings, self.pinged = trio.open_memory_channel[None](100)
        self.id, self.packed_id = "", b""

    async def bind(self) -> None:
        await self.udp.bind(("127.0.0.1", 0))
        self.port = self.udp.getsockname()[1]

    async def exchange(self, *, joining: bool) -> bytes:
        """A push/pull: what the other side answers."""
        entry = {
            "Addr": socket.inet_aton("127.0.0.1"),
            "Incarnation": 1,
            "Meta": b"\xff" + packed({"_boot": BOOT, "_id": self.id, "role": "old"}),
            "Name": NAME,
            "Port": self.port,
            "State": 0,
            "Vsn": VERSIONS,
        }
        head = {"b": SEALED_BOOT, "c": int(time.time() * 1_000), "j": joining, "n": NAME, "p": self.port}
        header = {"Join": not joining, "Nodes": int(not joining), "UserStateLen": 0, "swim": head}
        data = bytes((PUSH_PULL,)) + packed(header)
        if not joining:
            data += packed(entry)
        stream = await trio.open_tcp_stream(*self.there)
        async with stream:
            await stream.send_all(data)
            answer = await stream.receive_some()
        assert answer[0] == PUSH_PULL, answer
        return bytes(answer)

    async def join(self) -> None:
        await self.exchange(joining=True)
        self.id, self.packed_id = minted()
        await self.exchange(joining=False)

    async def answer(self) -> None:
        """Pings, for as long as it runs."""
        while True:
            data, source = await self.udp.recvfrom(65_536)
            for part in parts(data):
                if part[0] == PING:
                    self.pings.send_nowait(None)
                    ping = msgpack.unpackb(part[1:], raw=True)
                    ack = {"SeqNo": ping[b"SeqNo"], "b": SEALED_BOOT, "i": self.packed_id}
                    await self.udp.sendto(bytes((ACK,)) + packed(ack), source)

    async def leave(self) -> None:
        farewell = {"From": NAME, "Incarnation": 1, "Node": NAME, "i": self.packed_id}
        await self.udp.sendto(bytes((DEAD,)) + packed(farewell), self.there)


def parts(data: bytes) -> Iterator[bytes]:
    """The messages of a packet."""
    if data[0] == CRC:
        data = data[5:]
    if data[0] != COMPOUND:
        yield data
        return
    count = data[1]
    sizes = [int.from_bytes(data[2 + 2 * n : 4 + 2 * n], "big") for n in range(count)]
    start = 2 + 2 * count
    for size in sizes:
        yield data[start : start + size]
        start += size


async def test_a_scripted_node_of_0_1_0_joins_stays_and_leaves() -> None:
    with trio.fail_after(PATIENCE):
        async with open_node("new") as new, new.events() as events:
            old = OldNode(*new.address)
            await old.bind()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(old.answer)
                await old.join()
                await new.wait_for(lambda cluster: cluster.member(NAME) is not None)
                member = new.member(NAME)
                assert member is not None
                assert (member.id, member.tags["role"], member.address.port) == (old.id, "old", old.port)
                assert new.is_leader, "the one that joins later does not lead"
                for _ in range(4):
                    await old.pinged.receive()
                assert new.member(NAME) == member
                nursery.cancel_scope.cancel()  # it answers no more
            await old.leave()
            async for event in events:
                assert not isinstance(event, swim.MemberFailed)
                if isinstance(event, swim.MemberLeft):
                    break
            old.udp.close()
