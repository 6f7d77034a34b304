"""Carries out the commands of `swim.cli.verbs`, wherever they come from."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio

from swim.cli.options import parse_addresses, parse_keys, parse_tags
from swim.cli.report import payload_field, shown_tags
from swim.cli.running import RunningNode
from swim.cli.verbs import VERBS
from swim.cluster import Cluster
from swim.errors import SwimError
from swim.runtime.nurseries import unwrapped_nursery
from swim.types import Explanation, Lease

__all__ = ["ACTS", "Call", "Commands", "carry_out", "check_verb"]

_logger = logging.getLogger("swim")

Fields = dict[str, Any]
Answer = Callable[[Fields], Awaitable[None]]

_JOIN_PATIENCE = 20.0
_VOTERS_PATIENCE = 60.0
_QUERY_PATIENCE = 15.0
_REQUEST_PATIENCE = 60.0
_WAITING_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Call:
    """One command for one node."""

    node: RunningNode
    verb: str
    arguments: list[str]
    answer: Answer
    """Tells the one that gave the command: fields for programs, and `text` for people."""

    @property
    def cluster(self) -> Cluster:
        """Raises ValueError while the node is no member."""
        if self.node.cluster is None:
            raise ValueError("this node is not a member (yet, or any more)")
        return self.node.cluster

    def need(self, what: str) -> str:
        """The first argument, which is a `what`; raises ValueError where there is none."""
        if not self.arguments or not self.arguments[0]:
            raise ValueError(f"no {what} given; the form is: {self.verb} {VERBS[self.verb].form}")
        return self.arguments[0]

    @property
    def payload(self) -> bytes:
        """The text after the first argument, which has to be given where the form asks for it."""
        if len(self.arguments) < 2 and not VERBS[self.verb].form.endswith("]"):
            raise ValueError(f"no text given; the form is: {self.verb} {VERBS[self.verb].form}")
        return "".join(self.arguments[1:]).encode(errors="surrogateescape")


class Commands:
    """Those of one process. What takes long is done in the nursery where they come over standard input."""

    def __init__(
        self,
        nodes: Sequence[RunningNode],
        report: Callable[[RunningNode, Fields], None],
        nursery: trio.Nursery,
    ) -> None:
        self._nodes = nodes
        self._report = report
        self._nursery = nursery
        self._queues: dict[tuple[RunningNode, str, str], trio.MemorySendChannel[Call]] = {}

    def addressed(self, name: str | None) -> list[RunningNode]:
        """The node of this name; all of them where there is none. Raises ValueError."""
        nodes = [node for node in self._nodes if name in (None, node.name)]
        if not nodes:
            raise ValueError(f"there is no node {name!r} here")
        return nodes

    async def obey(self, line: str) -> None:
        """One line of standard input; what goes wrong becomes an `error` line."""
        name, text = None, line.strip()
        if text.startswith("@"):
            name, _, text = text[1:].partition(" ")
        verb, _, rest = text.strip().partition(" ")
        if not verb:
            return
        try:
            nodes = self.addressed(name)
            check_verb(verb)
        except ValueError as error:
            self._error(self._nodes[0], str(error))
            return
        words = VERBS[verb].words
        arguments = rest.split() if words is None else rest.strip().split(" ", words - 1)
        for node in nodes:
            call = Call(node, verb, arguments, self._answer_of(node, verb))
            if VERBS[verb].waits:
                self._enqueue(call)
            else:
                await self._try(call)

    def _answer_of(self, node: RunningNode, verb: str) -> Answer:
        async def answer(fields: Fields) -> None:
            self._report(node, {"event": "answer", "to": verb, **fields})

        return answer

    def _error(self, node: RunningNode, message: str) -> None:
        self._report(node, {"event": "error", "message": " ".join(message.split())})

    async def _try(self, call: Call) -> None:
        problem = await carry_out(call)
        if problem is not None:
            self._error(call.node, problem)

    def _enqueue(self, call: Call) -> None:
        first = call.arguments[0] if call.arguments else ""
        key = (call.node, call.verb, first)
        queue = self._queues.get(key)
        if queue is None:
            queue, waiting = trio.open_memory_channel[Call](_WAITING_MAX)
            self._queues[key] = queue
            self._nursery.start_soon(self._empty, key, waiting)
        try:
            queue.send_nowait(call)
        except trio.WouldBlock:
            self._error(call.node, f"{call.verb}: {_WAITING_MAX} for {first} are waiting already")

    async def _empty(
        self, key: tuple[RunningNode, str, str], waiting: trio.MemoryReceiveChannel[Call]
    ) -> None:
        try:
            while True:
                await self._try(waiting.receive_nowait())
        except trio.WouldBlock:
            del self._queues[key]


def check_verb(verb: str) -> None:
    """Raises ValueError for what is no command."""
    if verb not in VERBS:
        raise ValueError(f"there is no command {verb!r}; there are: {', '.join(VERBS)}")


async def carry_out(call: Call) -> str | None:
    """Do it. What went wrong, if anything: a defect of ours, too, must not end the agent."""
    try:
        await ACTS[call.verb](call)
    except trio.BrokenResourceError:
        raise  # the one that gave the command has gone
    except trio.ClosedResourceError:
        return f"{call.verb}: the node has ended"
    except (SwimError, OSError, ValueError) as error:
        return f"{call.verb}: {error}"
    except Exception as error:
        _logger.exception("%s: the command %r failed", call.node.name, call.verb)
        return f"{call.verb}: internal error: {type(error).__name__}: {error}"
    return None


# --- what they do


async def _join(call: Call) -> None:
    addresses = parse_addresses(call.arguments)
    if not addresses:
        call.need("address")
    try:
        with trio.fail_after(_JOIN_PATIENCE):
            await call.cluster.join(addresses)
    except trio.TooSlowError:
        raise ValueError(f"no answer from {', '.join(addresses)} in {_JOIN_PATIENCE:.0f} s") from None


async def _tags(call: Call) -> None:
    call.cluster.set_tags(parse_tags(call.arguments))


async def _meta(call: Call) -> None:
    call.cluster.set_tags({**shown_tags(call.cluster.me.tags), "meta": "".join(call.arguments)})


async def _keys(call: Call) -> None:
    call.need("key")
    call.cluster.set_keys(parse_keys(call.arguments))


async def _send(call: Call) -> None:
    await call.cluster.send(call.need("name"), call.payload)


async def _broadcast(call: Call) -> None:
    call.cluster.broadcast(call.need("name"), call.payload)


async def _request(call: Call) -> None:
    member, (topic, *text) = call.need("name"), call.arguments[1:] or [""]
    payload = "".join(text).encode(errors="surrogateescape")
    with trio.move_on_after(_REQUEST_PATIENCE):
        reply = await call.cluster.request(member, payload, topic=topic)
        await call.answer({"reply": payload_field(reply), "text": reply.decode(errors="replace")})
        return
    raise ValueError(f"no answer from {member} in {_REQUEST_PATIENCE:.0f} s")


async def _query(call: Call) -> None:
    """The answers are told as they come."""
    async with call.cluster.query(call.need("name"), call.payload, patience=_QUERY_PATIENCE) as answers:
        async for answer in answers:
            name, payload = answer.member.name, answer.payload
            if payload is None:
                fields: Fields = {"problem": answer.problem, "text": f"{name}: {answer.problem}"}
            else:
                text = f"{name}: {payload.decode(errors='replace')}".rstrip()
                fields = {"reply": payload_field(payload), "text": text}
            await call.answer({"member": name, **fields})


def _use(call: Call, name: str) -> trio.CancelScope:
    """What `release` cancels."""
    scope = trio.CancelScope()
    call.node.uses.setdefault(name, []).append(scope)
    return scope


async def _hold(call: Call) -> None:
    """Until it is released, or the one that gave the command over a socket has gone."""
    name, more = call.need("name"), call.arguments[1:]
    if not all(word.isdecimal() for word in more) or len(more) > 1:
        raise ValueError(f"the form is: hold {VERBS['hold'].form}")
    holding = call.cluster.hold(name, *map(int, more))
    with _use(call, name):
        async with holding as lease:
            await call.answer({"name": name, "token": lease.token, "held": True, "text": f"{name} is held"})
            await trio.sleep_forever()
    await call.answer({"name": name, "held": False, "text": f"{name} is released"})


async def _own(call: Call) -> None:
    call.need("name")
    cluster = call.cluster

    async def serve(lease: Lease) -> None:
        name = lease.name
        fields: Fields = {"name": name, "token": lease.token, "owned": True, "text": f"{name} is owned"}
        try:
            await call.answer(fields)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await call.answer({**fields, "owned": False, "text": f"{name} is not owned any more"})

    async def offer(name: str) -> None:
        with _use(call, name):
            await cluster.run_while_owner(name, serve)

    async with unwrapped_nursery() as nursery:
        for name in dict.fromkeys(call.arguments):
            nursery.start_soon(offer, name)


async def _release(call: Call) -> None:
    call.need("name")
    for name in call.arguments:
        scopes = call.node.uses.pop(name, [])
        if not scopes:
            raise ValueError(f"{name!r} is not held, owned or waited for by a command")
        for scope in scopes:
            scope.cancel()


async def _owner(call: Call) -> None:
    name = call.arguments[0] if call.arguments else ""
    if not name:
        await _owners(call)
        return
    member = await call.cluster.owner(name)
    text = "nobody" if member is None else member.name
    await call.answer({"name": name, "member": None if member is None else member.name, "text": text})


async def _owners(call: Call) -> None:
    leader = call.cluster.leader
    if not call.cluster.is_leader:
        raise ValueError(
            f"only the leader knows of all names: {'there is none' if leader is None else leader}"
        )
    owners = {name: [each.name for each in members] for name, members in call.cluster.granted().items()}
    lines = [f"{name}: {', '.join(names)}" for name, names in sorted(owners.items())]
    await call.answer({"owners": owners, "text": "\n".join(lines) or "nothing is held"})


async def _voters(call: Call) -> None:
    if call.arguments:
        with trio.move_on_after(_VOTERS_PATIENCE) as scope:
            await call.cluster.set_voters(call.arguments)
        if scope.cancelled_caught:
            raise ValueError(f"not done within {_VOTERS_PATIENCE:.0f} s: it may still be, look again")
    voters = call.cluster.leadership.voters
    text = f"voters: {', '.join(voters)}" if voters else "there are no voters"
    await call.answer({"voters": list(voters), "text": text})


async def _explain(call: Call) -> None:
    member = call.need("name")
    if call.cluster.member(member) is None:
        raise ValueError(f"{member!r} is no member")
    await call.answer(_explained(call.cluster.explain(member)))


def _explained(known: Explanation) -> Fields:
    figures: Fields = {
        "member": known.member.name,
        "address": str(known.member.address),
        "state": known.member.state.value,
        "observers": list(known.observers),
        "refutations": known.refutations,
    }
    if known.observed_here:
        figures |= {
            "here": known.state,
            "phi": round(known.phi, 3),
            "silence_s": round(known.silence, 3),
            "last_heard_s": None if known.last_heard is None else round(known.last_heard, 3),
            "round_trip_ms": None if known.round_trip is None else round(1_000 * known.round_trip, 3),
            "loss": round(known.loss, 3),
            "kernel": known.kernel,
            "accusers": dict(known.accusers),
        }
    width = max(map(len, figures))
    lines = [f"{name:{width}}  {_shown(value)}" for name, value in figures.items()]
    if not known.observed_here:
        lines.append("this node does not ping it: ask one of its observers for more")
    return {**figures, "text": "\n".join(lines)}


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} ({said})" for name, said in value.items()) or "none"
    return "unknown" if value is None else str(value)


async def _leave(call: Call) -> None:
    call.node.scope.cancel()


async def _force_leave(call: Call) -> None:
    call.cluster.force_leave(call.need("name"))


async def _kill_node(call: Call) -> None:
    if call.node.cluster is not None:
        call.node.cluster.abort()
    call.node.scope.cancel()


ACTS: dict[str, Callable[[Call], Awaitable[None]]] = {
    "join": _join,
    "tags": _tags,
    "meta": _meta,
    "keys": _keys,
    "send": _send,
    "broadcast": _broadcast,
    "request": _request,
    "query": _query,
    "hold": _hold,
    "own": _own,
    "release": _release,
    "owner": _owner,
    "voters": _voters,
    "explain": _explain,
    "leave": _leave,
    "force-leave": _force_leave,
    "kill-node": _kill_node,
}
"""What is done for each of `VERBS`. A command that takes long ends when the one that gave it has gone."""
