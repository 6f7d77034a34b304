"""Serf queries: which are answered, to which address, and which answers count."""

from __future__ import annotations

from typing import Any

import pytest

from swim.errors import PayloadTooLarge
from swim.events import MemberJoined
from swim.protocol.base.outbox import Query, Reply
from swim.protocol.node import Node
from swim.types import MemberState
from swim.wire import pack_host
from swim.wire.dialect import pack
from swim.wire.messages import PushPull, UserMessage
from swim.wire.serf import SerfType, encode_message
from tests.protocol.fakes import PLAIN, Net, Puppet
from tests.protocol.gossip.test_broadcasts import QUERY, agent, serf_messages

BY_NAME, BY_TAG = b"\0", b"\1"


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def nodes(net: Net) -> list[Node]:
    return net.cluster("a", "b")


@pytest.fixture
def serf(net: Net, nodes: list[Node]) -> Puppet:
    return agent(net, "s", *nodes)


def asked(net: Net, node: Node) -> list[Query]:
    """What Serf agents have asked since this was last looked at."""
    net.drain(node)
    process = net._processes[node.address]
    taken, process.queries = process.queries, []
    return taken


def told(net: Net, node: Node) -> list[Reply]:
    """What Serf agents have answered."""
    net.drain(node)
    return net._processes[node.address].replies


def query(time: int = 4, **changes: Any) -> UserMessage:
    return UserMessage(encode_message(SerfType.QUERY, QUERY | {"LTime": time, "ID": 9} | changes))


def response(to: tuple[int, int], name: str = "s", **changes: Any) -> UserMessage:
    body = {"Flags": 0, "From": name, "ID": to[1], "LTime": to[0], "Payload": b"fine"}
    return UserMessage(encode_message(SerfType.QUERY_RESPONSE, body | changes))


class TestOfAnAgent:
    def test_every_node_is_asked_once_and_answers_the_agent(
        self, net: Net, nodes: list[Node], serf: Puppet
    ) -> None:
        serf.tell(nodes[0], query(Payload=b"now"))
        net.run(0.5)
        for node in nodes:
            (question,) = asked(net, node)
            assert (question.member.name, question.name, question.payload) == ("s", "uptime", b"now")
            node.answer_query(question, node.name.encode())
            net.drain(node)
        net.run(5)
        said = serf_messages(net, serf, SerfType.QUERY_RESPONSE)
        assert {(it.body["From"], it.body["Payload"]) for it in said} == {("a", b"a"), ("b", b"b")}
        assert {(it.body["LTime"], it.body["ID"], it.body["Flags"]) for it in said} == {(4, 9, 0)}
        assert asked(net, nodes[0]) == []

    def test_the_answer_goes_to_the_members_address_whatever_the_query_names(
        self, net: Net, nodes: list[Node], serf: Puppet
    ) -> None:
        victim = net.puppet("victim")
        serf.tell(nodes[0], query(Addr=pack_host(victim.address.host), Port=victim.address.port, Flags=1))
        (question,) = asked(net, nodes[0])
        nodes[0].answer_query(question, b"fine")
        net.run(0.5)
        assert net.said(UserMessage, to=victim.address) == []
        assert len(serf_messages(net, serf, SerfType.QUERY_RESPONSE)) >= 2

    def test_it_is_acknowledged_where_that_is_asked_for(
        self, net: Net, nodes: list[Node], serf: Puppet
    ) -> None:
        serf.tell(nodes[0], query(Flags=1 | 2))
        net.run(0.5)
        (ack,) = serf_messages(net, serf, SerfType.QUERY_RESPONSE)
        assert (ack.body["From"], ack.body["Flags"]) == ("a", 1)
        assert asked(net, nodes[1]) == [], "it was not to be passed on"

    @pytest.mark.parametrize(
        ("filters", "meant"),
        [
            ([], True),
            ([BY_NAME + pack(["b", "a"])], True),
            ([BY_NAME + pack(["b"])], False),
            ([BY_TAG + pack({"Tag": "role", "Expr": "web-1"})], True),
            ([BY_TAG + pack({"Tag": "role", "Expr": "eb"})], True),
            ([BY_TAG + pack({"Tag": "role", "Expr": "db"})], False),
            ([BY_TAG + pack({"Tag": "other", "Expr": "web"})], False),
            ([BY_NAME + pack(["a"]), BY_TAG + pack({"Tag": "role", "Expr": "db"})], False),
        ],
    )
    def test_all_filters_have_to_fit(
        self, net: Net, nodes: list[Node], serf: Puppet, filters: list[bytes], meant: bool
    ) -> None:
        nodes[0].set_tags({"role": "web-1"}, net.now)
        serf.tell(nodes[0], query(Filters=filters))
        assert bool(asked(net, nodes[0])) is meant
        assert nodes[0].dropped.get("query-filter", 0) == 0

    @pytest.mark.parametrize(
        "bad",
        [
            BY_TAG + pack({"Tag": "role", "Expr": "(a+)+$"}),
            BY_TAG + pack({"Tag": "role"}),
            BY_NAME + pack({"a": "a"}),
            BY_NAME,
            b"\x07" + pack(["a"]),
            b"",
            None,
        ],
    )
    def test_what_it_cannot_read_is_not_answered_and_counted(
        self, net: Net, nodes: list[Node], serf: Puppet, bad: bytes | None
    ) -> None:
        serf.tell(nodes[0], query(Filters=[bad]))
        assert asked(net, nodes[0]) == []
        assert nodes[0].dropped["query-filter"] == 1

    @pytest.mark.parametrize(
        "changes", [{"SourceNode": "nobody"}, {"SourceNode": "b"}, {"Name": "_serf_ping"}]
    )
    def test_one_of_a_stranger_or_of_our_own_or_of_the_agents_own_is_none_of_its_business(
        self, net: Net, nodes: list[Node], serf: Puppet, changes: dict[str, Any]
    ) -> None:
        serf.tell(nodes[0], query(**changes))
        assert asked(net, nodes[0]) == []

    def test_an_answer_that_is_too_large_is_refused(self, net: Net, nodes: list[Node], serf: Puppet) -> None:
        serf.tell(nodes[0], query())
        (question,) = asked(net, nodes[0])
        with pytest.raises(PayloadTooLarge, match="1024 bytes"):
            nodes[0].answer_query(question, b"x" * 1_000)

    def test_one_that_is_gone_gets_no_answer(self, net: Net, nodes: list[Node], serf: Puppet) -> None:
        serf.tell(nodes[0], query())
        (question,) = asked(net, nodes[0])
        serf.mute = True
        assert net.run_until(lambda: nodes[0].member("s") is None, 30)
        nodes[0].answer_query(question, b"fine")
        net.run(0.5)
        assert serf_messages(net, serf, SerfType.QUERY_RESPONSE) == []


class TestOfThisNode:
    def test_agents_are_asked_and_each_answers_once(self, net: Net, nodes: list[Node], serf: Puppet) -> None:
        key = nodes[0].query("load", b"now", 5.0, net.now)
        assert key is not None
        net.run(0.5)
        (said,) = serf_messages(net, serf, SerfType.QUERY)
        assert (said.body["SourceNode"], said.body["Name"], said.body["Payload"]) == ("a", "load", b"now")
        assert (said.body["Addr"], said.body["Port"]) == (
            pack_host(nodes[0].address.host),
            nodes[0].address.port,
        )
        assert said.body["Timeout"] == 5_000_000_000
        assert asked(net, nodes[0]) == asked(net, nodes[1]) == []
        for message in (response(key, Flags=1), response(key), response(key)):
            serf.tell(nodes[0], message)
        (reply,) = told(net, nodes[0])
        assert (reply.member.name, reply.payload, reply.key) == ("s", b"fine", key)
        assert nodes[0].dropped["answer-unasked"] == 1

    def test_an_answer_in_anothers_name_or_to_another_question_counts_for_nothing(
        self, net: Net, nodes: list[Node], serf: Puppet
    ) -> None:
        other = agent(net, "t", *nodes)
        key = nodes[0].query("load", b"", 5.0, net.now)
        assert key is not None
        other.tell(nodes[0], response(key))
        serf.tell(nodes[0], response((key[0], key[1] ^ 1)), response((key[0] + 1, key[1])))
        stranger = net.puppet("x", own=False)
        stranger.tell(nodes[0], response(key, "x"))
        assert told(net, nodes[0]) == []

    def test_one_that_is_too_large_is_refused(self, net: Net, nodes: list[Node], serf: Puppet) -> None:
        with pytest.raises(PayloadTooLarge, match="1024 bytes"):
            nodes[0].query("load", b"x" * 1_000, 5.0, net.now)

    def test_among_plain_memberlists_and_among_ours_nobody_is_asked(
        self, net: Net, nodes: list[Node]
    ) -> None:
        assert nodes[0].query("load", b"", 5.0, net.now) is None
        m = net.puppet("m", own=False, versions=PLAIN)
        m.answer = PushPull((m.state(),))
        among = net.start("z", [m.address])
        assert net.run_until(lambda: among.member("m") is not None, 5)
        assert among.query("load", b"", 5.0, net.now) is None
        with pytest.raises(ValueError, match="among plain memberlists"):
            among.force_leave("m", net.now)

    def test_answers_to_the_first_of_very_many_are_not_waited_for(
        self, net: Net, nodes: list[Node], serf: Puppet
    ) -> None:
        keys = [nodes[0].query("load", b"", 5.0, net.now) for _ in range(100)]
        for key in (keys[0], keys[-1]):
            assert key is not None
            serf.tell(nodes[0], response(key))
        assert [reply.key for reply in told(net, nodes[0])] == [keys[-1]]


class TestForceLeave:
    def test_nobody_looks_for_the_member_any_more(self, net: Net) -> None:
        nodes = net.cluster(*"abc")
        s = agent(net, "s", *nodes)
        net.lose_host(nodes[2])
        assert net.run_until(lambda: all(node.member("c") is None for node in nodes[:2]), 30)
        nodes[0].force_leave("c", net.now)
        net.drain(nodes[0])
        net.run(1)
        assert [_state(node, "c") for node in nodes[:2]] == [MemberState.LEFT] * 2
        (intent,) = serf_messages(net, s, SerfType.LEAVE)
        assert intent.body["Node"] == "c"
        before = len([sent for sent in net.sent if sent.target == nodes[2].address])
        net.run(120)
        assert len([sent for sent in net.sent if sent.target == nodes[2].address]) == before

    def test_one_that_lives_after_all_comes_back_when_it_finds_a_member(self, net: Net) -> None:
        nodes = net.cluster(*"abc")
        net.split("ab", "c")
        assert net.run_until(lambda: all(node.member("c") is None for node in nodes[:2]), 30)
        nodes[0].force_leave("c", net.now)
        net.drain(nodes[0])
        net.run(5)
        net.forget_events()
        net.heal()
        assert net.run_until(lambda: all(len(node.members()) == 3 for node in nodes), 10)
        joined = [event for event in net.events(nodes[1]) if isinstance(event, MemberJoined)]
        assert [event.member.name for event in joined] == ["c"]

    @pytest.mark.parametrize(
        ("name", "said"),
        [("b", "'b' is a member: tell it to leave"), ("x", "'x' is no member that has failed")],
    )
    def test_it_is_only_for_members_that_have_failed(self, net: Net, name: str, said: str) -> None:
        a, _ = net.cluster("a", "b")
        with pytest.raises(ValueError, match=said):
            a.force_leave(name, net.now)


def _state(node: Node, name: str) -> MemberState | None:
    record = node._table.get(name)
    return None if record is None else record.state
