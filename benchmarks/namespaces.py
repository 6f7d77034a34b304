"""A network of namespaces on one bridge, each a host of its own, in which packets can be cut off.

    with open_network(["a", "b"]) as network:
        subprocess.Popen([*network.command("a"), "python", ...])   # as if on host a
        network.cut([("a", "b")])                                  # what a sends does not reach b
        network.heal()

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
    """Made by `open_network`."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        self.addresses = {host: f"10.83.0.{number}" for number, host in enumerate(hosts, 1)}

    def command(self, host: str) -> tuple[str, ...]:
        """What to put in front of a command to run it on this host; the process is the command's own."""
        return ("ip", "netns", "exec", self._space(host))

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """From now on nothing that the first of a pair sends reaches the second, without a word to either.

        All pairs at one instant; whatever was cut before is healed.
        """
        flows = ", ".join(f"{self.addresses[one]} . {self.addresses[other]}" for one, other in pairs)
        rules = f"ip saddr . ip daddr {{ {flows} }} drop" if flows else ""
        hook = "type filter hook forward priority 0;"
        table = f"table bridge swim {{\nchain cut {{\n{hook}\n{rules}\n}}\n}}\n"
        # Both lines are one transaction. The first makes the second possible where there is no table yet.
        text = f"add table bridge swim\ndelete table bridge swim\n{table}"
        _run("ip", "netns", "exec", self._space("hub"), "nft", "-f", "-", text=text)

    def lose(self, host: str, percent: int) -> None:
        """From now on so many of all packets that reach this host, its own too, are lost, each by chance."""
        rule = {0: "", 100: "drop"}.get(percent, f"numgen random mod 100 < {percent} drop")
        table = f"table inet swim {{\nchain lose {{\ntype filter hook input priority 0;\n{rule}\n}}\n}}\n"
        text = f"add table inet swim\ndelete table inet swim\n{table}"
        _run("ip", "netns", "exec", self._space(host), "nft", "-f", "-", text=text)

    def heal(self) -> None:
        """Let everything through again."""
        self.cut([])

    def _space(self, host: str) -> str:
        return f"{self._name}-{host}"

    def _build(self) -> None:
        hub = self._space("hub")
        _run("ip", "netns", "add", hub)
        _run("ip", "-n", hub, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", hub, "link", "set", "bridge", "up")
        for number, (host, address) in enumerate(self.addresses.items(), 1):
            space = self._space(host)
            _run("ip", "netns", "add", space)
            port = f"port{number}"
            pair = ("type", "veth", "peer", "name", "eth0", "netns", space)
            _run("ip", "-n", hub, "link", "add", port, *pair)
            _run("ip", "-n", hub, "link", "set", port, "master", "bridge", "up")
            _run("ip", "-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            _run("ip", "-n", space, "link", "set", "eth0", "up")
            _run("ip", "-n", space, "link", "set", "lo", "up")

    def _remove(self) -> None:
        for host in ("hub", *self.addresses):
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
