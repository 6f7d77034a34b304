"""The network of namespaces in which partitions are made for real: what is cut, what is not, what remains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
def network(may_build_networks: None) -> Iterator[Network]:
    with open_network(["a", "b", "c"]) as opened:
        yield opened


def heard(network: Network, listener: str, *messages: tuple[str, str], seconds: float = 20.0) -> str:
    """The first of the messages (host, text) that arrives at the listener; nothing if none does in time."""
    command = [*network.command(listener), sys.executable, "-c", LISTEN, str(seconds)]
    quiet: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
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


REFUSED = """
import errno, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as said:
    said.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    said.settimeout(5)
    try:
        said.sendto(b"?", (sys.argv[1], 5000))
        said.recv(100)
    except OSError as error:
        print(errno.errorcode.get(error.errno, error), end=" ")
    _, [(_, _, content)], _, _ = said.recvmsg(0, 512, socket.MSG_ERRQUEUE)
    print(socket.inet_ntoa(content[20:24]))
"""


def refused(network: Network, source: str, target: str) -> list[str]:
    """What a datagram meets: the error, and who sent the ICMP message."""
    command = [*network.command(source), sys.executable, "-c", REFUSED, network.addresses[target]]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()


def test_a_firewall_refuses_in_the_name_of_its_host_and_a_router_in_its_own(network: Network) -> None:
    network.firewall("b", incoming="meta l4proto udp reject")
    assert refused(network, "a", "b") == ["ECONNREFUSED", network.addresses["b"]]
    network.heal()
    network.route(*network.between([("a", "b")], "reject"))
    error, offender = refused(network, "a", "b")
    assert error == "ECONNREFUSED"
    assert offender not in network.addresses.values()
    network.heal()
    assert heard(network, "b", ("a", "again")) == "again"


def test_what_a_host_must_not_send_is_refused_to_itself(network: Network) -> None:
    network.firewall("a", outgoing="meta l4proto udp reject")
    assert refused(network, "a", "b")[1:] == [network.addresses["a"]]


def test_a_host_moves_to_another_address(network: Network) -> None:
    before = network.addresses["b"]
    network.readdress("b")
    assert network.addresses["b"] != before
    assert heard(network, "b", ("a", "here")) == "here"
    assert heard(network, "a", ("b", "from there")) == "from there"


TALK = """
import socket, sys
with socket.create_connection((sys.argv[1], 5000)) as stream:
    for _ in range(2):
        stream.sendall(sys.stdin.readline().encode())
        stream.settimeout(float(sys.argv[2]))
        try:
            print(stream.recv(100).decode() or "ended", flush=True)
        except OSError as error:
            print(type(error).__name__, flush=True)
"""
ECHO = """
import socket
with socket.create_server(("0.0.0.0", 5000)) as server:
    print("ready", flush=True)
    with server.accept()[0] as stream:
        while data := stream.recv(100_000):
            stream.sendall(data)
"""


def conversation(network: Network, fault: Callable[[], None], text: str, seconds: float = 5.0) -> str:
    """What comes of a text on a connection that was there before the fault."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([*network.command("b"), sys.executable, "-c", ECHO], text=True, **pipes)
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        talk = [*network.command("a"), sys.executable, "-c", TALK, network.addresses["b"], str(seconds)]
        with subprocess.Popen(talk, text=True, **pipes) as client:
            try:
                assert client.stdin is not None
                assert client.stdout is not None
                client.stdin.write("hello\n")
                client.stdin.flush()
                assert client.stdout.readline() == "hello\n"
                client.stdout.readline()
                fault()
                client.stdin.write(f"{text}\n")
                client.stdin.flush()
                return client.stdout.readline().strip()
            finally:
                client.kill()
                server.kill()


def test_a_firewall_that_forgot_its_connections_resets_them(network: Network) -> None:
    forgot = "ct state established,related accept\nmeta l4proto tcp reject with tcp reset\nreject"

    def fault() -> None:
        network.firewall("b", incoming=forgot)

    assert conversation(network, fault, "there?") == "ConnectionResetError"


@pytest.mark.parametrize(("size", "answer"), [(1_000, "x" * 100), (3_000, "TimeoutError")])
def test_large_packets_vanish(network: Network, size: int, answer: str) -> None:
    def fault() -> None:
        network.route("ip length > 1280 drop")

    assert conversation(network, fault, "x" * size, 1.0) == answer
