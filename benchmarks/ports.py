"""Loopback ports that nobody else takes: outside the kernel's ephemeral range, held against other drivers."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Ports"]

HOST = "127.0.0.1"
BLOCK = 16
ATTEMPTS_MAX = 2_000


class Ports:
    """Hands out ranges of consecutive ports, free for TCP and UDP, each once.

    An abstract Unix socket per block of 16 ports keeps drivers that run at the same time apart; the kernel
    lets go of it when we end, however we end.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()
        self._held: dict[int, socket.socket] = {}
        self._low, self._high = _range()

    def take(self, count: int = 1) -> int:
        """The first of `count` consecutive ports."""
        blocks = -(-count // BLOCK)
        first, last = self._low // BLOCK + 1, self._high // BLOCK - blocks
        for _ in range(ATTEMPTS_MAX):
            wanted = range(start := self._rng.randint(first, last), start + blocks)
            if not self._hold(wanted):
                continue
            port = start * BLOCK
            if all(_is_free(p) for p in range(port, port + count)):
                return port
            self._let_go(wanted)
        raise RuntimeError(f"no {count} free ports in a row between {self._low} and {self._high}")

    def close(self) -> None:
        """Let others use the ports."""
        self._let_go(list(self._held))

    def _hold(self, blocks: range) -> bool:
        taken = []
        for block in blocks:
            if block in self._held:
                break
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                lock.bind(f"\0trio-swim-ports-{block}")
            except OSError:
                lock.close()
                break
            self._held[block] = lock
            taken.append(block)
        else:
            return True
        self._let_go(taken)
        return False

    def _let_go(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            self._held.pop(block).close()


def _range() -> tuple[int, int]:
    """Ports that the kernel never gives to outgoing connections, below its range or above it."""
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
        low, high = (int(word) for word in text.split())
    except OSError:
        low, high = 32_768, 60_999
    return (20_000, low) if low >= 22_000 else (high, 65_535)


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:  # connections of former runs in TIME_WAIT do no harm
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
    return True
