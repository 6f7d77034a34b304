"""One node of five gets nothing but nonsense from everywhere; the five stay one cluster."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from benchmarks.driver import reports
from swim.wire import Codec, pack_host
from swim.wire.messages import NodeState, PushPull, WireState
from swim.wire.serf import encode_tags
from tests.integration.capture import Capture, can_capture, capturing
from tests.integration.harness import PATIENCE, PROBE_ROUND, Nodes, suspicions, until
from tests.integration.hostile import Attack, Material

STRANGERS_GONE_SECONDS = 60.0
LENIENCE = 1.0
"""A busy machine's share in the length of a suspicion."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the attack has done to the five."""

    lost: Sequence[str]
    """The lines in which a real member was given up, or left."""
    longest_suspicion: float
    suspicions: int
    strangers: int
    """Names that no process has, in anybody's view at any time."""
    strangers_left_after: float
    """Seconds from the end of the attack until nobody sees a stranger."""
    counted: Counter[str]
    """Drops at the attacked node, by reason."""
    rss_kib: tuple[int, int]
    """Of the attacked node, before and after."""


async def start_five(nodes: Nodes) -> Material:
    """A cluster of five, and what it has said: joins, tags, deaths, restarts, farewells."""
    async with recording() as capture:
        seed = await nodes.start("node-zero", tags={"role": "db"})
        capture.ports.add(int(seed.address.rpartition(":")[2]))
        for name in ("node-one", "node-two", "node-three", "node-four", "extra-one", "extra-two"):
            agent = await nodes.start(name, wait=False, join=[seed.address], tags={"role": "db"})
            capture.ports.add(int(agent.address.rpartition(":")[2]))
        await nodes.all_see_all()
        await nodes.agents["node-one"].command("tags role=web zone=b")
        await nodes.kill("extra-one")
        await nodes.dismiss("extra-two")
        if can_capture():
            await until(lambda: len(capture.datagrams()) > 100, "enough has been captured")
    return Material.gathered(capture, nodes.names)


@asynccontextmanager
async def recording() -> AsyncIterator[Capture]:
    """The cluster's packets; none, where that is not allowed."""
    if can_capture():
        async with capturing(()) as capture:
            yield capture
    else:
        yield Capture(set())


async def attacked(nodes: Nodes, target: str, attack: Attack, *steps: Any) -> Outcome:
    """Run the steps of the attack and see what comes of it."""
    real, agent = set(nodes.names), nodes.agents[target]
    before = await fresh_stats(agent)
    begun = time.monotonic()
    for step in steps:
        await step
    ended = time.monotonic()

    def alone() -> bool:
        return all(set(nodes.fleet.views[name]) == real - {name} for name in real)

    try:
        gone = await until(alone, "strangers have vanished", STRANGERS_GONE_SECONDS + PATIENCE)
    except TimeoutError as error:
        views = {name: set(nodes.fleet.views[name]) for name in real}
        wrong = {odd for name, view in views.items() for odd in view ^ (real - {name})}
        about = [str(line) for line in nodes.since(begun) if line.get("member") in wrong]
        raise TimeoutError("\n".join([f"{error}: {views}", *about])) from None
    after = await fresh_stats(agent)
    lines = nodes.since(begun)
    about_real = [line for line in lines if line.get("member") in real]
    lengths = [length for *_, length in suspicions(about_real, time.monotonic())]
    return Outcome(
        [str(line) for line in about_real if line["event"] in ("dead", "leave")],
        max(lengths, default=0.0),
        len(lengths),
        len({line["member"] for line in lines if line["event"] == "join"} - real),
        gone - ended,
        Counter(after["dropped"]) - Counter(before["dropped"]),
        (before["rss_kib"], after["rss_kib"]),
    )


async def test_a_forged_record_does_not_shut_a_member_out(nodes: Nodes) -> None:
    """Another process under its name, at its own address, that joined later: there is none such."""
    await nodes.gather(3, tags={"role": "db"})
    host, port = nodes.agents["n0"].address.rsplit(":", 1)
    victim = nodes.agents["n1"]
    true_id = await nodes.started("n1")
    tags = {"_id": true_id[:10] + 16 * "Z", "_boot": "FORGED00", "role": "db"}
    address = pack_host(host), int(victim.address.rpartition(":")[2])
    state = NodeState("n1", 1, *address, encode_tags(tags), WireState.ALIVE, bytes((1, 5, 2, 2, 5, 5)))
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(Codec().stream(PushPull((state,), join=False)))
        while await stream.receive_some(65_536):
            pass
    # Whether or not the forgery was believed for a moment: in the end the one that lives is the member.
    await victim.command("tags role=web")

    def settled() -> bool:
        return all(nodes.fleet.views[name].get("n1") == {"role": "web"} for name in ("n0", "n2"))

    await until(settled, "all see the true n1")
    await nodes.all_see_all()


async def fresh_stats(agent: Any) -> dict[str, Any]:
    """Statistics that were made after this call."""
    now = time.monotonic()
    await until(lambda: agent.stats.get("t", 0.0) > now, "new statistics")
    return agent.stats


async def test_five_nodes_survive_hostile_input(nodes: Nodes) -> None:
    seed = int(os.environ.get("HOSTILE_SEED", "1"))
    material = await start_five(nodes)
    host, port = nodes.agents["node-two"].address.rsplit(":", 1)
    attack = Attack((host, int(port)), material, random.Random(seed))
    outcome = await attacked(
        nodes, "node-two", attack, attack.datagrams(10_000, 4_000.0), attack.streams(150)
    )
    said = f"seed {seed}: {outcome} {attack.done}"
    assert outcome.lost == [], said
    assert outcome.longest_suspicion < PROBE_ROUND + LENIENCE, said
    assert outcome.strangers_left_after < STRANGERS_GONE_SECONDS, said
    assert len(outcome.counted) > 5, said
    assert outcome.counted.total() > 2_000, said
    before, after = outcome.rss_kib
    assert after - before < 20_000, said
    # It works as before: tags go both ways, and nobody is missing.
    with nodes.fleet.watch(
        reports("update", "node-two", tags={"role": "fine"}), nodes.others("node-two")
    ) as seen:
        await nodes.agents["node-two"].command("tags role=fine")
        assert await seen.complete(PATIENCE)
