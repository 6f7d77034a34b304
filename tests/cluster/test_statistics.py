"""`Cluster.statistics`, on real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from tests.cluster.together import PATIENCE, cluster_of, everybody, sees


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - nothing tells of packets
            await trio.sleep(0.02)


async def test_probes_and_what_they_measure() -> None:
    async with cluster_of("a", "b", "c") as (a, *_):
        await until(lambda: a.statistics().acks >= 3)
        statistics = a.statistics()
        assert statistics.members == 3
        assert statistics.states == {"alive": 3, "suspect": 0, "dead": 0, "left": 0}
        assert statistics.observed == 2
        assert statistics.pings >= statistics.acks
        assert statistics.ping_reqs == 0
        assert statistics.round_trip is not None
        assert 0 < statistics.round_trip < 1
        assert 0 < statistics.loss < 0.1
        assert statistics.phi < 8


async def test_events_and_failures_are_counted() -> None:
    async with cluster_of("a", "b", "c") as (a, b, c):
        before = b.statistics()
        assert before.events["join"] == 2
        assert before.events["leader"] >= 1
        told = {"join", "update", "suspect", "recover", "dead", "leave", "leader"}
        assert told <= set(before.events)
        a.abort()
        await c.leave()
        await everybody([b], sees("b"))
        after = b.statistics()
        assert after.states["dead"] == after.states["left"] == 1
        assert after.events["dead"] == sum(after.failures.values()) == 1
        assert after.events["leave"] == 1
        assert after.events["leader"] > before.events["leader"]


async def test_a_blocked_event_loop_shows_as_a_stall() -> None:
    async with cluster_of("a", "b") as (a, _):
        await until(lambda: a.statistics().acks >= 1)
        stalled = a.statistics().stalled
        time.sleep(1.5)  # noqa: ASYNC251 - what applications should not do
        await until(lambda: a.statistics().stalled > stalled + 0.2)
