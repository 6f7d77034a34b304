"""Ctrl-C and SIGTERM as cancellation: whatever is open is closed properly."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def unless_signalled(function: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T | None:
    """What the function returns; None if a signal came first, and then it has been cancelled."""
    result = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def wait_for_signal() -> None:
                await anext(signals)
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait_for_signal)
            result = await function(*arguments)
            nursery.cancel_scope.cancel()
    return result
