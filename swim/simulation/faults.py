"""The faults of a world: what can happen to its nodes, their hosts, and the network between them."""

from __future__ import annotations

from collections.abc import Callable

from swim.simulation.barriers import Barriers, listed
from swim.simulation.checks import check_duration, check_positive
from swim.simulation.host import Life, SimulatedNode
from swim.simulation.schedule import Schedule
from swim.types import Address

__all__ = ["Faults"]


class Faults(Barriers):
    """The part of `World` that breaks things."""

    nodes: dict[str, SimulatedNode]
    schedule: Schedule
    _awaited: dict[str, None]
    """Nodes that are to be started later."""
    _reserved: dict[str, Address]
    """The addresses of nodes that have one, or are going to."""

    def knows(self, name: str) -> bool:
        """Whether there is a node of this name, or is going to be one."""
        return name in self.nodes or name in self._awaited or name in self._reserved

    def crash(self, name: str) -> None:
        """The process dies; its host's kernel closes its sockets."""
        node = self.nodes[name]
        self.note(f"crash {name}")
        node.stop(Life.CRASHED)

    def lose_host(self, name: str) -> None:
        """The whole machine is gone: nothing answers, the kernel neither."""
        host = self.nodes[name].host
        self.note(f"lose host of {name}")
        host.lost = True
        for node in self.nodes.values():
            if node.host is host and node.running:
                node.stop(Life.CRASHED)

    def pause(self, name: str, seconds: float) -> None:
        """The whole process stands still, as under SIGSTOP, while its kernel goes on."""
        self._hinder("pause", name, seconds, SimulatedNode.pause)

    def block_receive(self, name: str, seconds: float) -> None:
        """The process reads nothing; its timers run, and it sends."""
        self._hinder("block receive", name, seconds, SimulatedNode.block_receive)

    def block_send(self, name: str, seconds: float) -> None:
        """Nothing that the process sends gets out for now; its timers run, and it reads."""
        self._hinder("block send", name, seconds, SimulatedNode.block_send)

    def _hinder(
        self, what: str, name: str, seconds: float, how: Callable[[SimulatedNode, float], None]
    ) -> None:
        check_duration("seconds", seconds)
        node = self.nodes[name]
        self.note(f"{what} {name} for {seconds:.3g} s")
        if node.running:  # else it would be the next process that stands still
            how(node, seconds)

    def set_clock_rate(self, name: str, rate: float) -> None:
        """From now on this node's clock gains `rate` seconds in one second."""
        check_positive("rate", rate)
        node = self.nodes[name]
        self.note(f"clock rate {name} {rate:.6g}")
        node.host.clock.set_rate(rate, self.schedule.now)
        node.clock_changed()

    def forge_refusal(self, about: str, *told: str) -> None:
        """An attacker who sees what these send makes them believe that it was refused there.

        (One who does not see it cannot: an ICMP message must quote it.)
        """
        self._check_names([about, *told])
        self.note(f"forge a refusal of {about} for {listed(told)}")
        for name in told:
            node = self.nodes[name]
            if node.running:
                node.input(node.call, node.core.receive_refusal, self.nodes[about].address)

    def reset_streams(self, *names: str) -> None:
        """Something on the way forgets all connections of these, or of all, and resets both ends of them."""
        self._check_names(names)
        self.note(f"reset streams of {listed(names) if names else 'all'}")
        for node in list(self.nodes.values()):
            for stream in list(node.kept.values()):
                if not names or node.name in names or stream.server.name in names:
                    stream.reset()
