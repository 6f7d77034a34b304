"""In one cluster with real peers: Serf agents, and Go programs on plain memberlist."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
import trio

from benchmarks.driver import reports
from tests.integration.harness import PATIENCE, Nodes
from tests.integration.serf import TROUBLE, Serfs

KEY = bytes(range(32))
WATCHED_SECONDS = 6.0
"""Several of Serf's probes; `python -m tests.integration.soak serf` watches for 120 s."""

PLAIN: dict[str, tuple[str, ...]] = {"serf": (), "swim": ()}
ENCRYPTED: dict[str, tuple[str, ...]] = {
    "serf": (f"-encrypt={base64.b64encode(KEY).decode()}",),
    "swim": ("--key", KEY.hex()),
}


@pytest.mark.parametrize("options", [PLAIN, ENCRYPTED], ids=["plain", "encrypted"])
async def test_a_serf_agent_and_a_node_see_each_other(nodes: Nodes, serfs: Serfs, options) -> None:
    agent = await serfs.start("agent", *options["serf"], "-tag", "role=web")
    ours = await nodes.start("ours", join=[agent.address], tags={"role": "db"}, options=options["swim"])
    await watch(nodes, serfs, "agent", "ours", WATCHED_SECONDS)

    with nodes.fleet.watch(reports("update", "agent", tags={"role": "cache"}), ["ours"]) as updated:
        assert (await agent.run("tags", "-set", "role=cache")).returncode == 0
        assert await updated.complete(PATIENCE)
    await ours.command("tags role=web")
    await agent.until_shows(lambda members: members["ours"]["tags"]["role"] == "web", "the new tag")

    with nodes.fleet.watch(reports("dead", "agent"), ["ours"]) as death:
        agent.process.kill()
        assert await death.complete(PATIENCE)


async def watch(nodes: Nodes, serfs: Serfs, theirs: str, ours: str, seconds: float) -> int:
    """Both are alive to each other all the time, and the agent's log has nothing to complain of."""
    agent = serfs.agents[theirs]
    with nodes.fleet.watch_all_see([theirs, ours], [ours]) as seen:
        assert await seen.complete(PATIENCE)
    await agent.until_statuses({theirs: "alive", ours: "alive"})
    looks, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        members = await agent.members()
        assert members[ours]["status"] == "alive", members
        assert members[ours]["tags"]["role"] == "db"
        assert members[ours]["tags"]["_id"] == nodes.id_of(ours)
        assert theirs in nodes.fleet.views[ours]
        looks += 1
        await trio.sleep(0.5)
    assert agent.trouble() == []
    assert not [line for line in nodes.fleet.lines if line["event"] in ("suspect", "dead")]
    return looks


async def test_four_serf_agents_and_four_nodes_agree_on_all_eight(nodes: Nodes, serfs: Serfs) -> None:
    await join_serfs_and_nodes(nodes, serfs, 4)
    everyone = {*serfs.agents, *nodes.names}
    for agent in serfs.agents.values():
        await agent.until_statuses(dict.fromkeys(everyone, "alive"))
    await all_see(nodes, everyone)
    await nodes.all_follow(nodes.lowest())
    for agent in serfs.agents.values():
        members = await agent.members()
        assert {members[name]["tags"]["role"] for name in nodes.names} == {"db"}
        assert agent.trouble() == []

    # One of theirs leaves, one is killed; then one of ours is.
    with nodes.fleet.watch(reports("leave", "s3"), nodes.names) as left:
        assert (await serfs.agents["s3"].run("leave")).returncode == 0
        assert await left.complete(PATIENCE), left.pending
    with nodes.fleet.watch(reports("dead", "s2"), nodes.names) as died:
        serfs.agents["s2"].process.kill()
        assert await died.complete(PATIENCE), died.pending
    await nodes.kill("n2")
    gone = {"s3", "s2", "n2"}

    def as_it_is(members: dict[str, dict[str, Any]]) -> bool:
        # s3 is "failed" where Serf's own leave message did not come before memberlist's: our nodes do not
        # relay Serf's messages yet.
        alive = {name for name, member in members.items() if member["status"] == "alive"}
        return alive == everyone - gone and members["s3"]["status"] in ("left", "failed")

    for name in ("s0", "s1"):
        await serfs.agents[name].until_shows(as_it_is, f"{gone} gone")
    await all_see(nodes, everyone - gone)


async def join_serfs_and_nodes(nodes: Nodes, serfs: Serfs, count: int) -> None:
    """In turn a node joins the newest agent, and an agent the newest node."""
    seed = (await serfs.start("s0")).address
    for number in range(count):
        node = await nodes.start(f"n{number}", join=[seed], tags={"role": "db"})
        await nodes.started(f"n{number}")
        if number + 1 < count:
            seed = (await serfs.start(f"s{number + 1}", join=[node.address])).address


async def all_see(nodes: Nodes, everyone: set[str]) -> None:
    with nodes.fleet.watch_all_see(everyone, nodes.names) as seen:
        assert await seen.complete(PATIENCE), (seen.pending, nodes.fleet.views)
    for name in nodes.names:
        assert set(nodes.fleet.views[name]) | {name} == everyone


async def test_plain_memberlists_and_nodes_are_one_cluster(nodes: Nodes, memberlist: None) -> None:
    await join_memberlists_and_nodes(nodes)
    await watch_memberlists(nodes, WATCHED_SECONDS)

    await nodes.kill("g0")
    await nodes.kill("n1")
    await nodes.dismiss("n0")
    assert nodes.names == ["g1"]
    await nodes.all_see_all()


async def join_memberlists_and_nodes(nodes: Nodes) -> None:
    """Go program, node, Go program, node: each joins the one before."""
    seed: list[str] = []
    for name, kind, role in (
        ("g0", "memberlist", "web"),
        ("n0", "swim", "db"),
        ("g1", "memberlist", "web"),
        ("n1", "swim", "db"),
    ):
        options = ["--log"] if kind == "memberlist" else []
        agent = await nodes.start(name, kind=kind, join=seed, tags={"role": role}, options=options)
        await nodes.started(name)
        seed = [agent.address]
    await nodes.all_see_all()
    assert nodes.fleet.views["g1"]["n1"] == {"role": "db"}
    assert nodes.fleet.views["n1"]["g0"] == {"role": "web"}


async def watch_memberlists(nodes: Nodes, seconds: float) -> None:
    """Nobody is suspected by anybody, and the Go programs' log has nothing to complain of."""
    begun = time.monotonic()
    await trio.sleep(seconds)
    assert not [line for line in nodes.since(begun) if line["event"] in ("suspect", "dead", "leave")]
    await nodes.all_see_all()
    for name in ("g0", "g1"):
        assert [line for line in nodes.agents[name].complaints if TROUBLE.search(line)] == []
