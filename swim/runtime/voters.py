"""Changing the voters of a running cluster: asked of its leader, whichever member is asked first."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any

import trio

from swim.errors import VotersError
from swim.protocol.leadership.changing import read_state, request_for
from swim.runtime.network import Connection, Traffic
from swim.runtime.sockets.connections import SocketConnection
from swim.types import Address
from swim.wire import Codec, DecodeError
from swim.wire.addresses import parse_address
from swim.wire.messages import ErrorMessage, StreamMessage, UserMessage

__all__ = ["ask_at", "change_voters"]

_AGAIN_S = 0.1
_HOPS_MAX = 8
"""From one member to the leader that it names, and on, before the first is asked again."""
_SILENCE_MAX = 15.0
"""Seconds for which a leader may be silent: the member that was asked first will know the next one."""
_ANSWER_PATIENCE = 10.0
"""Seconds for one request from outside: a node answers at once, or not at all."""
_KINDS = {"v": list, "c": bytes, "l": str, "t": bytes, "e": str}
"""Of what the answer says; see `Changing.answer`."""

Ask = Callable[[Address, bytes], Awaitable[StreamMessage | None]]


async def change_voters(ask: Ask, address: Address, voters: Sequence[str]) -> tuple[str, ...]:
    """Have the voters changed to these; returns them when a majority of them has granted that.

    Waits for a leader, for ever if need be. Raises `VotersError`.
    """
    requested, hops = False, 0
    first, silent_since = address, math.inf
    while True:
        try:
            state = await _state(ask, address, request_for())
        except VotersError:
            silent_since = min(silent_since, trio.current_time())
            if address == first or trio.current_time() - silent_since > _SILENCE_MAX:
                raise
            address, hops = first, 0
            await trio.sleep(_AGAIN_S)
            continue
        if address != first or state.get("me"):
            silent_since = math.inf
        leader = state.get("l")
        if not state.get("me"):
            hops += 1
            if leader and hops <= _HOPS_MAX:
                address = _leader_address(leader, address)
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
                raise VotersError(answer["e"])
            requested = True
        await trio.sleep(_AGAIN_S)


async def _state(ask: Ask, address: Address, request: bytes) -> dict[str, Any]:
    message = await ask(address, request)
    state = read_state(message.payload) if isinstance(message, UserMessage) else None
    if state is None:
        reason = message.text if isinstance(message, ErrorMessage) else "something else answered"
        raise VotersError(f"{address}: no member of a cluster with voters ({reason})")
    if not all(isinstance(state.get(key, kind()), kind) for key, kind in _KINDS.items()):
        raise VotersError(f"{address}: its answer makes no sense")
    return state


def _leader_address(text: str, told_by: Address) -> Address:
    try:
        return Address(*parse_address(text))
    except ValueError as error:
        raise VotersError(f"{told_by} cannot say where the leader is: {error}") from None


async def connect_from_outside(address: Address) -> Connection:
    """Without being a node; the host may be a name. Raises OSError."""
    stream = await trio.open_tcp_stream(address.host, address.port)
    return SocketConnection(stream, address, Traffic())


async def ask_at(
    address: Address,
    payload: bytes,
    codec: Codec,
    connect: Callable[[Address], Awaitable[Connection]] = connect_from_outside,
) -> StreamMessage | None:
    """One request to the node at this address, and its answer. Raises `VotersError`."""
    try:
        with trio.fail_after(_ANSWER_PATIENCE):
            with closing(await connect(address)) as stream:
                return await _exchange(stream, address, codec, UserMessage(payload))
    except trio.TooSlowError:
        raise VotersError(f"{address} did not answer within {_ANSWER_PATIENCE:g} s") from None
    except (OSError, UnicodeError, trio.BrokenResourceError) as error:  # UnicodeError: a host that is no name
        raise VotersError(f"{address} cannot be asked: {error}") from None
    except DecodeError as error:
        raise VotersError(f"the answer of {address} cannot be read: {error}") from None


async def _exchange(
    stream: Connection, address: Address, codec: Codec, request: UserMessage
) -> StreamMessage:
    decoder = codec.stream_decoder(answering=True)
    await stream.write(codec.stream(request))
    while data := await stream.read():
        message = decoder.feed(data)
        if message is not None:
            return message
    raise VotersError(f"{address} closed the connection: are the key and the label right?")
