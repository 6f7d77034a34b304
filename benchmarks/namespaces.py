"""Hosts that are network namespaces around one router, with firewalls: packets are cut off, refused or lost.

    with open_network(["a", "b"]) as network:
        subprocess.Popen([*network.command("a"), "python", ...])   # as if on host a
        network.cut([("a", "b")])                                  # what a sends does not reach b
        network.firewall("b", incoming="meta l4proto udp reject")  # b refuses all datagrams
        network.heal()

Every packet between two hosts passes the router, at which the path has a hop more: what the router refuses is
refused by another than the destination. Packets have at most 1,500 bytes, as on a real wire.

Needs root, `ip` and `nft`. Everything is made here and removed at the end of the block; nothing outside of
these namespaces is touched. CLOCK_MONOTONIC is the same in all of them.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["INSTALL", "Network", "open_network", "skipped", "why_not"]

INSTALL = "apt-get install nftables iproute2"
_PREFIX = "swim"
_SECONDS = 20.0
_GATEWAY = "10.83.255.254"
_numbers = itertools.count()


def why_not() -> str | None:
    """Why there can be no namespaces here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [command for command in ("ip", "nft") if shutil.which(command) is None]
    if missing:
        return f"{' and '.join(missing)} not found"
    try:
        with open_network(["a", "b"]) as network:
            network.cut([("a", "b")])
    except subprocess.CalledProcessError as error:
        return f"network namespaces do not work here: {' '.join(error.stderr.split())}"
    return None


def skipped(what: str, reason: str) -> str:
    """What is told of a scenario that is left out, as `why_not` says."""
    return f"{what} is skipped: {reason}; it takes root and: {INSTALL}"


def _run(*command: str, text: str | None = None) -> None:
    subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=_SECONDS)


class Network:
    """Made by `open_network`. Rules are written in nft's language."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        self._spare = itertools.count(1)
        self.addresses = {host: f"10.83.0.{number}" for number, host in enumerate(hosts, 1)}
        self._ports = {host: f"port{number}" for number, host in enumerate(hosts, 1)}
        self._walled: dict[str, None] = {}

    def command(self, host: str) -> tuple[str, ...]:
        """What to put in front of a command to run it on this host; the process is the command's own."""
        return ("ip", "netns", "exec", self._space(host))

    # --- what the router does
    def route(self, *rules: str) -> None:
        """From now on the router applies these rules to what it passes on, and none that it had before."""
        self._filter("router", {"forward": rules})

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """From now on nothing that the first of a pair sends reaches the second, without a word to either.

        All pairs at one instant; whatever the router did before is over.
        """
        self.route(*self.between(pairs, "drop"))

    def between(self, pairs: Iterable[tuple[str, str]], rule: str) -> tuple[str, ...]:
        """A rule for the router, about what the first of a pair sends to the second."""
        flows = ", ".join(f"{self.addresses[one]} . {self.addresses[other]}" for one, other in pairs)
        return (f"ip saddr . ip daddr {{ {flows} }} {rule}",) if flows else ()

    # --- what a host's own firewall does
    def firewall(self, host: str, *, incoming: str = "", outgoing: str = "") -> None:
        """From now on the host applies these rules, one a line, and none that it had before.

        Rules that look at connections (`ct state`) know of none that began before: a firewall that forgot.
        """
        self._walled[host] = None
        self._filter(host, {"input": (incoming,), "output": (outgoing,)})

    def lose(self, host: str, percent: int) -> None:
        """From now on so many of all packets that reach this host, its own too, are lost, each by chance."""
        self.firewall(
            host, incoming={0: "", 100: "drop"}.get(percent, f"numgen random mod 100 < {percent} drop")
        )

    def heal(self) -> None:
        """Let everything through again, at all hosts."""
        self.route()
        for host in self._walled:
            self._filter(host, {})
        self._walled.clear()

    def _filter(self, host: str, chains: dict[str, Sequence[str]]) -> None:
        made = [
            f"chain {hook} {{\ntype filter hook {hook} priority 0;\n" + "\n".join(rules) + "\n}\n"
            for hook, rules in chains.items()
            if any(rules)
        ]
        # One transaction. Its first line makes the second possible where there is no table yet.
        table = f"add table ip swim\ndelete table ip swim\ntable ip swim {{\n{''.join(made)}}}\n"
        _run(*self.command(host), "nft", "-f", "-", text=table)

    # --- where a host is
    def readdress(self, host: str) -> None:
        """From now on the host has another address, and the one that it had is nobody's."""
        old, new = self.addresses[host], f"10.83.1.{next(self._spare)}"
        port = self._ports[host]
        self._ip(host, f"address add {new}/32 dev eth0", f"address del {old}/32 dev eth0")
        self._ip("router", f"route add {new}/32 dev {port}", f"route del {old}/32 dev {port}")
        self.addresses[host] = new

    # --- making and removing
    def _space(self, host: str) -> str:
        return f"{self._name}-{host}"

    def _ip(self, host: str | None, *commands: str) -> None:
        space = () if host is None else ("-n", self._space(host))
        _run("ip", *space, "-batch", "-", text="\n".join(commands) + "\n")

    def _build(self) -> None:
        hosts = ("router", *self.addresses)
        self._ip(None, *(f"netns add {self._space(host)}" for host in hosts))
        for host, address in self.addresses.items():
            port = self._ports[host]
            self._ip(
                "router",
                f"link add {port} type veth peer name eth0 netns {self._space(host)}",
                f"address add {_GATEWAY}/32 dev {port}",
                # One packet at a time: else segments would pass the rules in heaps of up to 64 KiB.
                f"link set {port} gso_max_segs 1 up",
                f"route add {address}/32 dev {port}",
            )
            self._ip(
                host,
                "link set lo up",
                f"address add {address}/32 dev eth0",
                "link set eth0 gso_max_segs 1 up",
                f"route add default via {_GATEWAY} dev eth0 onlink",
            )
        self._set("router", "net.ipv4.ip_forward", 1)
        for host in self.addresses:
            self._set(host, "net.netfilter.nf_conntrack_tcp_loose", 0)

    def _set(self, host: str, name: str, value: int) -> None:
        path = f"/proc/sys/{name.replace('.', '/')}"
        # Not there without the module for connections, which only few rules need.
        _run(*self.command(host), "sh", "-c", f"[ ! -e {path} ] || echo {value} > {path}")

    def _remove(self) -> None:
        for host in ("router", *self.addresses):
            subprocess.run(
                ["ip", "netns", "delete", self._space(host)],
                check=False,
                capture_output=True,
                timeout=_SECONDS,
            )


@contextmanager
def open_network(hosts: Sequence[str]) -> Iterator[Network]:
    """The hosts can reach each other at `Network.addresses`."""
    network = Network(hosts)
    try:
        network._build()
        yield network
    finally:
        network._remove()
