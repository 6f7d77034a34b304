"""A client of ZooKeeper or etcd, or a node of pysyncobj, that runs a function while it leads and tells of it.

    python -m benchmarks.leadership.clients zookeeper --servers HOST:PORT,.. --seconds 10 --name n0
    python -m benchmarks.leadership.clients etcd --servers HOST:PORT,.. --seconds 5 --name n0
    python -m benchmarks.leadership.clients pysyncobj --servers HOST:PORT,.. --seconds 0 --name n0

As their documentation has it: kazoo's `Election.run`; etcd's election service, with a thread that keeps the
lease alive and stops the function when it cannot; pysyncobj's nodes (Raft, `--servers` are they themselves),
which are asked before each tick whether they lead. SIGTERM ends the function, gives leadership up, and exits.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.leadership.crew import NAMES

__all__ = ["main"]

TICK_SECONDS = 0.02
ELECTION = "swim-benchmark"
REQUEST_SECONDS = 10.0


class Client:
    """What both have in common: lines, and the function."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopping = threading.Event()
        self._lock = threading.Lock()

    def say(self, event: str, **fields: Any) -> None:
        line = json.dumps({"t": time.monotonic(), "node": self.name, "event": event, **fields})
        with self._lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def function(self, token: str, lost: Callable[[], bool]) -> None:
        """Act as leader until told to stop."""
        self.say("leading", on=True, token=token)
        while not self.stopping.is_set() and not lost():
            self.say("tick", token=token)
            time.sleep(TICK_SECONDS)
        self.say("leading", on=False, token=token)


def zookeeper(client: Client, servers: Sequence[str], seconds: float) -> None:
    """kazoo never interrupts the function; here it asks nobody, as in kazoo's documentation."""
    from kazoo.client import KazooClient

    kazoo = KazooClient(hosts=",".join(servers), timeout=seconds)
    kazoo.start()
    client.say("bound", address=client.name)
    election = kazoo.Election(f"/{ELECTION}", client.name)
    stop = threading.Thread(target=lambda: (client.stopping.wait(), election.cancel()), daemon=True)
    stop.start()
    while not client.stopping.is_set():
        election.run(lambda: client.function(f"{kazoo.last_zxid:020}", lambda: False))
    kazoo.stop()
    kazoo.close()


class Etcd:
    """The JSON gateway of one etcd server."""

    def __init__(self, server: str) -> None:
        self._server = server

    def __call__(self, path: str, seconds: float | None = REQUEST_SECONDS, **fields: Any) -> dict[str, Any]:
        """Raises OSError (also for time-outs) and ValueError (for a refusal)."""
        connection = http.client.HTTPConnection(self._server, timeout=seconds)
        try:
            connection.request("POST", f"/v3/{path}", json.dumps(fields))
            found: dict[str, Any] = json.loads(connection.getresponse().read())
        except http.client.HTTPException as error:
            raise ValueError(str(error)) from error
        finally:
            connection.close()
        if "error" in found:
            raise ValueError(found["error"])
        return found


def etcd(client: Client, servers: Sequence[str], seconds: float) -> None:
    """A lease, a candidacy bound to it, and a thread that keeps the lease alive."""
    ask = Etcd(random.choice(servers))
    client.say("bound", address=client.name)
    text = base64.b64encode
    while not client.stopping.is_set():
        lease = ask("lease/grant", TTL=int(seconds))["ID"]
        lost = threading.Event()
        threading.Thread(target=_keep_alive, args=(ask, lease, lost, seconds, client), daemon=True).start()
        try:
            won = ask(
                "election/campaign",
                None,
                name=text(ELECTION.encode()).decode(),
                lease=lease,
                value=text(client.name.encode()).decode(),
            )["leader"]
        except (OSError, ValueError):
            continue
        client.function(f"{int(won['rev']):020}", lost.is_set)
        if not lost.is_set():
            ask("election/resign", leader=won)


def _keep_alive(ask: Etcd, lease: str, lost: threading.Event, seconds: float, client: Client) -> None:
    while not lost.is_set():
        time.sleep(seconds / 3)
        try:
            if int(ask("lease/keepalive", ID=lease)["result"].get("TTL", 0)) <= 0:
                lost.set()
        except (OSError, ValueError):
            lost.set()


def pysyncobj(client: Client, nodes: Sequence[str], seconds: float) -> None:
    """A node of a Raft cluster with fixed members; `seconds` means nothing to it."""
    from pysyncobj import SyncObj

    mine = nodes[NAMES.index(client.name)]
    raft = SyncObj(mine, [node for node in nodes if node != mine])
    client.say("bound", address=mine)
    while not client.stopping.is_set():
        if raft._isLeader():  # its only way to ask
            client.function(f"{raft.raftCurrentTerm:020}", lambda: not raft._isLeader())
        time.sleep(TICK_SECONDS / 4)
    raft.destroy()


KINDS: dict[str, Callable[[Client, Sequence[str], float], None]] = {
    "zookeeper": zookeeper,
    "etcd": etcd,
    "pysyncobj": pysyncobj,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--servers", required=True)
    parser.add_argument("--seconds", type=float, required=True, help="of the session, or of the lease")
    parser.add_argument("--name", required=True)
    args, _ = parser.parse_known_args()  # the fleet's other options are for members of a cluster
    client = Client(args.name)
    signal.signal(signal.SIGTERM, lambda *_: client.stopping.set())
    worker = threading.Thread(
        target=KINDS[args.kind], args=(client, args.servers.split(","), args.seconds), daemon=True
    )
    worker.start()
    while worker.is_alive() and not client.stopping.is_set():
        worker.join(0.01)
    worker.join(2.0)  # one that still waits to be elected has nothing to give up
    return 0


if __name__ == "__main__":
    sys.exit(main())
