"""The agent's end of its local socket: one command a connection, as one line of JSON, and lines of answers.

A request is ``{"command": ["send", "b", "hello"], "node": null}``; each answer has the `node` that gives it,
and the last line is ``{"end": true}``. `error` is in an answer where something went wrong. When the client
closes the connection, or does not read for ten seconds, a command that still runs is cancelled.

Connections are bounded, so that they take no file descriptors from the node: of those on which no command has
come, the oldest gives way.
"""

from __future__ import annotations

import json
import logging
import socket
from contextlib import suppress
from typing import Any

import trio

from swim.cli.commands import Call, Commands, carry_out, check_verb
from swim.cli.running import RunningNode
from swim.cli.verbs import VERBS
from swim.runtime.nurseries import unwrapped_nursery

__all__ = ["serve_commands"]

_logger = logging.getLogger("swim")

_REQUEST_MAX = 2_097_152
"""Bytes; JSON makes up to twice as many of a message of 1 MiB."""
_PATIENCE = 10.0
_AT_ONCE, _UNSAID_MAX = 256, 16
"""Commands that are carried out, and connections on which none has come yet."""
_LAST_WORDS = 1.0


async def serve_commands(listener: socket.socket, commands: Commands) -> None:
    """Until cancelled."""
    listener.setblocking(False)
    unsaid: dict[trio.CancelScope, None] = {}
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await _serve(stream, commands, unsaid, limiter)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the client has gone
            except Exception:
                _logger.exception("a command that came over the agent's socket failed")

    listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    await trio.serve_listeners(serve, [listening])


async def _serve(
    stream: trio.SocketStream,
    commands: Commands,
    unsaid: dict[trio.CancelScope, None],
    limiter: trio.CapacityLimiter,
) -> None:
    if len(unsaid) >= _UNSAID_MAX:
        oldest = next(iter(unsaid))
        del unsaid[oldest]
        oldest.cancel()
    line = b""
    with trio.move_on_after(_PATIENCE) as scope:
        unsaid[scope] = None
        try:
            line = await _read_line(stream)
        except ValueError as error:
            await _write(stream, {"error": str(error)})
            return
        finally:
            unsaid.pop(scope, None)
    try:
        if not line:
            raise ValueError("no command came")
        nodes, verb, arguments = _understood(line, commands)
        if limiter.available_tokens < 1:
            raise ValueError(f"{_AT_ONCE} commands are being carried out already")
    except (ValueError, RecursionError) as error:
        await _write(stream, {"error": str(error)})
        return
    async with limiter, unwrapped_nursery() as nursery:
        nursery.start_soon(_until_gone, stream, nursery.cancel_scope)
        try:
            for node in nodes:
                await _carry_out(node, verb, arguments, stream)
        finally:
            with trio.move_on_after(_LAST_WORDS, shield=True):  # also when it was to leave
                await _write(stream, {"end": True})
        nursery.cancel_scope.cancel()


async def _read_line(stream: trio.SocketStream) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        data = await stream.receive_some()
        line += data
        if not data or len(line) > _REQUEST_MAX:
            raise ValueError(f"a command is one line of at most {_REQUEST_MAX} bytes")
    return bytes(line)


def _understood(line: bytes, commands: Commands) -> tuple[list[RunningNode], str, list[str]]:
    request = json.loads(line)
    command = request.get("command") if isinstance(request, dict) else None
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise ValueError('a request is {"command": [VERB, ARGUMENT, ..]}')
    verb, *arguments = command
    check_verb(verb)
    return commands.addressed(request.get("node")), verb, VERBS[verb].shaped(arguments)


async def _carry_out(node: RunningNode, verb: str, arguments: list[str], stream: trio.SocketStream) -> None:
    one_at_a_time = trio.Lock()  # each name that is owned has a task that answers

    async def answer(fields: dict[str, Any]) -> None:
        async with one_at_a_time:
            await _write(stream, {"node": node.name, **fields})

    problem = await carry_out(Call(node, verb, arguments, answer))
    if problem is not None:
        await answer({"error": problem})


async def _until_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass
    scope.cancel()


async def _write(stream: trio.SocketStream, fields: dict[str, Any]) -> None:
    with trio.move_on_after(_PATIENCE) as scope:
        await stream.send_all(json.dumps(fields).encode() + b"\n")
    if scope.cancelled_caught:
        raise trio.BrokenResourceError("the client does not read")
