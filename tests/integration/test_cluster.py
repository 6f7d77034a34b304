"""The life of a cluster of `swim agent --json` processes: join, die, leave, change, come back, lead."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.driver import reports
from tests.integration.harness import PATIENCE, Nodes

DEATH_SECONDS = 5.0
"""All others report a killed process within this (and, on a busy machine, a little more)."""
LENIENCE = 5.0


async def five(nodes: Nodes) -> None:
    """Five processes of one node each."""
    await nodes.gather(5, tags={"role": "db"})


async def sixteen(nodes: Nodes) -> None:
    """Four processes of one node each, to be killed and dismissed, and twelve nodes in one more."""
    await nodes.gather(4, tags={"role": "db"})
    await nodes.start("crowd", count=12, join=[nodes.agents["n0"].address], tags={"role": "db"})
    await nodes.all_see_all()


SIZES = [pytest.param(five, id="5"), pytest.param(sixteen, id="16")]


async def restart(nodes: Nodes, name: str, port: int) -> None:
    """Under the same name and port: it comes back behind all that have ever been there."""
    known = [str(line["id"]) for line in nodes.fleet.lines if line.get("id")]
    seeds = [nodes.agents[other].address for other in nodes.others()[:2]]
    await nodes.start(name, port=port, join=seeds, tags={"role": "db"})
    assert await nodes.started(name) > max(known)
    await nodes.all_see_all()


def port_of(nodes: Nodes, name: str) -> int:
    return int(nodes.agents[name].address.rpartition(":")[2])


@pytest.mark.parametrize("start", SIZES)
async def test_members_are_killed_and_come_back_behind_the_others(nodes: Nodes, start: Any) -> None:
    await start(nodes)
    assert all(tags == {"role": "db"} for view in nodes.fleet.views.values() for tags in view.values())
    assert nodes.lowest() == "n0"
    await nodes.all_follow("n0")

    # A follower: nothing else changes.
    port = port_of(nodes, "n2")
    killed, spread = await nodes.kill("n2")
    assert spread.all < DEATH_SECONDS + LENIENCE
    await restart(nodes, "n2", port)
    assert not [line for line in nodes.since(killed) if line["event"] == "leader" and line["node"] != "n2"]

    # The leader: all agree on the next lowest id, and stay with it when the old one is back.
    port = port_of(nodes, "n0")
    killed, spread = await nodes.kill("n0")
    assert spread.all < DEATH_SECONDS + LENIENCE
    successor = nodes.lowest()
    await nodes.all_follow(successor)
    await restart(nodes, "n0", port)
    await nodes.all_follow(successor)
    led = {line["leader"] for line in nodes.since(killed) if line["event"] == "leader"}
    assert led <= {successor, None}


@pytest.mark.parametrize("start", SIZES)
async def test_changed_tags_reach_all_and_a_farewell_is_no_death(nodes: Nodes, start: Any) -> None:
    await start(nodes)
    changed = reports("update", "n1", tags={"role": "web", "zone": "b"})
    with nodes.fleet.watch(changed, nodes.others("n1")) as updates:
        await nodes.agents["n1"].command("tags role=web zone=b")
        assert await updates.complete(PATIENCE), updates.pending

    await nodes.all_follow("n0")
    for name in ("n3", "n0"):
        await nodes.dismiss(name)
    await nodes.all_follow(nodes.lowest())
    # On a busy machine a node may stand still for long enough to be suspected, but it answers then.
    assert not [line for line in nodes.fleet.lines if line["event"] == "dead"]


async def test_a_restart_at_once_after_the_kill_is_another_process(nodes: Nodes) -> None:
    await five(nodes)
    for name in ("n3", nodes.lowest()):
        port, others = port_of(nodes, name), nodes.others(name)
        agent = nodes.agents.pop(name)
        before = nodes.id_of(name)
        with (
            nodes.fleet.watch(reports("dead", name), others) as deaths,
            nodes.fleet.watch(
                lambda line, name=name, before=before: reports("join", name)(line) and line["id"] > before,
                others,
            ) as returns,
        ):
            agent.kill()
            await agent.process.wait()
            await restart(nodes, name, port)
            assert await deaths.complete(PATIENCE), deaths.pending
            assert await returns.complete(PATIENCE), returns.pending
        assert "process-gone" in deaths.reasons
        await nodes.all_follow(nodes.lowest())
    assert nodes.lowest() not in ("n0", "n3")


async def test_everybody_agrees_after_most_were_killed_at_once(nodes: Nodes) -> None:
    await five(nodes)
    for name in ("n0", "n1", "n3"):
        nodes.agents.pop(name).kill()
    await nodes.all_see_all()
    assert nodes.names == ["n2", "n4"]
    await nodes.all_follow(nodes.lowest())
