"""What a few kilobytes did to whole clusters, before everything had a limit: each is a row here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from benchmarks.compressing import compress
from swim.protocol.exchange.sync import answer_to
from swim.protocol.node import Phase
from swim.protocol.view import table as table_module
from swim.types import Address, MemberState
from swim.wire import Codec, pack_host
from swim.wire.bodies import pack_node_state
from swim.wire.dialect import pack
from swim.wire.messages import Ack, Alive, NodeState, Ping, PushPull, PushPullHead, WireState
from swim.wire.serf import SerfType, encode_message
from tests.cost.fuzz import Arena
from tests.cost.inputs import Input
from tests.protocol.fakes import SERF, Net
from tests.wire.test_packets import many

STRANGER = Address("10.250.0.1", 7946)
LONGEST_TURN = 0.1
"""Of processor time, so that a busy machine does not matter."""


@pytest.fixture
def arena() -> Arena:
    return Arena(1)


def stream(data: bytes) -> Input:
    return Input("row", data, STRANGER, stream=True, size=len(data))


def packet(data: bytes) -> Input:
    return Input("row", data, STRANGER, stream=False, size=len(data))


def push_pull(arena: Arena, nodes: list[NodeState], user_state: bytes = b"") -> Input:
    head = PushPullHead("x", b"bootboot", 7946)
    return stream(arena.net.codec.stream(PushPull(tuple(nodes), False, user_state, head)))


def made_up(count: int, state: WireState = WireState.ALIVE, **changes: Any) -> list[NodeState]:
    return [
        NodeState(f"m{n}", 1, pack_host(f"10.99.{n >> 8 & 255}.{n & 255}"), 7946, b"", state, SERF, **changes)
        for n in range(count)
    ]


def survives(arena: Arena, seconds: float = 5.0) -> None:
    """All that were members before still are, and nobody doubts it."""
    arena.pass_time(seconds)
    for member in arena.members:
        assert arena.net.believes(arena.node, member.name) is MemberState.ALIVE


@pytest.mark.parametrize("count", [4_096, 32_768])
def test_events_of_one_time(arena: Arena, count: int) -> None:
    events = [{"LTime": 7, "Events": [{"Name": "e", "Payload": b"%d" % n} for n in range(count)]}]
    state = {"EventLTime": 8, "Events": events, "LTime": 1, "LeftMembers": [], "QueryLTime": 1}
    user_state = encode_message(SerfType.PUSH_PULL, state | {"StatusLTimes": {}})
    item = push_pull(arena, [arena.members[0].state()], user_state)
    found = arena.take(item)
    assert found.turn < LONGEST_TURN
    assert found.cost < 1.0
    assert arena.take(stream(compress(item.data))).turn < LONGEST_TURN
    assert len(arena.net.take_broadcasts(arena.node)) <= 1_024
    survives(arena)


def test_compressed_entries_that_are_empty(arena: Arena) -> None:
    data = compress(b"\x06" + pack({"Nodes": 65_536}) + b"\x80" * 65_536)
    assert len(data) < 500
    cost = sum(arena.take(stream(data)).cost for _ in range(100))
    assert cost < 2.0
    survives(arena)


def test_compounds_of_empty_compounds(arena: Arena) -> None:
    empty = many([many([])] * 255)
    costs = [
        arena.take(packet(data)) for data in (many([empty]), compress(many([empty] * 50)), many([b""] * 255))
    ]
    assert max(found.turn for found in costs) < 0.01
    survives(arena)


def test_made_up_deaths(arena: Arena) -> None:
    found = arena.take(push_pull(arena, made_up(30_000, WireState.DEAD, age=5)))
    assert found.turn < LONGEST_TURN
    assert found.cost < 4.0
    assert len(arena.node._table.dead()) <= arena.node.config.dead_max // 16
    survives(arena)


def test_deaths_of_strangers_that_a_foreign_node_tells_of_are_not_even_read(arena: Arena) -> None:
    """They would be forgotten at once. What one of our own tells is remembered, within its limits."""
    known = replace(made_up(1, WireState.DEAD)[0], name="p0")
    nodes = (*made_up(400, WireState.DEAD), *made_up(2), known)
    read = arena.node.stream_decoder(answering=False).feed(Codec().stream(PushPull(nodes)))
    assert isinstance(read, PushPull)
    assert [node.name for node in read.nodes] == ["m0", "m1", "p0"]
    own = PushPull(nodes, head=PushPullHead("x", b"bootboot", 7946))
    read = arena.node.stream_decoder(answering=False).feed(Codec().stream(own))
    assert isinstance(read, PushPull)
    assert len(read.nodes) == len(nodes)


def test_made_up_members_have_to_answer(arena: Arena) -> None:
    found = arena.take(push_pull(arena, made_up(60_000)))
    assert found.turn < LONGEST_TURN
    assert found.cost < 5.0
    assert len(arena.node._table) == 5
    survives(arena, 15.0)
    assert not arena.node._membership.newcomers._waiting
    assert arena.node.dropped["newcomer-silent"] > 500


def test_no_more_strangers_of_one_state_are_looked_at_than_can_wait(arena: Arena) -> None:
    """Where there is room for 512, the others of 60,000 would push those out again, one by one."""
    arena.take(push_pull(arena, made_up(60_000)))
    held = arena.node._membership.newcomers
    assert "m500" in {*held._waiting, *held._asking}
    assert "m59999" not in held._waiting
    assert arena.node.dropped["newcomers-max"] > 55_000


def test_of_crowds_of_which_nobody_has_answered_few_wait_however_many_push_them(arena: Arena) -> None:
    """Each that waits takes a third of a kilobyte, and the memory of many does not all go back."""
    for stranger in range(8):
        crowd = [replace(node, name=f"{stranger}-{node.name}") for node in made_up(5_000)]
        arena.take(push_pull(arena, crowd))
    held = arena.node._membership.newcomers
    assert 256 < len(held._waiting) <= 512


def test_who_joins_takes_all_members_of_a_state(arena: Arena) -> None:
    theirs = PushPull(tuple(made_up(17_000)), False, b"", PushPullHead("x", b"bootboot", 7946))
    done: list[float] = []
    arena.node._sync.merge(theirs, arena.net.now, joined=done.append)
    while not done:
        arena.node.handle_timer(arena.net.now)
    assert len(arena.node._table) == 17_005


def test_a_crowd_that_answers_is_let_in(arena: Arena) -> None:
    """Ten thousand real members, as when two clusters meet: as soon as one has answered, all may wait."""
    crowd = made_up(10_000)
    names = {Address(f"10.99.{n >> 8 & 255}.{n & 255}", 7946): f"m{n}" for n in range(10_000)}
    longest = 0.0
    for at in range(3_000):
        if len(arena.node._table) == 10_005:
            break
        if at in (0, 250):  # half a second later they are told of again
            longest = max(longest, arena.take(push_pull(arena, crowd)).turn)
        arena.net.now += 0.002
        for data, target in arena.node.drain().datagrams:
            for message in arena.net.codec.open_packet(data).messages:
                if isinstance(message, Ping) and names.get(target) == message.node:
                    answer = Input("ack", arena.net.codec.part(Ack(message.seq, bare=True)), target, False, 9)
                    longest = max(longest, arena.take(answer).turn)
    assert len(arena.node._table) == 10_005
    assert longest < LONGEST_TURN


def test_a_node_that_joins_a_large_cluster_learns_it_in_steps(arena: Arena) -> None:
    theirs = PushPull(tuple(made_up(10_000)), False, b"", PushPullHead("x", b"bootboot", 7946))
    done: list[float] = []
    arena.node._sync.merge(theirs, arena.net.now, joined=done.append)
    steps = 0
    while not done:
        arena.node.handle_timer(arena.net.now)
        steps += 1
    assert len(arena.node._table) == 10_005
    assert steps > 100


def test_of_all_that_a_large_cluster_is_asked_for_only_what_has_changed_is_packed_anew(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[NodeState] = []

    def pack(node: NodeState) -> bytes:
        packed.append(node)
        return pack_node_state(node)

    monkeypatch.setattr(table_module, "pack_node_state", pack)
    theirs = PushPull(tuple(made_up(10_000)), False, b"", PushPullHead("x", b"bootboot", 7946))
    done: list[float] = []
    arena.node._sync.merge(theirs, arena.net.now, joined=done.append)
    while not done:
        arena.node.handle_timer(arena.net.now)
    question = stream(arena.net.codec.stream(PushPull(())))
    assert arena.take(question).answered > 500_000
    assert len(packed) == 10_000, "the others were asked for before"
    table = arena.node._table
    for number in range(20):
        arena.net.now += 1.0
        record = table.get(f"m{number}")
        assert record is not None
        table.put(record.become(MemberState.DEAD, arena.net.now), arena.net.now)
        assert arena.take(question).turn < LONGEST_TURN
    assert 10_020 <= len(packed) < 10_500, "in twenty seconds some of them are suspected"


def test_a_large_cluster_is_looked_at_in_steps_and_none_is_founded_beside_it_meanwhile() -> None:
    """Twenty thousand members, by a node that would soon found one: here a step takes 0.1 s."""
    net = Net()
    seed = net.puppet("s")
    node = net.make("a")
    node.start([seed.address], net.now)
    (look,) = node.drain().requests
    answer = PushPull((seed.state(), *made_up(20_000)), head=seed.head())
    question = cast(PushPull, look.message).head
    node.receive_answer(look.token, answer_to(question, answer), net.now)
    requests, steps = node.drain().requests, 1
    while not requests:
        net.now += 0.1
        node.handle_timer(net.now)
        requests = node.drain().requests
        steps += 1
    assert 50 < steps < 200
    assert node.phase is Phase.JOINING
    assert [cast(PushPull, request.message).join for request in requests] == [True], (
        "it is not looked at again"
    )


def test_a_node_that_tells_of_itself_is_let_in_whatever_the_crowd(arena: Arena) -> None:
    arena.take(push_pull(arena, made_up(5_000)))
    newcomer = arena.net.puppet("n")
    newcomer.tell(arena.node, newcomer.alive())
    arena.net.run(0.1)
    assert arena.net.believes(arena.node, "n") is MemberState.ALIVE


def test_the_newest_of_a_crowd_is_asked_first(arena: Arena) -> None:
    arena.take(push_pull(arena, made_up(2_000)))
    other = arena.net.puppet("other")
    teller = arena.members[0]
    arena.net.run(1.5)
    teller.tell(arena.node, Alive("other", 1, pack_host(other.address.host), 7946, other.meta, SERF))
    arena.net.run(3)
    assert arena.net.believes(arena.node, "other") is MemberState.ALIVE
