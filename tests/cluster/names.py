"""A name service for tests."""

from __future__ import annotations

import socket
from typing import Any

import trio

__all__ = ["Names"]


class Names(trio.abc.HostnameResolver):
    """A name service of a few names; each lookup is counted."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.asked: list[str] = []
        self.silent: set[str] = set()

    async def getaddrinfo(self, host: Any, port: Any, family: int = 0, *args: Any, **kwargs: Any) -> Any:
        await trio.lowlevel.checkpoint()
        name = host.decode()
        self.asked.append(name)
        if name in self.silent:
            await trio.sleep_forever()
        found = [
            (kind, socket.SOCK_STREAM, 6, "", (text, port))
            for text in self.names.get(name, ())
            for kind in (socket.AF_INET6 if ":" in text else socket.AF_INET,)
            if family in (0, kind)
        ]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError
