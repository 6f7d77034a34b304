"""Host names to addresses: where the seeds are, and where others find this node."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

import trio

from swim.errors import JoinError
from swim.runtime.arguments import checked_texts
from swim.runtime.network import Transport
from swim.runtime.sockets.transport import is_wildcard, normal_address
from swim.types import Address
from swim.wire.addresses import DEFAULT_PORT, parse_address

__all__ = ["ELSEWHERE", "Seeds", "advertised_address", "is_loopback", "require_reachable", "resolve_one"]

_RESOLVE_PATIENCE = 5.0
ELSEWHERE = (Address("198.51.100.1", 9), Address("2001:db8::1", 9))
"""Documentation networks (RFC 5737, RFC 3849): no host is there, but they take the default route."""

_logger = logging.getLogger("swim")


class Seeds:
    """Some texts that name nodes, and the addresses that they stood for when last looked up."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Raises ValueError for a text that is not ``host[:port]``."""
        self._parsed = {text: parse_address(text, DEFAULT_PORT) for text in checked_texts("seeds", texts)}
        self._known: dict[str, tuple[Address, ...]] = {}
        self.problems: dict[str, str] = {}
        """What was wrong with the last lookup, for each seed with which something was."""
        self._answered: dict[Address, str] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        """The seeds as they were given."""
        return tuple(self._parsed)

    async def resolve(self, family: socket.AddressFamily) -> tuple[Address, ...]:
        """All addresses of this family of all seeds, looked up afresh and at once, each address once.

        A seed that cannot be looked up now keeps the addresses that it had.
        """
        async with trio.open_nursery() as nursery:
            for text in self._parsed:
                nursery.start_soon(self._look_up, text, family)
        return tuple(dict.fromkeys(address for text in self._parsed for address in self._known.get(text, ())))

    def is_new(self, problem: str, address: Address) -> bool:
        """Is this one of the addresses, and this another problem with it than the last?"""
        known = any(address in addresses for addresses in self._known.values())
        new = known and self._answered.get(address) != problem
        if new:
            self._answered[address] = problem
        return new

    @trio.lowlevel.enable_ki_protection
    async def _look_up(self, text: str, family: socket.AddressFamily) -> None:
        host, port = self._parsed[text]
        problem = f"no answer in {_RESOLVE_PATIENCE:.0f} s"
        with trio.move_on_after(_RESOLVE_PATIENCE):
            try:
                self._known[text] = await _addresses(host, port, family)
                self.problems.pop(text, None)
                return
            except OSError as error:
                problem = error.strerror or str(error)
        if self.problems.get(text) != problem:
            _logger.warning("the seed %s does not resolve: %s", text, problem)
        self.problems[text] = problem

    def describe_problems(self) -> str:
        """One line."""
        return "; ".join(f"{text}: {problem}" for text, problem in self.problems.items())


async def resolve_one(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """The first address of ``host[:port]``; ValueError for anything else, OSError when it is not found."""
    host, port = parse_address(text, default_port)
    try:
        return (await _addresses(host, port, socket.AF_UNSPEC))[0]
    except OSError as error:
        raise OSError(error.errno, f"{text!r} does not resolve: {error.strerror or error}") from error


async def advertised_address(text: str | None, transport: Transport, seeds: Sequence[Address]) -> Address:
    """Where others find this node: what it was told, else where it is bound.

    Bound to a wildcard it is the local end of the route to a seed, or else of the default route:
    a wildcard is never advertised.
    """
    bound = transport.address
    if text is not None:
        found = await resolve_one(text, bound.port)
        if is_wildcard(found.host):
            raise ValueError(
                f"advertise={text!r} is a wildcard: name the address where others reach this node"
            )
        return found if found.port else Address(found.host, bound.port)
    if not is_wildcard(bound.host):
        return bound
    # A seed on another machine first: others than this one must reach this node too.
    for target in (*sorted(seeds, key=lambda seed: is_loopback(seed.host)), *ELSEWHERE):
        if transport.reaches(target):
            host = transport.route_source(target)
            if host is not None:
                return Address(host, bound.port)
    return Address("::1" if transport.family == socket.AF_INET6 else "127.0.0.1", bound.port)


def require_reachable(advertised: Address, targets: Iterable[Address]) -> None:
    """Raises JoinError when a node that only this machine can reach is to join others."""
    if not is_loopback(advertised.host):
        return
    for target in targets:
        if not is_loopback(target.host):
            raise JoinError(
                f"this node advertises {advertised}, which other machines cannot reach, but {target} is not "
                "on loopback: bind to an address of the network, or set `advertise` to one"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    return ip_address(host).is_loopback


async def _addresses(host: str, port: int, family: socket.AddressFamily) -> tuple[Address, ...]:
    try:
        found = await trio.socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"not a host name ({error})") from error
    return tuple(dict.fromkeys(normal_address(entry[4]) for entry in found))
