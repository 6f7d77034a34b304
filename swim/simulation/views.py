"""What nodes see, compared and told."""

from __future__ import annotations

from collections.abc import Sequence

from swim.protocol.node import Node, Phase
from swim.simulation.host import SimulatedNode
from swim.types import Address, Member, MemberState

__all__ = ["agree", "describe"]


def agree(nodes: Sequence[Node]) -> bool:
    """They see exactly each other, as each sees itself, and follow one leader."""
    if any(node.phase is not Phase.MEMBER for node in nodes):
        return False
    truth = sorted(_essence(node.me) for node in nodes)
    leaders = {node.leader.id if node.leader else None for node in nodes}
    return len(leaders) <= 1 and all(sorted(map(_essence, node.members())) == truth for node in nodes)


def _essence(member: Member) -> tuple[str, str, int, Address, list[tuple[str, str]]]:
    return (member.name, member.id or "", member.incarnation, member.address, sorted(member.tags.items()))


def describe(node: SimulatedNode) -> str:
    """One node's view on a line: its leader, and the members with ? when suspected, and incarnations."""
    if not node.running:
        return f"{node.name}: {node.life.value} {node.failure or ''}".rstrip()
    core = node.core
    leader = core.leader.name if core.leader else None
    seen = [f"{m.name}{'?' * (m.state is MemberState.SUSPECT)}#{m.incarnation}" for m in core.members()]
    return f"{node.name}: {core.phase.value}, leader {leader}; {' '.join(seen)}"
