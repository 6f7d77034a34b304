"""Names that are held, owned and shared out, by real nodes on loopback."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import trio

import swim
from swim.runtime.clock import NodeClock
from tests.cluster.together import CONFIG, PATIENCE, cluster_of, open_node, sees

VOTERS = ("a", "b", "c")
QUICK = CONFIG.__class__.local(leave_linger=0.1, lease=0.5, session=1.2)
"""With voters: what takes seconds otherwise."""


async def until(predicate: Callable[[], bool]) -> None:
    """Wait for it to be true."""
    with trio.fail_after(PATIENCE):
        while not predicate():  # noqa: ASYNC110
            await trio.sleep(0.01)


async def hold_until_lost(node: swim.Cluster, name: str, strike: Callable[[], object]) -> swim.LeaseLost:
    """Hold a name, do something when it is held, and wait for what ends that."""
    try:
        with trio.fail_after(PATIENCE):
            async with node.hold(name):
                strike()
                await trio.sleep_forever()
    except swim.LeaseLost as lost:
        return lost
    raise AssertionError("it is still held")


class Owned:
    """Which node runs the function of which name, and how often more than one did."""

    def __init__(self) -> None:
        self.now: dict[str, str] = {}
        self.tokens: dict[str, list[str]] = {}
        self.overlaps: list[tuple[str, str, str]] = []
        self.starts = Counter[str]()

    def function(self, node: str, clean_up: float = 0.0) -> Callable[[swim.Lease], Any]:
        async def serve(lease: swim.Lease) -> None:
            if lease.name in self.now:
                self.overlaps.append((lease.name, self.now[lease.name], node))
            self.now[lease.name] = node
            self.starts[node] += 1
            self.tokens.setdefault(lease.name, []).append(lease.token)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(clean_up)
                del self.now[lease.name]

        return serve

    async def offer(self, node: swim.Cluster, names: list[str], clean_up: float = 0.0) -> None:
        with contextlib.suppress(trio.ClosedResourceError):
            await node.run_shards(names, self.function(node.name, clean_up))

    def counts(self) -> dict[str, int]:
        return dict(Counter(self.now.values()))

    async def until(self, spread: list[int]) -> None:
        """Wait until the nodes own so many names each."""
        await until(lambda: sorted(self.counts().values()) == spread)

    def check(self) -> None:
        assert self.overlaps == []
        for tokens in self.tokens.values():
            assert tokens == sorted(set(tokens))


SHARDS = [f"shard/{index}" for index in range(12)]


# --- one holder


async def test_one_after_the_other() -> None:
    order: list[str] = []

    async def use(node: swim.Cluster) -> None:
        async with node.hold("x"):
            order.append(f"{node.name} begins")
            await trio.sleep(0.02)
            order.append(f"{node.name} ends")

    async with cluster_of("a", "b", "c") as nodes, trio.open_nursery() as nursery:
        for node in nodes * 3:
            nursery.start_soon(use, node)
    assert len(order) == 18
    for begins, ends in zip(order[::2], order[1::2], strict=True):
        assert begins.split()[0] == ends.split()[0]


async def test_a_semaphore_lets_as_many_in_as_its_limit() -> None:
    inside, most = 0, 0

    async def use(node: swim.Cluster) -> None:
        nonlocal inside, most
        async with node.hold("gpu", limit=2):
            inside += 1
            most = max(most, inside)
            await trio.sleep(0.05)
            inside -= 1

    async with cluster_of("a", "b") as nodes, trio.open_nursery() as nursery:
        for node in nodes * 3:
            nursery.start_soon(use, node)
    assert most == 2


async def test_tokens_rise() -> None:
    tokens = []
    async with cluster_of("a", "b") as nodes:
        for node in nodes * 3:
            async with node.hold("x") as lease:
                tokens.append(lease.token)
                assert lease.name == "x"
    assert tokens == sorted(set(tokens))


async def test_the_owner_is_known_to_all() -> None:
    async with cluster_of("a", "b", "c") as (a, b, c):
        assert await c.owner("x") is None
        async with b.hold("x"):
            for node in (a, b, c):
                owner = await node.owner("x")
                assert owner is not None
                assert owner.name == "b"
            assert a.granted() == {"x": (b.me,)}  # it leads
            assert b.granted() == c.granted() == {}
        with trio.fail_after(PATIENCE):
            while a.granted():  # noqa: ASYNC110
                await trio.sleep(0.01)


async def test_a_task_that_is_cancelled_while_it_waits_is_not_waited_for() -> None:
    async with cluster_of("a", "b", "c") as (a, b, c):
        async with a.hold("x"):
            with trio.move_on_after(0.1):
                async with b.hold("x"):
                    raise AssertionError("two holders")
        with trio.fail_after(PATIENCE):
            async with c.hold("x"):
                pass


async def test_what_the_block_raises_comes_out_of_it_and_the_name_is_free() -> None:
    async with cluster_of("a", "b") as (a, b):
        with pytest.raises(ZeroDivisionError):
            async with a.hold("x"):
                _ = 1 / 0
        with trio.fail_after(PATIENCE):
            async with b.hold("x"):
                pass


@pytest.mark.parametrize("voters", [(), VOTERS], ids=["derived", "voters"])
async def test_a_task_that_is_cancelled_while_it_holds_hands_over_at_once(voters: tuple[str, ...]) -> None:
    """After the clean-up of its block, and before its lease is over: the leader counts none that ran out."""
    order: list[str] = []
    async with (
        cluster_of("a", "b", "c", voters=voters, config=QUICK) as nodes,
        trio.open_nursery() as nursery,
    ):
        leader = await nodes[0].wait_for_leader()
        first, second = (node for node in nodes if node.name != leader.name)

        async def wait_for_it() -> None:
            async with second.hold("x"):
                order.append(f"{first.held()} {second.held()}")

        with trio.fail_after(PATIENCE), trio.CancelScope() as scope:
            async with first.hold("x"):
                assert (first.held(), second.held()) == (("x",), ())
                nursery.start_soon(wait_for_it)
                await trio.testing.wait_all_tasks_blocked(0.05)
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    order.append("cleaned up")
        await until(lambda: len(order) == 2)
        assert order == ["cleaned up", "() ('x',)"]
        (leading,) = (node for node in nodes if node.name == leader.name)
        assert leading.statistics().leases["lost"] == 0


async def test_the_block_has_the_end_of_the_lease_as_its_deadline() -> None:
    async with cluster_of("a", "b") as (_, b), b.hold("x"):
        ends = trio.current_effective_deadline()
        assert 0 < ends - trio.current_time() <= 6.0 * 0.97
        await until(lambda: trio.current_effective_deadline() > ends + 0.1)


async def test_another_limit_is_refused_with_the_reason() -> None:
    async with cluster_of("a", "b") as (a, b), a.hold("gpu", limit=2):
        with pytest.raises(swim.LeaseRefused, match="otherwise than held with a limit of"):
            async with b.hold("gpu", limit=3):
                pass


@pytest.mark.parametrize(("name", "limit"), [("", 1), ("x" * 129, 1), ("\ud800", 1), ("x", 0), ("x", 65_536)])
async def test_names_and_limits_that_cannot_be(name: str, limit: int) -> None:
    async with open_node("a") as a:
        with pytest.raises(ValueError, match=r"name|limit"):
            a.hold(name, limit)


# --- losing it


async def test_a_lease_that_is_not_prolonged_ends_the_block_in_time_for_its_clean_up() -> None:
    """The leader is gone without a word, and nobody else may lead."""
    async with cluster_of("a", "b", voters=("a",), config=QUICK) as (a, b):
        lost = await hold_until_lost(b, "x", a.abort)
        assert "did not prolong" in str(lost)
        assert lost.lease.name == "x"


async def test_a_machine_that_slept_has_lost_its_leases() -> None:
    slept = [0.0]
    async with cluster_of("a", "b") as (_, b):
        clock = b._driver.clock
        origin = clock._origin
        clock._suspended = lambda: origin + slept[0]
        lost = await hold_until_lost(b, "x", lambda: slept.__setitem__(0, 60.0))
        assert lost.lease.name == "x"


async def test_a_node_that_leaves_ends_what_it_holds_and_hands_over_at_once() -> None:
    taken = trio.Event()

    async def wait_for_it(node: swim.Cluster) -> None:
        async with node.hold("x"):
            taken.set()

    async with (
        cluster_of("a", "b", "c", voters=VOTERS, config=QUICK) as nodes,
        trio.open_nursery() as nursery,
    ):
        leader = await nodes[0].wait_for_leader()
        other, leaver = (node for node in nodes if node.name != leader.name)

        def strike() -> None:
            nursery.start_soon(wait_for_it, other)
            nursery.start_soon(leaver.leave)

        assert "leaves" in str(await hold_until_lost(leaver, "x", strike))
        with trio.fail_after(PATIENCE):
            await taken.wait()


async def test_a_node_that_is_closed_waits_for_nothing_any_more() -> None:
    async with cluster_of("a", "b") as (a, b):
        async with a.hold("x"), trio.open_nursery() as nursery:

            async def wait_for_it() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    async with b.hold("x"):
                        raise AssertionError("two holders")

            nursery.start_soon(wait_for_it)
            await trio.testing.wait_all_tasks_blocked()
            await b.leave()
        with pytest.raises(trio.ClosedResourceError):
            async with b.hold("x"):
                pass
        with pytest.raises(trio.ClosedResourceError):
            await b.owner("x")


async def test_a_dead_holder_without_voters_is_followed_when_its_death_is_known() -> None:
    async with cluster_of("a", "b", "c") as (a, b, c):
        await hold_until_lost(b, "x", b.abort)
        with trio.fail_after(PATIENCE):
            async with c.hold("x"):
                assert sees("a", "c")(a)


async def test_a_holder_that_is_started_anew_under_its_name_holds_nothing() -> None:
    async with cluster_of("a", "b") as (a, b):
        await hold_until_lost(b, "x", b.abort)
        async with open_node("b", a) as again:
            with trio.fail_after(PATIENCE):
                async with again.hold("x"):
                    owner = await a.owner("x")
                    assert owner == again.me


@pytest.mark.long
@pytest.mark.parametrize("voters", [(), VOTERS], ids=["derived", "voters"])
async def test_the_death_of_the_leader_interrupts_no_holder(voters: tuple[str, ...]) -> None:
    async with cluster_of("a", "b", "c", "d", voters=voters, config=CONFIG) as nodes:
        with trio.fail_after(2 * PATIENCE):
            name = (await nodes[3].wait_for_leader()).name
            leader = next(node for node in nodes if node.name == name)
            first, second, _ = (node for node in nodes if node is not leader)
            async with first.hold("x") as lease:
                leader.abort()
                for node in (first, second):
                    await node.wait_for(lambda node: node.leader is not None and node.leader.name != name)
                await trio.sleep(6.5)  # more than a session: what the new leader has not heard of is over
                assert await second.owner("x") == first.me
            async with second.hold("x") as later:
                assert later.token > lease.token


# --- owning


async def test_names_are_spread_over_the_nodes_that_offer_themselves() -> None:
    owned = Owned()
    async with cluster_of("a", "b", "c", "d") as nodes, trio.open_nursery() as nursery:
        for node in nodes[:3]:
            nursery.start_soon(owned.offer, node, SHARDS)
        await owned.until([4, 4, 4])
        nursery.start_soon(owned.offer, nodes[3], SHARDS)
        await owned.until([3, 3, 3, 3])
        await nodes[1].leave()
        await owned.until([4, 4, 4])
        nursery.cancel_scope.cancel()
    owned.check()


async def test_a_name_is_handed_over_after_the_clean_up() -> None:
    owned = Owned()
    async with cluster_of("a", "b", "c") as nodes, trio.open_nursery() as nursery:
        for node in nodes[:2]:
            nursery.start_soon(owned.offer, node, SHARDS, 0.2)
        await owned.until([6, 6])
        nursery.start_soon(owned.offer, nodes[2], SHARDS, 0.2)
        await owned.until([4, 4, 4])
        await nodes[2].leave()
        await owned.until([6, 6])
        nursery.cancel_scope.cancel()
    owned.check()


async def test_what_the_function_returns_or_raises_comes_out() -> None:
    async def answer(lease: swim.Lease) -> str:
        return lease.name

    async def fail(lease: swim.Lease) -> None:
        if lease.name == "shard/7":
            raise ZeroDivisionError
        await trio.sleep_forever()

    async with cluster_of("a", "b") as (_, b):
        assert await b.run_while_owner("shard/7", answer) == "shard/7"
        with pytest.raises(ZeroDivisionError):
            await b.run_while_owner("shard/7", fail)
        await b.run_shards(SHARDS, answer)
        with pytest.raises(ZeroDivisionError):
            await b.run_shards(SHARDS, fail)


async def test_shards_of_a_closed_cluster() -> None:
    owned = Owned()
    async with open_node("a") as a:
        await a.leave()
        with pytest.raises(trio.ClosedResourceError):
            await a.run_shards(SHARDS, owned.function("a"))


async def test_the_clock_says_how_long_the_machine_has_slept() -> None:
    clock = NodeClock(lambda: 7.0)
    assert clock.slept == 0.0
