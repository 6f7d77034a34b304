"""The faults of a world: what can happen to its nodes, their hosts, and the network between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain

from swim.simulation.checks import check_duration, check_positive, check_share
from swim.simulation.host import Life, SimulatedNode
from swim.simulation.network import Cut, Fabric
from swim.simulation.schedule import Schedule
from swim.types import Address

__all__ = ["Faults"]

_LISTED_MAX = 12


class Faults(ABC):
    """The part of `World` that breaks things."""

    fabric: Fabric
    nodes: dict[str, SimulatedNode]
    schedule: Schedule
    _awaited: dict[str, None]
    """Nodes that are to be started later."""
    _reserved: dict[str, Address]
    """The addresses of nodes that have one, or are going to."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Write a line into the trace."""

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

    def partition(self, *groups: Collection[str], one_way: bool = False) -> list[Cut]:
        """Cut the groups off from each other; a single group, from everybody else.

        One way: nothing passes from an earlier group to a later one.
        """
        for group in groups:
            if isinstance(group, str):
                raise ValueError(f"a group is a collection of names, not {group!r}")
            self._check_names(group)
        self.note(f"partition{' one way' if one_way else ''} {' | '.join(map(_listed, groups))}")
        return self.fabric.partition(groups, one_way)

    def heal(self, cuts: Collection[Cut] | None = None) -> None:
        """End these cuts, or all."""
        self.note("heal")
        self.fabric.cuts = [cut for cut in self.fabric.cuts if cuts is not None and cut not in cuts]

    def set_loss(
        self,
        loss: float | None = None,
        *,
        incoming: Mapping[str, float] | None = None,
        outgoing: Mapping[str, float] | None = None,
        links: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        """Change the loss of all packets, of some nodes in one direction, or of directed links."""
        said = {} if loss is None else {"everywhere": loss}
        said |= {f"to {name}": share for name, share in (incoming or {}).items()}
        said |= {f"from {name}": share for name, share in (outgoing or {}).items()}
        said |= {f"{source} to {target}": share for (source, target), share in (links or {}).items()}
        for what, share in said.items():
            check_share(what, share)
        self._check_names([*(incoming or ()), *(outgoing or ()), *chain.from_iterable(links or ())])
        self.note(f"set loss {', '.join(f'{what} {share:.3g}' for what, share in said.items())}")
        fabric = self.fabric
        fabric.loss = fabric.loss if loss is None else loss
        fabric.incoming.update(incoming or {})
        fabric.outgoing.update(outgoing or {})
        fabric.links.update(links or {})

    def _check_names(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.nodes and name not in self._awaited and name not in self._reserved:
                raise KeyError(f"{name!r} is no node of this world")


def _listed(group: Collection[str]) -> str:
    names = list(group)
    if len(names) <= _LISTED_MAX:
        return ", ".join(names)
    return f"{', '.join(names[:3])} ... {names[-1]} ({len(names)})"
