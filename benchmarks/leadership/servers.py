"""Three ZooKeeper or etcd servers on loopback, for as long as a block runs; pysyncobj needs none."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.leadership.crew import NAMES
from benchmarks.peers import Absent, Peer
from benchmarks.ports import Ports

__all__ = ["SETTINGS", "open_servers", "why_not"]

SETTINGS = {
    "zookeeper": {"default session, 10 s": 10.0, "shortest session, 4 s": 4.0},
    "etcd": {"TTL 5 s": 5.0, "shortest TTL, 2 s": 2.0},
    "pysyncobj": {"Raft": 0.0},
}
"""What a client asks for: the session's or lease's seconds."""
COUNT = 3
START_SECONDS = 30.0
_TICK_MS = 2_000
_ZOOKEEPER_JAR = Path("/usr/share/java/zookeeper.jar")


def why_not(kind: str) -> Absent | None:
    """None if it is installed."""
    if kind == "zookeeper":
        if not _ZOOKEEPER_JAR.exists() or shutil.which("java") is None:
            return Absent(kind, "its server is not installed", "apt-get install zookeeper")
        if importlib.util.find_spec("kazoo") is None:
            return Absent(kind, "kazoo cannot be imported", "pip install kazoo")
        return None
    if kind == "pysyncobj":
        found = importlib.util.find_spec("pysyncobj") is not None
        return None if found else Absent(kind, "it cannot be imported", "pip install pysyncobj")
    if shutil.which("etcd") is None:
        return Absent(kind, "its server is not installed", "apt-get install etcd-server")
    return None


@contextmanager
def open_servers(kind: str) -> Iterator[list[str]]:
    """Yields their addresses for clients, once they answer. Their data and processes go with the block.

    pysyncobj's clients are its servers: these addresses are their own.
    """
    ports = Ports()
    with ExitStack() as stack:
        stack.callback(ports.close)
        if kind == "pysyncobj":
            first = ports.take(len(NAMES))
            yield [f"127.0.0.1:{first + number}" for number in range(len(NAMES))]
            return
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swim-benchmark-")))
        first = ports.take(3 * COUNT)
        commands = (_zookeeper if kind == "zookeeper" else _etcd)(directory, first)
        log = stack.enter_context((directory / "log").open("wb"))
        for command in commands:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, start_new_session=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
        addresses = [f"127.0.0.1:{first + number}" for number in range(COUNT)]
        deadline = time.monotonic() + START_SECONDS
        while not all(_serves(kind, address) for address in addresses):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{kind} does not start: {(directory / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield addresses


def _zookeeper(directory: Path, first: int) -> list[list[str]]:
    peers = "".join(
        f"server.{number}=127.0.0.1:{first + COUNT + number}:{first + 2 * COUNT + number}\n"
        for number in range(COUNT)
    )
    commands = []
    for number in range(COUNT):
        data = directory / str(number)
        data.mkdir()
        (data / "myid").write_text(str(number))
        settings = f"tickTime={_TICK_MS}\ninitLimit=10\nsyncLimit=5\ndataDir={data}\n"
        settings += (
            f"clientPort={first + number}\nadmin.enableServer=false\n4lw.commands.whitelist=*\n{peers}"
        )
        (data / "zoo.cfg").write_text(settings)
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        commands.append(["java", "-Xmx128m", "-cp", str(_ZOOKEEPER_JAR), main, str(data / "zoo.cfg")])
    return commands


def _etcd(directory: Path, first: int) -> list[list[str]]:
    def url(port: int) -> str:
        return f"http://127.0.0.1:{port}"

    cluster = ",".join(f"s{number}={url(first + COUNT + number)}" for number in range(COUNT))
    commands = []
    for number in range(COUNT):
        client, peer = url(first + number), url(first + COUNT + number)
        options = {
            "name": f"s{number}",
            "data-dir": str(directory / str(number)),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
        }
        commands.append(["etcd", *(f"--{name}={value}" for name, value in options.items())])
    return commands


def _serves(kind: str, address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0) as connection:
            if kind == "zookeeper":
                connection.sendall(b"srvr")
                return b"Mode: " in connection.recv(4096)
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
            return b'"health":"true"' in answer
    except OSError:
        return False


def client(kind: str, servers: list[str], seconds: float) -> Peer:
    """A program that can be started like an agent."""
    command = (sys.executable, "-m", "benchmarks.leadership.clients", kind)
    return Peer(kind, (*command, "--servers", ",".join(servers), "--seconds", str(seconds)), kind)
