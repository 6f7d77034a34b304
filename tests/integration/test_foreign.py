"""In one cluster with real peers: Serf agents, and Go programs on plain memberlist."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from benchmarks.driver import reports
from tests.integration.harness import PATIENCE, Nodes, until
from tests.integration.serf import TROUBLE, Serf, Serfs

KEY = bytes(range(32))
WATCHED_SECONDS = 6.0
"""Several of Serf's probes; `python -m tests.integration.soak serf` watches for 120 s."""

PLAIN: dict[str, tuple[str, ...]] = {"serf": (), "swim": ()}
ENCRYPTED: dict[str, tuple[str, ...]] = {
    "serf": (f"-encrypt={base64.b64encode(KEY).decode()}",),
    "swim": ("--key", KEY.hex()),
}


@pytest.mark.parametrize("options", [PLAIN, ENCRYPTED], ids=["plain", "encrypted"])
async def test_a_serf_agent_and_a_node_see_each_other(nodes: Nodes, serfs: Serfs, options: Any) -> None:
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
    gone = {"s3": "left", "s2": "failed", "n2": "failed"}
    for name in ("s0", "s1"):
        await serfs.agents[name].until_statuses(dict.fromkeys(everyone, "alive") | gone)
    await all_see(nodes, everyone - gone.keys())


async def test_user_events_go_both_ways_and_a_node_that_leaves_has_left(
    nodes: Nodes, serfs: Serfs, tmp_path: Path
) -> None:
    heard = {name: tmp_path / name for name in ("s0", "s1")}
    s0 = await serfs.start("s0", f"-event-handler=user:deploy=cat >> {heard['s0']}")
    for number in range(3):
        await nodes.start(f"n{number}", join=[s0.address], wait=False)
    n0 = nodes.agents["n0"]
    await nodes.fleet.until_bound(*nodes.agents.values())
    for name in nodes.names:
        await nodes.started(name)
    s1 = await serfs.start("s1", f"-event-handler=user:deploy=cat >> {heard['s1']}", join=[n0.address])
    await all_see(nodes, {*serfs.agents, *nodes.names})

    # One of theirs, once at every node; the same again is another one.
    for count in (1, 2):
        with nodes.fleet.watch(reports("message", name="news", payload="from serf"), nodes.names) as told:
            assert (await s1.run("event", "-coalesce=false", "news", "from serf")).returncode == 0
            assert await told.complete(PATIENCE), told.pending
        await trio.sleep(0.5)
        for name in nodes.names:
            lines = [line for line in messages_of(nodes, name) if line["name"] == "news"]
            assert [(line["sender"], line["kind"]) for line in lines] == [(None, "broadcast")] * count

    # One of ours, once at every node and every agent, with its payload.
    with nodes.fleet.watch(reports("message", name="deploy", sender="n1"), nodes.names) as told:
        await nodes.agents["n1"].command("broadcast deploy version 7")
        assert await told.complete(PATIENCE), told.pending
    for agent in (s0, s1):
        await until(lambda agent=agent: received(agent, "deploy"), f"{agent.name} is told")
    await trio.sleep(1.0)
    for agent in (s0, s1):
        assert received(agent, "deploy") == 1
        await until(lambda agent=agent: heard[agent.name].exists(), f"{agent.name} has run its handler")
        assert heard[agent.name].read_text() == "version 7\n"  # Serf ends a line
    for name in nodes.names:
        assert len([line for line in messages_of(nodes, name) if line["name"] == "deploy"]) == 1

    # Ours leave, and one of theirs does.
    await nodes.dismiss("n2")
    shown = {"s0": "alive", "s1": "alive", "n0": "alive", "n1": "alive", "n2": "left"}
    for agent in (s0, s1):
        await agent.until_statuses(shown)
    with nodes.fleet.watch(reports("leave", "s1"), nodes.names) as left:
        assert (await s1.run("leave")).returncode == 0
        assert await left.complete(PATIENCE), left.pending
    await s0.until_statuses(shown | {"s1": "left"})

    # Who comes back is alive, and can leave again.
    await nodes.start("n2", join=[s0.address])
    await nodes.started("n2")
    await s0.until_statuses(shown | {"s1": "left", "n2": "alive"})
    await nodes.dismiss("n2")
    await s0.until_statuses(shown | {"s1": "left"})
    assert [line for line in s0.log if "[WARN]" in line or "[ERR]" in line] == []


def messages_of(nodes: Nodes, name: str) -> list[dict[str, Any]]:
    return [line for line in nodes.fleet.lines if line["event"] == "message" and line["node"] == name]


def received(agent: Serf, event: str) -> int:
    return sum(f"Received event: user-event: {event}" in line for line in agent.log)


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
        troubled = [line for line in nodes.agents[name].complaints if TROUBLE.search(line)]
        assert not troubled, troubled
