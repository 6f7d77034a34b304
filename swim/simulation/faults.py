"""The faults of a world: what can happen to its nodes, their hosts, and the network between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain

from swim.simulation.checks import check_duration, check_positive, check_share
from swim.simulation.host import Life, SimulatedNode
from swim.simulation.network import Cut, Fabric, Protocol, Refusal
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
        self._check_groups(groups)
        self.note(f"partition{' one way' if one_way else ''} {' | '.join(map(_listed, groups))}")
        return self.fabric.cut(groups, one_way)

    def block(self, protocol: str, *groups: Collection[str], one_way: bool = False) -> list[Cut]:
        """Drop all "udp", or all "tcp", between the groups as in a partition; without groups, everywhere."""
        self._check_groups(groups)
        self.note(f"block {protocol}{' one way' if one_way else ''} {' | '.join(map(_listed, groups))}")
        return self.fabric.cut(groups, one_way, Protocol(protocol))

    def reject(self, *names: str, protocol: str | None = None, resets: bool = False) -> list[Cut]:
        """The firewalls of these hosts refuse what comes in: all of it, or only "udp" or "tcp".

        They say so by ICMP; with `resets`, of TCP by resets, which end connections.
        """
        self._check_names(names)
        self.note(f"reject {protocol or 'all'}{' by resets' if resets else ''} at {_listed(names)}")
        kind = None if protocol is None else Protocol(protocol)
        refusal = Refusal(by_router=False, resets=resets)
        return [self.fabric.wall(name, kind, refusal) for name in names]

    def reject_between(
        self, *groups: Collection[str], protocol: str | None = None, resets: bool = False
    ) -> list[Cut]:
        """A router refuses what is sent between the groups, as a host's firewall does in `reject`.

        It says so in its own name, and by resets in the names of the others.
        """
        self._check_groups(groups)
        by = " by resets" if resets else ""
        self.note(f"reject {protocol or 'all'}{by} between {' | '.join(map(_listed, groups))}")
        kind = None if protocol is None else Protocol(protocol)
        return self.fabric.cut(groups, False, kind, refusal=Refusal(by_router=True, resets=resets))

    def set_size_max(self, size: int, *groups: Collection[str]) -> list[Cut]:
        """Drop all packets of more bytes, with their headers, without a word, as in `block`."""
        self._check_groups(groups)
        check_positive("size", size)
        self.note(f"size max {size} {' | '.join(map(_listed, groups))}")
        return self.fabric.cut(groups, False, size_max=size)

    def forge_refusal(self, about: str, *told: str) -> None:
        """Somebody who sees what these send makes them believe that it was refused there.

        (Whoever does not see it cannot: an ICMP message must quote it.)
        """
        self._check_names([about, *told])
        self.note(f"forge a refusal of {about} for {_listed(told)}")
        for name in told:
            node = self.nodes[name]
            if node.running:
                node.input(node.call, node.core.receive_refusal, self.nodes[about].address)

    def reset_streams(self, *names: str) -> None:
        """Something on the way forgets all connections of these, or of all, and resets both ends of them."""
        self._check_names(names)
        self.note(f"reset streams of {_listed(names) if names else 'all'}")
        for node in list(self.nodes.values()):
            for stream in list(node.kept.values()):
                if not names or node.name in names or stream.server.name in names:
                    stream.reset()

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

    def _check_groups(self, groups: Iterable[Collection[str]]) -> None:
        for group in groups:
            if isinstance(group, str):
                raise ValueError(f"a group is a collection of names, not {group!r}")
            self._check_names(group)

    def _check_names(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.nodes and name not in self._awaited and name not in self._reserved:
                raise KeyError(f"{name!r} is no node of this world")


def _listed(group: Collection[str]) -> str:
    names = list(group)
    if len(names) <= _LISTED_MAX:
        return ", ".join(names)
    return f"{', '.join(names[:3])} ... {names[-1]} ({len(names)})"
