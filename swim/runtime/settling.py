"""Waiting until all members have the newest tags of a node."""

from __future__ import annotations

import trio

from swim.runtime.driver import Driver

__all__ = ["wait_settled"]

_INTERVAL_S = 0.02


async def wait_settled(driver: Driver) -> None:
    """See `Cluster.settled`."""
    settling = driver.node.settling
    newest = settling.newest
    await trio.lowlevel.checkpoint()
    while True:
        driver.require_open()
        known = settling.look(newest, driver.now())
        driver.settle()
        if known:
            return
        await trio.sleep(_INTERVAL_S)
