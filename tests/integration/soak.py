"""The long versions of the acceptance tests, with figures: python -m tests.integration.soak SCENARIO

lifecycle   5 and 16 nodes: each in turn is killed and restarted, dismissed, changes its tags
hostile     100,000 datagrams and 1,000 streams at one node of five, three times
spoofed     20,000 datagrams that seem to come from members (informative: nothing is promised)
serf        120 s with a Serf agent, plain and encrypted
memberlist  120 s with two Go programs
seeds       three nodes that name each other, 20 times with and 20 without themselves
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

import trio

from benchmarks.driver import Spread, reports
from tests.integration import test_foreign, test_hostile, test_setups
from tests.integration.harness import PATIENCE, Nodes, noises, open_nodes, until
from tests.integration.hostile import Attack
from tests.integration.serf import open_serfs
from tests.integration.test_cluster import five, port_of, restart, sixteen


def summary(what: str, seconds: Sequence[float]) -> None:
    worst, middle = max(seconds), statistics.median(seconds)
    print(f"  {what}: n={len(seconds)} median {middle:.3f} s, max {worst:.3f} s", flush=True)


def of_all(spread: Spread) -> float:
    assert spread.all is not None
    return spread.all


async def lifecycle(options: argparse.Namespace) -> None:
    for start in (five, sixteen):
        async with open_nodes() as nodes:
            begun = time.monotonic()
            await start(nodes)
            print(f"{start.__name__}: all see all {time.monotonic() - begun:.2f} s after the first start")
            await _lives(nodes, [name for name in nodes.names if not name.startswith("crowd")])


async def _lives(nodes: Nodes, singles: list[str]) -> None:
    deaths, leaders, leaves, tags, returns, at_once = [], [], [], [], [], []
    for name in singles:
        leading = nodes.fleet.leaders[name] == name
        port = port_of(nodes, name)
        killed, spread = await nodes.kill(name)
        deaths.append(of_all(spread))
        last = await nodes.all_follow(nodes.lowest())
        if leading:
            leaders.append(last - killed)
        begun = time.monotonic()
        await restart(nodes, name, port)
        returns.append(time.monotonic() - begun)
        await nodes.all_follow(nodes.lowest())
    for name in singles:
        changed = reports("update", name, tags={"role": name})
        with nodes.fleet.watch(changed, nodes.others(name)) as updates:
            when = await nodes.agents[name].command(f"tags role={name}")
            assert await updates.complete(PATIENCE), updates.pending
        tags.append(of_all(updates.after(when)))
    for name in singles:
        port, agent = port_of(nodes, name), nodes.agents.pop(name)
        with nodes.fleet.watch(reports("dead", name), nodes.names) as ends:
            when = agent.kill()
            await agent.process.wait()
            await restart(nodes, name, port)
            assert await ends.complete(PATIENCE), ends.pending
        at_once.append(of_all(ends.after(when)))
        await nodes.all_follow(nodes.lowest())
    for name in singles[:-1]:
        _, spread = await nodes.dismiss(name)
        leaves.append(of_all(spread))
        await nodes.all_follow(nodes.lowest())
    summary("killed -> all others say dead", deaths)
    summary("leader killed -> all follow the next", leaders)
    summary("restart (Python's start included) -> all see all", returns)
    summary("killed and restarted at once -> all others say dead", at_once)
    summary("tags -> all others", tags)
    summary("SIGTERM -> all others say leave", leaves)
    print(f"  standard error: {noises(nodes.fleet.agents)}", flush=True)


async def hostile(options: argparse.Namespace) -> None:
    async with open_nodes() as nodes:
        material = await test_hostile.start_five(nodes)
        print(f"{len(material.datagrams)} datagrams, {len(material.streams)} streams to mutate")
        for number in range(options.rounds):
            target = "node-two" if number % 3 < 2 else "node-zero"
            host, port = nodes.agents[target].address.rsplit(":", 1)
            attack = Attack((host, int(port)), material, random.Random(options.seed + number))
            cpu = (await test_hostile.fresh_stats(nodes.agents[target]))["cpu_s"]
            begun = time.monotonic()
            outcome = await test_hostile.attacked(
                nodes,
                target,
                attack,
                attack.datagrams(options.datagrams, 5_000.0),
                attack.streams(options.streams),
            )
            took = time.monotonic() - begun
            print(f"seed {options.seed + number}, {target}: {took:.1f} s\n  sent {dict(attack.done)}")
            print(f"  {outcome}\n  cpu {nodes.agents[target].stats['cpu_s'] - cpu:.1f} s", flush=True)


async def spoofed(options: argparse.Namespace) -> None:
    async with open_nodes() as nodes:
        material = await test_hostile.start_five(nodes)
        host, port = nodes.agents["node-two"].address.rsplit(":", 1)
        attack = Attack((host, int(port)), material, random.Random(options.seed))
        others = [nodes.agents[name].address.rsplit(":", 1) for name in nodes.others("node-two")]
        sources = [(host, int(port)) for host, port in others]
        outcome = await test_hostile.attacked(
            nodes, "node-two", attack, attack.spoofed(options.datagrams // 5, 2_000.0, sources)
        )
        print(f"  sent {dict(attack.done)}\n  {outcome}", flush=True)


async def silence(options: argparse.Namespace) -> None:
    async with open_nodes() as nodes:
        await sixteen(nodes)
        crowd = nodes.agents["crowd-0"]
        survivors = nodes.others(*crowd.names)
        stopped = crowd.pause()

        def gone() -> bool:
            return all(not set(crowd.names) & set(nodes.fleet.views[name]) for name in survivors)

        ended = await until(gone, "all that are stopped are dead", 120.0)
        print(f"12 of 16 stopped: given up by the other 4 after {ended - stopped:.1f} s")
        resumed = crowd.resume()
        await nodes.all_see_all(120.0)
        print(f"  resumed: all see all after {time.monotonic() - resumed:.1f} s")
        await nodes.all_follow(next(iter(set(nodes.fleet.leaders.values()))))
        print(f"  leader {set(nodes.fleet.leaders.values())}", flush=True)


async def serf(options: argparse.Namespace) -> None:
    async def one(kind: str, how: dict[str, tuple[str, ...]]) -> None:
        async with open_nodes() as nodes, open_serfs() as serfs:
            agent = await serfs.start("agent", *how["serf"])
            tags = {"role": "db"}
            await nodes.start("ours", join=[agent.address], tags=tags, options=how["swim"])
            looks = await test_foreign.watch(nodes, serfs, "agent", "ours", options.seconds)
            with nodes.fleet.watch(reports("dead", "agent"), ["ours"]) as death:
                killed = time.monotonic()
                agent.process.kill()
                assert await death.complete(PATIENCE)
            after = of_all(death.after(killed))
            print(f"{kind}: alive in {looks} looks over {options.seconds:g} s, no trouble in the log of")
            print(f"  {len(agent.log)} lines; the agent's kill reported after {after:.2f} s", flush=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, "plain", test_foreign.PLAIN)
        nursery.start_soon(one, "encrypted", test_foreign.ENCRYPTED)


async def memberlist(options: argparse.Namespace) -> None:
    async with open_nodes() as nodes:
        await test_foreign.join_memberlists_and_nodes(nodes)
        await test_foreign.watch_memberlists(nodes, options.seconds)
        print(f"{options.seconds:g} s without a suspicion or a complaint")
        for name in ("g0", "n1"):
            _, spread = await nodes.kill(name)
            print(f"  {name} killed: all say so after {of_all(spread):.2f} s", flush=True)


async def seeds(options: argparse.Namespace) -> None:
    async with open_nodes() as nodes:
        for with_itself in (True, False):
            took = [await test_setups.three_at_once(nodes, with_itself) for _ in range(20)]
            summary(f"three at once, {'with' if with_itself else 'without'} themselves", took)


SCENARIOS: dict[str, Callable[[argparse.Namespace], Awaitable[None]]] = {
    scenario.__name__: scenario
    for scenario in (lifecycle, hostile, spoofed, silence, serf, memberlist, seeds)
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120.0, help="of watching (serf, memberlist)")
    parser.add_argument("--datagrams", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3, help="of the hostile attack")
    parser.add_argument("--streams", type=int, default=1_000)
    options = parser.parse_args()
    trio.run(SCENARIOS[options.scenario], options)


if __name__ == "__main__":
    main()
