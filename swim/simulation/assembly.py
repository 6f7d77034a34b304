"""Large clusters at once: nodes that know each other without the traffic of joining one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from swim.protocol.node import Phase, Request
from swim.simulation.streams import decode
from swim.wire.messages import PushPull

if TYPE_CHECKING:
    from swim.simulation.host import SimulatedNode
    from swim.simulation.world import World

__all__ = ["assemble"]

JOIN_INTERVAL = 0.0005


def assemble(world: World, names: Sequence[str]) -> None:
    """Start these nodes, each a member from the first instant on, with the whole cluster in its view.

    Every node joins through the first, by exchanges that take no time and tell it of one member only;
    then each gets a copy of the first one's table, whose records they share: a tenth of the time and memory
    of telling everybody everything. What the nodes would have said about it is thrown away, and so are the
    events.
    """
    world.muted = True
    first = world.add_node(names[0])
    for name in names[1:]:
        world.schedule.now += JOIN_INTERVAL  # so that the ids are in the order of the names
        node = world.add_node(name, [names[0]])
        while node.core.phase is Phase.JOINING:
            _exchange(first, node, world.held_requests.pop())
    for name in names[1:]:
        _know_all(world.nodes[name], first)
    _hush(first)
    world.held_requests.clear()
    world.muted = False


def _know_all(node: SimulatedNode, source: SimulatedNode) -> None:
    core: Any = node.core
    mine, model = core._table, vars(source.core)["_table"]
    for attribute, value in vars(model).items():
        if isinstance(value, dict | list):
            setattr(mine, attribute, value.copy())
    mine.view_hash, mine.changed_at, mine.newest_minted = model.view_hash, node.now(), model.newest_minted
    mine.newest_token = model.newest_token
    mine.rings._rings = [ring.copy() for ring in model.rings._rings]
    mine.rings._own = dict(model.rings._own)
    mine.rings._changed()
    core._settle(node.now())
    # Its first full exchange was arranged when it knew two members, and so too soon.
    wait = core._context.rng.random() * core._sync._interval()
    core._timers.set("sync", node.now() + wait, core._sync._regular)
    _hush(node)


def _exchange(server: SimulatedNode, client: SimulatedNode, request: Request) -> None:
    question = decode(server.core.codec.stream_decoder(answering=False), request.content)
    content = server.core.receive_request(question, client.address, server.now())
    assert content is not None
    answer = decode(client.core.codec.stream_decoder(answering=True), content)
    assert isinstance(answer, PushPull)
    client.core.receive_answer(request.token, replace(answer, nodes=answer.nodes[:1]), client.now())
    server.flush()
    client.flush()


def _hush(node: SimulatedNode) -> None:
    """Everybody knows already: there is nothing to pass on."""
    dissemination: Any = getattr(node.core, "_dissemination", None)
    dissemination._held.clear()
    dissemination._riding.clear()
    node.flush()
