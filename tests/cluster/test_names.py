"""Two processes of one name, and nodes that have no way to each other, on real sockets."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
import trio

import swim
from swim.protocol.view.table import encode_meta
from swim.wire import Codec, pack_host
from swim.wire.messages import Ack, Message, NodeState, Ping, PushPull, StreamMessage, WireState
from tests.cluster.together import PATIENCE, cluster_of, everybody, open_node, sees

LOWEST = "0" * 26
LIVES_ON_S = 4.0


class Body:
    """The body of one `open_cluster`, and how it ended."""

    def __init__(self) -> None:
        self.cluster: swim.Cluster | None = None
        self.started = trio.Event()
        self.ended = trio.Event()
        self.failure: Exception | None = None

    async def run(self, name: str, *seeds: swim.Cluster) -> None:
        try:
            async with open_node(name, *seeds) as cluster:
                self.cluster = cluster
                self.started.set()
                await trio.sleep_forever()
        except swim.NameConflict as failure:
            self.failure = failure
            self.ended.set()


def is_it(member: swim.Member | None, cluster: swim.Cluster) -> bool:
    return member is not None and (member.address, member.id) == (cluster.address, cluster.me.id)


async def test_of_two_members_of_one_name_that_meet_the_later_one_ends() -> None:
    bodies = [Body(), Body()]
    with trio.fail_after(2 * PATIENCE):
        async with (
            cluster_of("a", "b") as left,
            cluster_of("c", "d") as right,
            trio.open_nursery() as nursery,
        ):
            for body, seed in zip(bodies, (left[0], right[0]), strict=True):
                nursery.start_soon(body.run, "z", seed)
                await body.started.wait()
            await left[1].join([str(right[1].address)])
            others = [*left, *right]
            await everybody(others, sees("a", "b", "c", "d", "z"))
            await bodies[1].ended.wait()
            assert bodies[0].failure is None
            stays = bodies[0].cluster
            assert stays is not None
            assert str(stays.address) in str(bodies[1].failure)
            await everybody(others, lambda cluster: is_it(cluster.member("z"), stays))
            async with stays.messages() as messages:
                await right[0].send("z", b"to whoever is there")
                message = await anext(messages)
            assert isinstance(message, swim.DirectMessage)
            nursery.cancel_scope.cancel()


class Stranger:
    """Says that it is every member, and answers to every name, over UDP and over TCP."""

    def __init__(self) -> None:
        self.codec = Codec()
        self.listener = trio.socket.socket()
        self.udp = trio.socket.socket(type=socket.SOCK_DGRAM)
        self.asked = 0

    async def serve(self) -> None:
        while True:
            connection, _ = await self.listener.accept()
            with closing(connection):
                message = self._read(await connection.recv(65_536), answering=False)
                if isinstance(message, Ping):
                    self.asked += 1
                    await connection.send(self.codec.stream(self._ack(message), answering=True))

    async def answer(self) -> None:
        while True:
            data, source = await self.udp.recvfrom(65_536)
            for message in self.codec.open_packet(data).messages:
                if isinstance(message, Ping):
                    await self.udp.sendto(self.codec.packet([self.codec.part(self._ack(message))]), source)

    def _ack(self, ping: Ping) -> Ack:
        return Ack(ping.seq, sender_id=bytes(16), boot=b"STRANGER")

    def _read(self, data: bytes, *, answering: bool) -> StreamMessage | Message | None:
        return self.codec.stream_decoder(answering=answering).feed(data)

    async def push(self, node: swim.Cluster, names: list[str]) -> int:
        host, port = self.listener.getsockname()
        meta = encode_meta({}, LOWEST, "STRANGER")
        versions = bytes((1, 5, 2, 2, 5, 5))
        entries = [
            NodeState(name, 9, pack_host(host), port, meta, WireState.ALIVE, versions) for name in names
        ]
        content = self.codec.stream(PushPull(tuple(entries)))
        async with await trio.open_tcp_stream(node.address.host, node.address.port) as stream:
            await stream.send_all(content)
            await stream.receive_some()
        return len(content)


async def test_an_entry_for_each_node_and_acks_end_nobody() -> None:
    names = ["a", "b", "c", "d"]
    with trio.fail_after(2 * PATIENCE):
        async with cluster_of(*names) as nodes, trio.open_nursery() as nursery:
            stranger = Stranger()
            with closing(stranger.listener), closing(stranger.udp):
                await stranger.listener.bind(("127.0.0.1", 0))
                stranger.listener.listen()
                await stranger.udp.bind(stranger.listener.getsockname())
                nursery.start_soon(stranger.serve)
                nursery.start_soon(stranger.answer)
                for node in nodes:
                    await stranger.push(node, names)
                await trio.sleep(LIVES_ON_S)
                assert stranger.asked, "they look whether there is something in it"
                await everybody(nodes, sees(*names))
                nursery.cancel_scope.cancel()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_a_node_with_ipv6_only_and_members_with_ipv4_say_so() -> None:
    with trio.fail_after(PATIENCE):
        async with open_node("a", bind="[::]:0", advertise="127.0.0.1") as a:
            seed = f"[::1]:{a.address.port}"
            with pytest.raises(swim.JoinError, match=r"cannot send to a at 127\.0\.0\.1:\d+: .*IPv6"):
                async with open_node("b", bind="[::1]:0", seeds=[seed]):
                    pass
            assert sees("a")(a)
