"""Queries between nodes of swim and real Serf agents, both ways."""

from __future__ import annotations

import json
from typing import Any

import swim
from tests.integration.harness import PATIENCE, until
from tests.integration.serf import Serfs


async def test_queries_go_both_ways(serfs: Serfs) -> None:
    s0 = await serfs.start("s0", "-tag=role=web", "-event-handler=query:load=echo s0 heard $(cat)")
    s1 = await serfs.start("s1", join=[s0.address])  # answers nothing

    async def load(sender: swim.Member, payload: bytes) -> bytes:
        return f"{sender.name} asked {payload.decode()}".encode()

    options: dict[str, Any] = {"bind": "127.0.0.1:0", "seeds": [s0.address], "config": swim.Config.local()}
    async with (
        swim.open_cluster("a", tags={"role": "db"}, **options) as a,
        swim.open_cluster("b", **options) as b,
        a.serve("load", load),
    ):
        for cluster in (a, b):
            await until(lambda cluster=cluster: len(cluster.members()) == 4, "all see all")
        for agent in (s0, s1):
            await agent.until_statuses(dict.fromkeys(("s0", "s1", "a", "b"), "alive"))

        # Ours asks all: the agent that has a handler answers at once, by its shell's standard output.
        async with b.query("load", b"now", patience=PATIENCE) as answers:
            heard = dict[str, Any]()
            async for answer in answers:
                heard[answer.member.name] = answer.payload
                if heard.keys() >= {"a", "s0"}:
                    break
        assert heard == {"a": b"b asked now", "s0": b"s0 heard now\n"}
        async with b.query("load", b"x" * 2_000, patience=PATIENCE) as answers:
            heard = dict[str, Any]()
            async for answer in answers:
                heard[answer.member.name] = answer.problem or answer.payload
                if len(heard) == 3:
                    break
        assert heard["a"] == b"b asked " + b"x" * 2_000
        assert heard["s0"] == heard["s1"]
        assert "Serf's limit of a query is 1024 bytes" in heard["s0"]

        # An agent asks all: both agents acknowledge it, and so does every node that it is meant for.
        async def ask(*options: str) -> dict[str, str]:
            done = await s1.run("query", "-format=json", "-timeout=1s", *options, "load", "from serf")
            assert done.returncode == 0, done
            return json.loads(done.stdout)["Responses"]

        said = {"a": "s1 asked from serf", "s0": "s0 heard from serf\n"}
        assert await ask() == said
        assert await ask("-node=a") == {"a": said["a"]}
        assert await ask("-node=b") == {}
        assert await ask("-tag=role=db") == {"a": said["a"]}
        assert await ask("-tag=role=we.*") == {"s0": said["s0"]}
        assert a.statistics().dropped["query-filter"] == 1

    for agent in (s0, s1):
        assert not [line for line in agent.log if "ERR" in line or "WARN" in line]


async def test_a_member_that_is_forced_to_leave_is_left_at_serf(serfs: Serfs) -> None:
    s0 = await serfs.start("s0")
    options: dict[str, Any] = {"bind": "127.0.0.1:0", "seeds": [s0.address], "config": swim.Config.local()}
    async with swim.open_cluster("a", **options) as a, swim.open_cluster("b", **options) as b:
        for cluster in (a, b):
            await until(lambda cluster=cluster: len(cluster.members()) == 3, "all see all")
        b.abort()
        await s0.until_statuses({"s0": "alive", "a": "alive", "b": "failed"})
        await until(lambda: a.member("b") is None, "a knows, too")
        a.force_leave("b")
        await s0.until_statuses({"s0": "alive", "a": "alive", "b": "left"})
