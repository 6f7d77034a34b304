"""Changing the voters of a running cluster: asked of its leader, whichever member is asked first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from swim.errors import VotersError
from swim.protocol.changing import read_state, request_for
from swim.types import Address
from swim.wire import Codec, DecodeError
from swim.wire.addresses import parse_address
from swim.wire.messages import ErrorMessage, StreamMessage, UserMessage

__all__ = ["ask_at", "change_voters"]

_AGAIN_S = 0.1
_HOPS_MAX = 8

Ask = Callable[[Address, bytes], Awaitable[StreamMessage | None]]


async def change_voters(ask: Ask, address: Address, voters: Sequence[str]) -> tuple[str, ...]:
    """Have the voters changed to these; returns them when a majority of them has granted that.

    Waits for a leader, for ever if need be. Raises `VotersError`.
    """
    requested, hops = False, 0
    first = address
    while True:
        request = request_for()
        state = await _state(ask, address, request)
        leader = state.get("l")
        if not state.get("me"):
            hops += 1
            if isinstance(leader, str) and leader and hops <= _HOPS_MAX:
                address = Address(*parse_address(leader))
            else:
                address, hops = first, 0
                await trio.sleep(_AGAIN_S)
            continue
        current = tuple(state.get("v") or ())
        if current == tuple(voters) and not state.get("o"):
            return current
        if requested and not state.get("o"):
            raise VotersError("the leader changed in the middle, and nothing was changed: ask again")
        if not requested and not state.get("o"):
            answer = await _state(ask, address, request_for(voters, state.get("c", b""), state.get("t", b"")))
            if answer.get("e"):
                raise VotersError(str(answer["e"]))
            requested = True
        await trio.sleep(_AGAIN_S)


async def _state(ask: Ask, address: Address, request: bytes) -> dict[str, Any]:
    message = await ask(address, request)
    state = read_state(message.payload) if isinstance(message, UserMessage) else None
    if state is None:
        reason = message.text if isinstance(message, ErrorMessage) else "something else answered"
        raise VotersError(f"{address}: no member of a cluster with voters ({reason})")
    return state


async def ask_at(address: Address, payload: bytes, codec: Codec) -> StreamMessage | None:
    """One request to the node at this address, and its answer. Raises `VotersError`."""
    try:
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            decoder = codec.stream_decoder(answering=True)
            await stream.send_all(codec.stream(UserMessage(payload)))
            async for data in stream:
                message = decoder.feed(bytes(data))
                if message is not None:
                    return message
    except (OSError, trio.BrokenResourceError) as error:
        raise VotersError(f"{address} cannot be asked: {error}") from None
    except DecodeError as error:
        raise VotersError(f"the answer of {address} cannot be read: {error}") from None
    raise VotersError(f"{address} closed the connection: are the key and the label right?")
