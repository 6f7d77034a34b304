"""The life of a node, around what the application does with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from swim.protocol.node import Phase
from swim.runtime.driver import Driver
from swim.runtime.nurseries import unwrapped_nursery
from swim.types import Address

__all__ = ["running"]


@asynccontextmanager
async def running(driver: Driver, seed_addresses: tuple[Address, ...]) -> AsyncIterator[None]:
    """Run the driver around the body, from member to farewell.

    The body unwinds first, then the node leaves, whatever the reason. Errors come out as themselves. Where
    the node has failed, that is the error: that the cluster is closed, as the body may have found out in the
    same instant, is no second one.
    """
    failed = False
    try:
        async with unwrapped_nursery() as nursery:
            nursery.start_soon(driver.run, seed_addresses)
            try:
                await driver.until(lambda: driver.node.phase is Phase.MEMBER)
                yield
            finally:
                with trio.CancelScope(shield=True):
                    await driver.leave()
                driver.stop()
    except BaseExceptionGroup as group:
        failed = group.split(lambda error: _follows(error, driver.node.failure))[1] is None
        if not failed:
            raise
    finally:
        driver.close()
    if failed and driver.node.failure is not None:
        raise driver.node.failure  # outside of the handler, so that it keeps its own context


def _follows(error: BaseException, failure: BaseException | None) -> bool:
    """Is it the failure of the node, or does it say no more than that there was one?"""
    closed = isinstance(error, trio.ClosedResourceError | trio.Cancelled)
    return failure is not None and (error is failure or closed)
