"""Leadership functions in real processes: killed, frozen, blocked, cut off. More: `benchmarks.leadership`."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator

import pytest
import trio

from benchmarks.leadership.attacks import ATTACKS, KEY, attack, replace
from benchmarks.leadership.crew import NAMES, Crew, until
from benchmarks.leadership.tenures import Tenure, overlaps, tokens_rise
from benchmarks.namespaces import Network, open_network
from benchmarks.peers import Peer
from tests.integration.harness import Nodes, open_nodes, required_peer

LEASE = 0.9
IMPATIENT = ("--set", f"lease={LEASE}", "--set", "silence_tolerance=0.6")
"""Shorter than anybody would have it, so that tests need not wait."""
SETTLED_SECONDS = 1.5
LENIENCE = 1.0
"""A busy machine's share."""


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with open_nodes() as opened:
        yield opened


async def test_killed_then_left(nodes: Nodes) -> None:
    crew = Crew(nodes.fleet, required_peer("swim"))
    first = await crew.gather()
    killed = crew.agents[first.node].kill()
    second = await crew.next_tenure(killed, NAMES)
    assert second.on - killed < 0.5 + LENIENCE
    asked = crew.agents[second.node].terminate()
    third = await crew.next_tenure(asked, NAMES)
    assert third.on - asked < 0.05 + LENIENCE
    assert third.on > (second.off or 0)
    assert len({first.node, second.node, third.node}) == 3
    assert tokens_rise([first, second, third])
    assert overlaps([first, second, third]) == 0


@pytest.mark.parametrize("voters", [(), NAMES], ids=["derived", "voters"])
async def test_a_node_that_was_frozen_does_nothing_more_in_its_term(
    nodes: Nodes, voters: tuple[str, ...]
) -> None:
    crew = Crew(nodes.fleet, required_peer("swim"), voters=voters, options=IMPATIENT, settle=SETTLED_SECONDS)
    leader = await crew.gather()
    for _ in range(2):
        paused = crew.agents[leader.node].pause()
        await trio.sleep(2 * LEASE)
        woken = crew.agents[leader.node].resume()
        following = await crew.next_tenure(paused, NAMES)
        await ended(leader)
        assert [tick for tick in leader.ticks if tick >= woken] == []
        leader = following
    assert tokens_rise(crew.tenures())
    assert overlaps(crew.tenures()) == 0


async def ended(tenure: Tenure) -> None:
    await until(lambda: tenure.off is not None, "the function has ended")


def voting(nodes: Nodes, network: Network, *options: str) -> Crew:
    """Five voters, each on a host of its own."""
    options, peer = (*IMPATIENT, *options), required_peer("swim")
    return Crew(nodes.fleet, peer, voters=NAMES, options=options, network=network, settle=SETTLED_SECONDS)


async def test_the_side_without_most_voters_has_no_leader(nodes: Nodes, may_build_networks: None) -> None:
    with open_network(NAMES) as network:
        crew = voting(nodes, network)
        leader = await crew.gather()
        small = [leader.node, next(name for name in NAMES if name != leader.node)]
        large = [name for name in NAMES if name not in small]
        with crew.cut([pair for a in small for b in large for pair in ((a, b), (b, a))]) as began:
            following = await crew.next_tenure(began, large)
            await until(lambda: [crew.fleet.leaders[name] for name in small] == [None, None], "nobody leads")
            assert leader.last < began + LEASE
            assert {each.node for each in crew.tenures(began)} <= set(large)
        await until(lambda: crew.acting() is not None, "all follow one leader again")
        await trio.sleep(1.0)
        acting = crew.acting()  # perhaps under a fresh token: what the others had asked with may be higher
        assert acting is not None
        assert acting.node == following.node
        assert tokens_rise(crew.tenures())
        assert overlaps(crew.tenures()) == 0


@pytest.mark.parametrize("how", ATTACKS)
async def test_what_is_repeated_without_the_key_makes_no_second_leader(
    nodes: Nodes, how: str, may_build_networks: None
) -> None:
    """A leader that is cut off stops in time, though its datagrams come back, or come from others too."""
    with open_network(NAMES) as network:
        crew = voting(nodes, network, "--key", KEY)
        figures = await attack(crew, await crew.gather(), how, 5 * LEASE)
    assert figures["repeated"] > 10
    assert figures["together"] == figures["overlap"] == 0
    assert figures["leader_stopped"] < LEASE
    assert figures["tokens_rise"]


async def test_all_voters_are_replaced_by_new_machines_and_no_node_is_restarted(nodes: Nodes) -> None:
    crew = Crew(
        nodes.fleet, required_peer("swim"), voters=NAMES, options=IMPATIENT, settle=SETTLED_SECONDS / 3
    )
    figures = await replace(crew, await crew.gather(), pause=0.0)
    assert figures["overlap"] == figures["together"] == 0
    assert figures["gap"] < LEASE + 0.5 + LENIENCE
    assert figures["tokens_rise"]


async def test_a_blocked_event_loop_outlives_its_lease_and_only_its_token_is_old(nodes: Nodes) -> None:
    """As the README says: it cannot be stopped, another one leads meanwhile, and has a higher token."""
    voters, options = ("a", "b", "c"), ["--voters", "a,b,c", "--set", f"lease={LEASE}"]
    swim = required_peer("swim")
    crew = Crew(nodes.fleet, swim)
    command = (sys.executable, "-m", "tests.integration.blocking", "--block", "3", "--lease", str(LEASE))
    fleet = nodes.fleet
    a = await fleet.start(Peer("blocking", command, swim.version), "a", options=["--voters", "a,b,c"])
    await fleet.until_bound(a)
    others = [await fleet.start(swim, name, join=[a.address], options=options) for name in ("b", "c")]
    await fleet.until_bound(*others)
    blocked = await crew.next_tenure(0.0, ["a"])
    following = await crew.next_tenure(blocked.on, voters[1:])
    await ended(blocked)
    assert (
        following.on < blocked.ticks[0]
    )  # both act: the lease has run out, and nobody could stop the function
    assert len(blocked.ticks) == 1  # it went no further than its next checkpoint
    assert blocked.token < following.token  # by which the storage knows who is late
    assert time.monotonic() - blocked.on < 10 + LENIENCE
