"""Many names at one leader, in simulated time: what they cost it, and when a new one has been told of all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from swim.protocol.node import Node
from swim.simulation import SimulatedNode, World

__all__ = ["many"]

_JOIN_GAP_S = 0.05
_SETTLED_S = 10.0
_MEASURED_S = 10.0
_STEP_S = 0.05
_PATIENCE_S = 60.0
_VERBS = "receive_datagram", "handle_timer", "drain"


@dataclass
class Work:
    """Seconds of CPU that one node's core has used."""

    seconds: float = 0.0

    def watch(self, core: Node) -> None:
        for name in _VERBS:
            setattr(core, name, self._timed(getattr(core, name)))

    def _timed(self, verb: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(verb)
        def timed(*args: Any) -> Any:
            began = time.process_time()
            try:
                return verb(*args)
            finally:
                self.seconds += time.process_time() - began

        return timed


def assemble(count: int, voters: Sequence[str]) -> World:
    world = World(1, fast=True, keep_events=False)
    for number in range(count):
        world.add_node(f"n{number}", ["n0"] if number else [], voters=tuple(voters))
        world.run(_JOIN_GAP_S)
    world.run(_SETTLED_S)
    return world


def leader_of(world: World) -> SimulatedNode | None:
    return next((node for node in world.running() if node.core.term is not None), None)


def granted(node: SimulatedNode | None) -> int:
    return 0 if node is None else node.core.leases.counts()["granted"]


def until(world: World, reached: Callable[[], bool]) -> float:
    """Seconds until then."""
    began = world.now
    while not reached():
        if world.now - began > _PATIENCE_S:
            raise TimeoutError("not in a minute")
        world.run(_STEP_S)
    return world.now - began


def many(members: int, names: int, voters: Sequence[str]) -> dict[str, Any]:
    """Each member holds its share of the names; then the leader dies."""
    world = assemble(members, voters)
    nodes = world.running()
    share = names // len(nodes)
    for node in nodes:
        for number in range(share):
            node.core.leases.want(f"{node.name}/{number}", 1, False, node.now())
        node.flush()
    taken = until(world, lambda: granted(leader_of(world)) == share * len(nodes))
    world.run(_SETTLED_S)
    leader = leader_of(world)
    assert leader is not None
    work, before = Work(), (leader.traffic.packets_sent, leader.traffic.packets_received)
    work.watch(leader.core)
    world.run(_MEASURED_S)
    sent, received = (
        leader.traffic.packets_sent - before[0],
        leader.traffic.packets_received - before[1],
    )
    world.crash(leader.name)
    led = until(world, lambda: leader_of(world) is not None)
    asserted = until(world, lambda: granted(leader_of(world)) == share * (len(nodes) - 1))
    kept = sum(node.core.leases.counts()["held"] for node in world.running())
    return {
        "members": members,
        "names": names,
        "voters": len(voters),
        "granted_s": round(taken, 2),
        "leader_packets_sent_per_s": round(sent / _MEASURED_S, 1),
        "leader_packets_received_per_s": round(received / _MEASURED_S, 1),
        "leader_cpu_ms_per_s": round(1e3 * work.seconds / _MEASURED_S, 1),
        "dead_until_led_s": round(led, 2),
        "led_until_all_asserted_s": round(asserted, 2),
        "lost": share * (len(nodes) - 1) - kept,
    }
