"""How long the answer to a ping takes at most. A process of its own: whoever attacks has other things to do.

    python -m benchmarks.waits HOST PORT PING PID

Asks every 25 ms, with these bytes (in hexadecimal), until standard input ends: to ask more often would be
most of what a node does. Then it says as JSON how long the longest wait was, and the longest without what
either process waited for a core meanwhile (of that process, PID, all threads together).
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["main"]

INTERVAL = 0.025
PATIENCE = 5.0


def waited_for_core(process: str) -> float:
    """Seconds, of all threads since they began (Linux: the second figure of schedstat)."""
    total = 0
    for thread in Path("/proc", process, "task").iterdir():
        with suppress(OSError):  # it has ended
            total += int((thread / "schedstat").read_text(encoding="ascii").split()[1])
    return total / 1e9


def main() -> None:
    host, port, ping, process = sys.argv[1:]
    longest = longest_stall = 0.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, int(port)))
        sock.settimeout(PATIENCE)
        while not select.select([sys.stdin], [], [], INTERVAL)[0]:
            before = waited_for_core(process) + waited_for_core("self")
            begun = time.monotonic()
            with suppress(OSError):  # no answer, or nobody is there any more
                sock.send(bytes.fromhex(ping))
                sock.recv(2_000)
            wait = time.monotonic() - begun
            longest = max(longest, wait)
            with suppress(OSError):
                elsewhere = waited_for_core(process) + waited_for_core("self") - before
                longest_stall = max(longest_stall, wait - elsewhere)
    print(json.dumps({"longest": round(longest, 3), "stall": round(longest_stall, 3)}))


if __name__ == "__main__":
    main()
