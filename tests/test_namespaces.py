"""The network of namespaces in which partitions are made for real: what is cut, what is not, what remains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks import namespaces
from benchmarks.namespaces import Network, open_network

LISTEN = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
    heard.bind(("0.0.0.0", 5000))
    heard.settimeout(float(sys.argv[1]))
    print("ready", flush=True)
    print(heard.recvfrom(100)[0].decode(), flush=True)
"""
SAY = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as said:
    said.sendto(sys.argv[2].encode(), (sys.argv[1], 5000))
"""


@pytest.fixture
def network() -> Iterator[Network]:
    reason = namespaces.why_not()
    if reason is not None:
        pytest.skip(f"{reason} (as root: {namespaces.INSTALL})")
    with open_network(["a", "b", "c"]) as opened:
        yield opened


def heard(network: Network, listener: str, *messages: tuple[str, str], seconds: float = 20.0) -> str:
    """The first of the messages (host, text) that arrives at the listener; nothing if none does in time."""
    command = [*network.command(listener), sys.executable, "-c", LISTEN, str(seconds)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **quiet) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for host, text in messages:
                say = [*network.command(host), sys.executable, "-c", SAY, network.addresses[listener], text]
                subprocess.run(say, check=True, timeout=20)
            return process.stdout.readline().strip()
        finally:
            process.kill()


def test_what_is_cut_is_cut_one_way_until_it_is_healed(network: Network) -> None:
    assert heard(network, "b", ("a", "before")) == "before"
    network.cut([("a", "b"), ("a", "c")])
    assert heard(network, "b", ("a", "lost"), ("c", "from c")) == "from c"
    assert heard(network, "a", ("b", "back")) == "back"
    network.cut([("c", "b")])  # in place of the others
    assert heard(network, "b", ("c", "lost"), ("a", "again")) == "again"
    network.heal()
    assert heard(network, "b", ("c", "healed")) == "healed"


def test_packets_to_one_host_are_lost(network: Network) -> None:
    network.lose("b", 100)
    assert heard(network, "b", ("a", "lost"), seconds=0.5) == ""
    assert heard(network, "a", ("b", "said")) == "said"
    network.lose("b", 0)
    assert heard(network, "b", ("a", "heard")) == "heard"


def test_nothing_remains(network: Network) -> None:
    def spaces() -> str:
        return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout

    with open_network(["x"]) as other:
        space = other.command("x")[3]
        assert space in spaces()
    assert space not in spaces()
    assert network.command("a")[3] in spaces()
