"""The faults of a network: what does not pass between machines that are known by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from itertools import chain

from swim.simulation.checks import check_positive, check_share
from swim.simulation.network import Cut, Fabric, Protocol, Refusal

__all__ = ["Barriers", "listed"]

_LISTED_MAX = 12


class Barriers(ABC):
    """The part of a world that breaks its network."""

    fabric: Fabric

    @abstractmethod
    def note(self, text: str) -> None:
        """Write a line into the trace."""

    @abstractmethod
    def knows(self, name: str) -> bool:
        """Whether there is a node of this name, or is going to be one."""

    def partition(self, *groups: Collection[str], one_way: bool = False) -> list[Cut]:
        """Cut the groups off from each other; a single group, from all others.

        One way: nothing passes from an earlier group to a later one.
        """
        self._check_groups(groups)
        self.note(f"partition{' one way' if one_way else ''} {' | '.join(map(listed, groups))}")
        return self.fabric.cut(groups, one_way)

    def block(self, protocol: str, *groups: Collection[str], one_way: bool = False) -> list[Cut]:
        """Drop all "udp", or all "tcp", between the groups as in a partition; without groups, everywhere."""
        self._check_groups(groups)
        self.note(f"block {protocol}{' one way' if one_way else ''} {' | '.join(map(listed, groups))}")
        return self.fabric.cut(groups, one_way, Protocol(protocol))

    def reject(self, *names: str, protocol: str | None = None, resets: bool = False) -> list[Cut]:
        """The firewalls of these hosts refuse what comes in: all of it, or only "udp" or "tcp".

        They say so by ICMP; with `resets`, of TCP by resets, which end connections.
        """
        self._check_names(names)
        self.note(f"reject {protocol or 'all'}{' by resets' if resets else ''} at {listed(names)}")
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
        self.note(f"reject {protocol or 'all'}{by} between {' | '.join(map(listed, groups))}")
        kind = None if protocol is None else Protocol(protocol)
        return self.fabric.cut(groups, False, kind, refusal=Refusal(by_router=True, resets=resets))

    def set_size_max(self, size: int, *groups: Collection[str]) -> list[Cut]:
        """Drop all packets of more bytes, with their headers, without a word, as in `block`."""
        self._check_groups(groups)
        check_positive("size", size)
        self.note(f"size max {size} {' | '.join(map(listed, groups))}")
        return self.fabric.cut(groups, False, size_max=size)

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
            if not self.knows(name):
                raise KeyError(f"{name!r} is no node of this world")


def listed(group: Collection[str]) -> str:
    """Their names, for people; of many only some."""
    names = list(group)
    if len(names) <= _LISTED_MAX:
        return ", ".join(names)
    return f"{', '.join(names[:3])} ... {names[-1]} ({len(names)})"
