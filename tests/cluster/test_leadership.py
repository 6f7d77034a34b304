"""Functions that run while a node leads, on real nodes: who acts when, and that tokens rise."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

import swim
from swim.types import Leadership
from tests.cluster.together import CONFIG, PATIENCE, cluster_of, everybody, led_by, next_of, open_node, sees


class Acts:
    """What the functions of several nodes did."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.now: list[str] = []
        self.changed = trio.Event()

    def of(self, cluster: swim.Cluster) -> Callable[[swim.Term], Awaitable[None]]:
        async def act(term: swim.Term) -> None:
            self.tokens.append(term.token)
            self._note([*self.now, cluster.name])
            try:
                await trio.sleep_forever()
            finally:
                self._note([name for name in self.now if name != cluster.name])

        return act

    def _note(self, now: list[str]) -> None:
        self.now = now
        self.changed.set()
        self.changed = trio.Event()

    async def by(self, *names: str) -> None:
        with trio.fail_after(PATIENCE):
            while self.now != list(names):
                await self.changed.wait()


async def run_until_closed(cluster: swim.Cluster, acts: Acts) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await cluster.run_while_leader(acts.of(cluster))


async def test_the_function_follows_the_leader(nursery: trio.Nursery) -> None:
    acts = Acts()
    async with cluster_of("a", "b", "c") as nodes:
        for node in nodes:
            nursery.start_soon(run_until_closed, node, acts)
        await acts.by("a")
        nodes[0].abort()
        await acts.by("b")
        await nodes[1].leave()
        await acts.by("c")
    assert len(acts.tokens) == 3
    assert acts.tokens == sorted(acts.tokens)
    assert acts.now == []


async def test_stepping_down(nursery: trio.Nursery) -> None:
    acts = Acts()
    async with cluster_of("a", "b") as (a, b):
        for node in (a, b):
            nursery.start_soon(run_until_closed, node, acts)
        await acts.by("a")
        b.yield_leadership()  # it does not lead: nothing to step down from
        a.yield_leadership()
        await acts.by("b")
        await everybody([a, b], led_by("b"))
        assert [member.name for member in a.members()] == ["b", "a"]
        b.yield_leadership()
        await acts.by("a")
    assert acts.tokens == sorted(acts.tokens)


async def test_the_only_one_leads_again_with_a_fresh_token(nursery: trio.Nursery) -> None:
    acts = Acts()
    async with open_node("a") as a:
        nursery.start_soon(run_until_closed, a, acts)
        await acts.by("a")
        a.yield_leadership()
        with trio.fail_after(PATIENCE):
            while len(acts.tokens) < 2:
                await acts.changed.wait()
    assert acts.tokens[0] < acts.tokens[1]


async def test_a_pinned_id_cannot_step_down() -> None:
    async with open_node("a", id="0") as a:
        with pytest.raises(ValueError, match="pinned"):
            a.yield_leadership()
        assert (await a.wait_for_leader()).name == "a"
    with pytest.raises(trio.ClosedResourceError):
        a.yield_leadership()


async def test_a_node_that_is_not_electable_waits_for_a_leader() -> None:
    async with open_node("a", electable=False) as a:
        assert a.leader is None
        assert a.leadership.leader is None
        assert a.leadership.problem
        with trio.move_on_after(0.1) as waiting:
            await a.wait_for_leader()
        assert waiting.cancelled_caught
        async with open_node("b", a) as b:
            with trio.fail_after(PATIENCE):
                assert (await a.wait_for_leader()).name == "b"
            await everybody([a, b], led_by("b"))


async def test_leadership_for_people_who_look() -> None:
    async with cluster_of("a", "b") as (a, b):
        with trio.fail_after(PATIENCE):
            await a.wait_for(lambda cluster: cluster.leadership.term is not None)
            term = a.leadership.term
            assert term is not None
            await b.wait_for(lambda cluster: cluster.leadership.token == term.token)
        assert a.leadership.token == term.token
        assert 0 < a.leadership.remaining <= 1.25 * CONFIG.silence_tolerance / 2
        assert b.leadership == Leadership(b.leader, term.token)


async def test_a_function_that_blocks_the_loop_is_stopped_and_started_with_a_fresh_token() -> None:
    """Alone in its cluster it leads on; but it cannot know that before it has looked."""
    tokens: list[str] = []

    async def block(term: swim.Term) -> None:
        tokens.append(term.token)
        if len(tokens) == 1:
            time.sleep(CONFIG.silence_tolerance)  # noqa: ASYNC251 - that is the point
            await trio.lowlevel.checkpoint()
            pytest.fail("it went on after its checkpoint")

    async with cluster_of("a", "b") as (a, _):
        with trio.fail_after(PATIENCE):
            await a.run_while_leader(block)
    assert len(tokens) == 2
    assert tokens[0] < tokens[1]


@pytest.mark.parametrize("voters", [(), ("a",)], ids=["derived", "lease"])
async def test_a_stall_while_the_term_is_renewed_does_not_end_its_functions_for_good(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, voters: tuple[str, ...]
) -> None:
    """It lies between the node's look at the clock and the driver's, and is over before the new end."""
    acts, stalled = Acts(), list[float]()
    async with open_node("a", voters=voters) as a, trio.open_nursery() as nursery:
        nursery.start_soon(run_until_closed, a, acts)
        await a.wait_for_leader()
        await acts.by("a")
        node, handle_timer = a._driver.node, a._driver.node.handle_timer

        def stall(now: float) -> None:
            before = node.term_ends
            handle_timer(now)
            if node.term_ends > before and not stalled:
                stalled.append((before + node.term_ends) / 2 - now)
                autojump_clock.jump(stalled[0])

        monkeypatch.setattr(node, "handle_timer", stall)
        await trio.sleep(10)
        assert stalled
        assert a.leadership.term is not None
        assert (acts.now, acts.tokens[-1]) == (["a"], a.leadership.term.token)
        nursery.cancel_scope.cancel()


async def test_in_virtual_time(nursery: trio.Nursery, mock_clock: trio.testing.MockClock) -> None:
    """Many renewals, none of which comes too late."""
    mock_clock.autojump_threshold = 0.01  # with less it jumps while packets are on their way
    acts = Acts()
    async with cluster_of("a", "b") as (a, b):
        for node in (a, b):
            nursery.start_soon(run_until_closed, node, acts)
        await acts.by("a")
        await trio.sleep(15)
        await acts.by("a")
        assert sees("a", "b")(b)
    assert len(acts.tokens) == 1


# --- voters

LEASE = dataclasses.replace(CONFIG, lease=0.9)
"""Shorter than anybody would have it, so that tests need not wait for it to run out."""


async def test_the_function_follows_the_lease(nursery: trio.Nursery) -> None:
    acts = Acts()
    names = ("a", "b", "c")
    async with cluster_of(*names, voters=names, config=LEASE) as nodes:
        for node in nodes:
            nursery.start_soon(run_until_closed, node, acts)
        await acts.by("a")
        assert nodes[0].leadership.voters == names
        assert len(nodes[0].leadership.granted) >= 2
        assert 0 < nodes[0].leadership.remaining < LEASE.lease
        await everybody(nodes, led_by("a"))
        await nodes[0].leave()
        await acts.by("b")
        await everybody(nodes[1:], led_by("b"))
        nodes[1].abort()  # and of three voters only one is left
        await acts.by()
        with trio.fail_after(PATIENCE):
            await nodes[2].wait_for(lambda cluster: cluster.leader is None)
        await trio.sleep(3 * LEASE.lease)
        assert nodes[2].leader is None
        assert nodes[2].leadership.problem
        assert not nodes[2].is_leader
    assert len(acts.tokens) == 2
    assert acts.tokens == sorted(acts.tokens)


async def test_nobody_leads_before_most_voters_are_there(nursery: trio.Nursery) -> None:
    acts = Acts()
    async with open_node("a", voters=["a", "x", "y"], config=LEASE) as a:
        nursery.start_soon(run_until_closed, a, acts)
        await trio.sleep(2 * LEASE.lease)
        assert a.leader is None
        problem = a.leadership.problem or ""
        assert "x" in problem
        assert "y" in problem
        async with open_node("x", a, voters=["a", "x", "y"], config=LEASE):
            await acts.by("a")


async def test_other_voters_are_reported_with_both_lists(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        open_node("a", voters=["a", "b"], config=LEASE) as a,
        open_node("b", voters=["b"], config=LEASE) as b,
        a.events() as at_a,
        b.events() as at_b,
    ):
        await b.join([str(a.address)])
        told = [await next_of(events, swim.VotersDiffer) for events in (at_a, at_b)]
        assert [(each.member.name, each.theirs, each.ours) for each in told] == [
            ("b", ("b",), ("a", "b")),
            ("a", ("a", "b"), ("b",)),
        ]
    assert "goes by the voters (b)" in caplog.text
    assert "goes by the voters (a, b)" in caplog.text


async def test_a_node_that_joins_goes_by_the_voters_of_the_cluster() -> None:
    async with (
        open_node("a", voters=["a", "b"], config=LEASE) as a,
        open_node("b", a, voters=["b"], config=LEASE) as b,
    ):
        await b.wait_for(lambda cluster: cluster.leadership.voters == ("a", "b"))


async def test_a_blocked_loop_outlives_its_lease_and_is_then_stopped(nursery: trio.Nursery) -> None:
    """In one process nobody else can act meanwhile; tests/integration has it with two."""
    tokens: list[str] = []

    async def block(term: swim.Term) -> None:
        tokens.append(term.token)
        if len(tokens) == 1:
            time.sleep(2 * LEASE.lease)  # noqa: ASYNC251 - that is the point
            await trio.lowlevel.checkpoint()
            pytest.fail("it went on after its checkpoint")

    async with open_node("a", voters=["a"], config=LEASE) as a:
        with trio.fail_after(PATIENCE):
            await a.run_while_leader(block)
    assert len(tokens) == 2
    assert tokens[0] < tokens[1]


@pytest.mark.parametrize(
    ("voters", "said"),
    [
        ("abc", "a list of texts"),
        (["a", ""], "1 to 128 bytes"),
        (["a", "b", "a"], "'a' is named more than once"),
    ],
)
async def test_voters_that_are_none(voters: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        async with open_node("a", voters=voters):
            pytest.fail("opened")
