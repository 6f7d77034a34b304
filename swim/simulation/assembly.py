"""Large clusters at once: nodes that know each other without the traffic of joining one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from swim.protocol.node import Request
from swim.simulation.host import SimulatedNode
from swim.simulation.streams import decode
from swim.wire.messages import PushPull

__all__ = ["exchange", "hush", "know_all"]


def know_all(node: SimulatedNode, source: SimulatedNode) -> None:
    """It gets a copy of the other one's table, whose records they share."""
    core: Any = node.core
    mine, model = core._table, vars(source.core)["_table"]
    for attribute, value in vars(model).items():
        if isinstance(value, dict | list):
            setattr(mine, attribute, value.copy())
    mine.view_hash, mine.changed_at, mine.newest_minted = model.view_hash, node.now(), model.newest_minted
    mine.newest_token = model.newest_token
    mine.rings.take_over(model.rings)
    core._settle(node.now())
    # Its first full exchange was arranged when it knew two members, and so too soon.
    wait = core._context.rng.random() * core._sync._interval()
    core._timers.set("sync", node.now() + wait, core._sync._regular)
    hush(node)


def exchange(server: SimulatedNode, client: SimulatedNode, request: Request) -> None:
    """The client joins, by an exchange that takes no time and tells it of one member only.

    The server has no doubt that there is such a member, however many join in this way: see `Newcomers`.
    """
    core: Any = server.core
    believed = core._membership.newcomers._believed
    believed._tokens = float(believed._burst)
    question = decode(server.core.codec.stream_decoder(answering=False), request.content)
    content = server.core.receive_request(question, client.address, server.now())
    assert content is not None
    answer = decode(client.core.codec.stream_decoder(answering=True), content)
    assert isinstance(answer, PushPull)
    client.core.receive_answer(request.token, replace(answer, nodes=tuple(answer.nodes)[:1]), client.now())
    server.flush()
    client.flush()


def hush(node: SimulatedNode) -> None:
    """All nodes know already: there is nothing to pass on."""
    dissemination: Any = getattr(node.core, "_dissemination", None)
    dissemination._pending.clear()
    dissemination._riding.clear()
    node.flush()
