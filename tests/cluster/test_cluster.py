"""`Cluster` on real sockets: members come, change, leave, die and return, and what the application sees."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, closing
from typing import Any

import pytest
import trio
import trio.testing

import swim
from benchmarks.ports import Ports
from swim.config import Config
from swim.types import Address
from tests.cluster.test_transport import needs_ipv6
from tests.cluster.together import CONFIG, PATIENCE, cluster_of, everybody, led_by, next_of, open_node, sees


async def test_alone() -> None:
    async with open_node(tags={"role": "db"}) as cluster:
        assert cluster.name == str(cluster.address)
        assert cluster.me.tags == {"role": "db"}
        assert cluster.me.id is not None
        assert cluster.members() == (cluster.me,)
        assert cluster.member(cluster.name) == cluster.me
        assert cluster.member("somebody else") is None
        assert cluster.leader == cluster.me
        assert cluster.is_leader
        assert "1 members, member" in repr(cluster)


async def test_members_see_each_other_and_agree() -> None:
    async with cluster_of("a", "b", "c", "d", "e") as nodes:
        await everybody(nodes, led_by("a"))
        assert [node.is_leader for node in nodes] == [True, False, False, False, False]
        for node in nodes:
            assert [member.name for member in node.members()] == ["a", "b", "c", "d", "e"]
            assert node.member("c") == nodes[2].me


async def test_joining_and_leaving_is_told() -> None:
    async with open_node("a") as a, a.events() as events:
        assert await anext(events) == swim.Snapshot((a.me,), a.me)
        async with open_node("b", a) as b:
            assert await next_of(events, swim.MemberJoined) == swim.MemberJoined(b.me)
        assert (await next_of(events, swim.MemberLeft)).member.name == "b"
        assert sees("a")(a)


async def test_the_leader_leaves() -> None:
    async with cluster_of("a", "b", "c") as (a, *others):
        await a.leave()
        await everybody(others, sees("b", "c"))
        await everybody(others, led_by("b"))
        with pytest.raises(trio.ClosedResourceError):
            a.set_tags({})


async def test_a_killed_leader_is_missed_and_returns_as_a_regular_member() -> None:
    async with cluster_of("a", "b", "c") as (a, *others):
        old = a.me
        async with others[0].events() as events:
            a.abort()
            assert (await next_of(events, swim.MemberFailed)).member.name == "a"
        await everybody(others, sees("b", "c"))
        await everybody(others, led_by("b"))
        with trio.fail_after(PATIENCE):
            async with open_node("a", *others, bind=str(old.address)) as again:
                await everybody([again, *others], sees("a", "b", "c"))
                await everybody([again, *others], led_by("b"))
                assert again.me.id is not None
                assert old.id is not None
                assert again.me.id > old.id
                assert [member.name for member in again.members()] == ["b", "c", "a"]
                assert again.me.address == old.address


async def test_a_restart_at_once_after_the_kill() -> None:
    async with cluster_of("a", "b", "c") as (a, *others):
        old = a.me
        a.abort()
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(PATIENCE):
            async with open_node("a", *others, bind=str(old.address)) as again:
                await everybody([again, *others], sees("a", "b", "c"))
                await everybody([again, *others], lambda c: c.members()[-1].name == "a")
                await everybody([again, *others], led_by("b"))


async def test_tags_reach_everybody() -> None:
    async with cluster_of("a", "b", "c", tags={"role": "worker"}) as nodes:
        assert len(nodes[0].members(role="worker")) == 3
        async with nodes[0].events() as events:
            nodes[2].set_tags({"role": "db", "zone": "1"})
            event = await next_of(events, swim.MemberUpdated)
        assert event.previous.tags == {"role": "worker"}
        assert event.member.tags == {"role": "db", "zone": "1"}
        await everybody(nodes, lambda c: [m.name for m in c.members(role="db", zone="1")] == ["c"])
        assert nodes[0].members(role="db", zone="2") == ()


async def test_a_slow_reader_gets_a_fresh_snapshot() -> None:
    config = Config.local(leave_linger=0.1, event_buffer=3)
    async with cluster_of("a", "b", config=config) as (a, b), a.events() as events:
        for number in range(6):
            b.set_tags({"number": str(number)})
            with trio.fail_after(PATIENCE):
                await a.wait_for(lambda c, number=number: len(c.members(number=str(number))) == 1)
        first = await anext(events)
        assert isinstance(first, swim.Snapshot)
        known = {member.name: member for member in first.members}
        assert known["b"].tags in ({"number": "3"}, {"number": "4"}, {"number": "5"})
        if known["b"].tags["number"] != "5":
            async for event in events:
                assert isinstance(event, swim.MemberUpdated)
                if event.member.tags == {"number": "5"}:
                    break


async def test_events_end_with_the_cluster() -> None:
    got: list[swim.Event] = []

    async def read(cluster: swim.Cluster, task_status: trio.TaskStatus[None]) -> None:
        async with cluster.events() as events:
            task_status.started()
            got.extend([event async for event in events])

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery, open_node("a") as a:
            await nursery.start(read, a)
    assert isinstance(got[0], swim.Snapshot)
    with pytest.raises(trio.ClosedResourceError):
        await a.wait_for(lambda c: False)
    await a.wait_for(lambda c: True)


async def test_nodes_that_start_together_form_one_cluster() -> None:
    names = ("a", "b", "c")

    async def member(name: str, bind: str, seeds: list[str], done: trio.Event, agreed: list[str]) -> None:
        async with open_node(name, bind=bind, seeds=seeds) as node:
            await node.wait_for(sees(*names))
            await node.wait_for(lambda c: c.leader is not None)
            agreed.append(name)
            if len(agreed) == 3:
                done.set()
            await done.wait()

    with trio.fail_after(PATIENCE), closing(Ports()) as ports:
        first = ports.take(3)
        seeds = [f"127.0.0.1:{port}" for port in range(first, first + 3)]
        done = trio.Event()
        agreed: list[str] = []
        async with trio.open_nursery() as nursery:
            for name, bind in zip(names, seeds, strict=True):
                nursery.start_soon(member, name, bind, seeds, done, agreed)


async def test_two_clusters_become_one() -> None:
    async with cluster_of("a", "b") as left, cluster_of("c", "d") as right:
        with trio.fail_after(PATIENCE):
            answered = await left[1].join([str(right[0].address), "127.0.0.1:1"])
        assert answered == right[0].address
        await everybody([*left, *right], sees("a", "b", "c", "d"))
        # The newest leader that anybody has followed; the older ones queue up behind it.
        await everybody([*left, *right], led_by("c"))
        await everybody([*left, *right], lambda c: c.members()[0].name == "c")


async def test_the_fields_of_statistics() -> None:
    async with cluster_of("a", "b") as (a, b):
        with trio.fail_after(PATIENCE):
            while not b.statistics().rx_packets:  # noqa: ASYNC110 - nothing tells of packets
                await trio.sleep(0.02)
        statistics = a.statistics()
        assert statistics.members == 2
        assert statistics.tx_packets > 0
        assert statistics.tx_bytes > 0
        assert statistics.stream_tx_bytes > 0
        assert statistics.stream_rx_bytes > 0
        assert statistics.dropped == {}


@needs_ipv6
async def test_ipv6() -> None:
    async with cluster_of("a", "b", "c", bind="[::1]:0") as nodes:
        assert str(nodes[0].address).startswith("[::1]:")
        await everybody(nodes, led_by("a"))


@needs_ipv6
async def test_dual_stack_and_ipv4() -> None:
    async with open_node("both", bind="[::]:0", advertise="127.0.0.1") as both:
        assert both.address.host == "127.0.0.1"
        async with open_node("four", both) as four:
            await everybody([both, four], sees("both", "four"))
            both.set_tags({"seen": "yes"})
            await everybody([four], lambda c: len(c.members(seen="yes")) == 1)


async def test_a_wildcard_is_not_advertised() -> None:
    async with open_node("a", bind="0.0.0.0:0", advertise="127.0.0.1") as a:
        assert a.address.host == "127.0.0.1"
        async with open_node("b", a, bind="0.0.0.0:0") as b:
            assert b.address.host == "127.0.0.1"
            await everybody([a, b], sees("a", "b"))


async def test_the_bound_address_is_told_before_the_cluster_is_found() -> None:
    told: list[Address] = []

    def bound(address: Address) -> None:
        told.append(address)
        scope.cancel()

    with trio.CancelScope() as scope:
        async with open_node("a", seeds=["127.0.0.1:1"], on_bound=bound):
            pytest.fail("there is no node to join")
    assert scope.cancelled_caught
    assert told[0].port != 0


# --- apart


async def refused(nodes: list[swim.Cluster], reason: str, **options: Any) -> None:
    """A node with these options does not get in: what it sends is dropped for this reason."""

    async def join() -> None:
        async with open_node("c", *nodes, **options):
            pytest.fail("it is a member")

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(join)
            while nodes[0].statistics().dropped.get(reason, 0) == 0:  # noqa: ASYNC110
                await trio.sleep(0.02)
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()


async def test_encrypted() -> None:
    key, other = bytes(range(32)), bytes(16)
    async with cluster_of("a", "b", keys=[key]) as nodes:
        for keys in ([], [other]):
            await refused(nodes, "stream-decrypt" if keys else "stream-plaintext", keys=keys)
        assert sees("a", "b")(nodes[0])


async def test_keys_are_changed_on_a_running_cluster() -> None:
    old, new = bytes(range(16)), bytes(range(32))
    async with cluster_of("a", "b", "c", keys=[old]) as nodes, AsyncExitStack() as stack:
        events = [await stack.enter_async_context(node.events()) for node in nodes]
        for keys in ([old, new], [new, old], [new]):
            for node in nodes:
                node.set_keys(keys)
                await trio.sleep(0.3)
        for number, node in enumerate(nodes):
            node.set_tags({"number": str(number)})
        for number in range(3):
            await everybody(nodes, lambda c, number=number: len(c.members(number=str(number))) == 1)
        for stream in events:
            while stream._buffer:
                assert not isinstance(await anext(stream), swim.MemberFailed | swim.MemberLeft)
        with pytest.raises(swim.KeyringError):
            nodes[0].set_keys([b"short"])
        for node in nodes:  # a stream may be opened in the instant before its opener is known
            assert node.statistics().dropped.keys() <= {"kept-stranger"}


async def test_encryption_cannot_be_turned_on_later() -> None:
    async with open_node() as node:
        with pytest.raises(swim.KeyringError, match="without keys"):
            node.set_keys([bytes(16)])


async def test_labels_keep_clusters_apart() -> None:
    async with cluster_of("a", "b", label="one") as nodes:
        await refused(nodes, "stream-label", label="two")
        assert sees("a", "b")(nodes[0])


async def test_allowed_networks() -> None:
    async with open_node("a", allowed_networks=["10.0.0.0/8"]) as a:
        await refused([a], "stream-network")
    async with cluster_of("a", "b", allowed_networks=["127.0.0.0/8"]):
        pass


# --- strangers


async def test_garbage_does_not_disturb(rng_bytes: bytes) -> None:
    async with cluster_of("a", "b", "c") as nodes, nodes[1].events() as events:
        target = nodes[0].address
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number in range(3000):
                stranger.sendto(rng_bytes[number : number + 1 + number % 300], target)
                if number % 100 == 0:
                    await trio.sleep(0.005)
        for number in range(100):
            stream = await trio.open_tcp_stream(target.host, target.port)
            if number % 2:
                await stream.send_all(rng_bytes[number : number + 100])
            stream.socket.close()
        await trio.sleep(2 * CONFIG.probe_interval)
        await everybody(nodes, sees("a", "b", "c"))
        dropped = nodes[0].statistics().dropped
        assert sum(dropped.values()) > 1000
        assert isinstance(await anext(events), swim.Snapshot)
        assert not [event for event in events._buffer if isinstance(event, swim.MemberFailed)]


@pytest.fixture
def rng_bytes() -> bytes:
    import random

    return random.Random(7).randbytes(4096)
