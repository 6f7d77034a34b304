"""Broadcasts and Serf's gossip: each once, to everybody, in the form that the cluster understands."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.compressing import compress
from swim.errors import PayloadTooLarge
from swim.messages import Broadcast
from swim.protocol.gossip.broadcasts import BROADCAST_SIZE_MAX, INTENT_AHEAD_S
from swim.protocol.node import Node, Phase
from swim.types import Address
from swim.wire.messages import Dead, PushPull, UserMessage
from swim.wire.serf import SerfMessage, SerfType, decode_message, encode_message
from tests.protocol.fakes import EPOCH, PLAIN, Net, Puppet

BIRTH = int((EPOCH + Net().now) * 100)
"""By the event clock, of a cluster that is founded as a test begins."""


@pytest.fixture
def net() -> Net:
    return Net()


def told(net: Net, node: Node) -> list[tuple[str | None, str, bytes]]:
    """What was broadcast since this was last asked."""
    return [
        (broadcast.sender.name if broadcast.sender else None, broadcast.name, broadcast.payload)
        for broadcast in net.take_broadcasts(node)
    ]


def send(net: Net, node: Node, name: str, payload: bytes = b"") -> None:
    node.broadcast(name, payload, net.now)
    net.drain(node)


def event(time: int, name: str = "news", payload: bytes = b"!", **extra: Any) -> UserMessage:
    """One of Serf's."""
    body = {"CC": True, "LTime": time, "Name": name, "Payload": payload}
    return UserMessage(encode_message(SerfType.USER_EVENT, body | extra))


def intent(kind: SerfType, time: int, node: str) -> UserMessage:
    extra = {"Prune": False} if kind is SerfType.LEAVE else {}
    return UserMessage(encode_message(kind, {"LTime": time, "Node": node, **extra}))


def serf_messages(net: Net, to: Puppet, kind: SerfType) -> list[SerfMessage]:
    """What an address was told by nodes, each message once."""
    payloads = dict.fromkeys(message.payload for _, message in net.said(UserMessage, to=to.address))
    found = (decode_message(payload) for payload in payloads)
    return [message for message in found if message is not None and message.type is kind]


def agent(net: Net, name: str, *nodes: Node, **options: Any) -> Puppet:
    """A foreign member."""
    puppet = net.puppet(name, own=False, **options)
    puppet.join(nodes[0])
    assert net.run_until(lambda: all(node.member(name) for node in nodes), 5)
    return puppet


class TestAmongOurs:
    def test_everybody_is_told_once_the_sender_too(self, net: Net) -> None:
        nodes = net.cluster(*"abcdefgh")
        send(net, nodes[0], "news", b"1")
        net.run(0.2)
        assert [told(net, node) for node in nodes] == [[("a", "news", b"1")]] * 8
        net.run(60)
        assert [told(net, node) for node in nodes] == [[]] * 8

    def test_the_same_again_is_another_one(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        for node in (a, b, a):
            send(net, node, "news", b"1")
        net.run(0.2)
        for node in (a, b):
            assert sorted(told(net, node)) == [("a", "news", b"1"), ("a", "news", b"1"), ("b", "news", b"1")]

    def test_two_at_once_with_one_time_are_two(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        send(net, a, "same", b"same")
        send(net, b, "same", b"same")
        net.run(0.2)
        for node in (a, b, c):
            assert sorted(told(net, node)) == [("a", "same", b"same"), ("b", "same", b"same")]

    @pytest.mark.parametrize("name", ["n", "näme", "x" * 200])
    def test_the_limit_counts_bytes_of_both(self, net: Net, name: str) -> None:
        a, b = net.cluster("a", "b")
        most = BROADCAST_SIZE_MAX - len(name.encode())
        send(net, a, name, b"x" * most)
        with pytest.raises(PayloadTooLarge, match="at most 512 bytes together, not 513"):
            a.broadcast(name, b"x" * (most + 1), net.now)
        with pytest.raises(ValueError, match="needs a name"):
            a.broadcast("", b"x", net.now)
        net.run(0.2)
        assert told(net, b) == [("a", name, b"x" * most)]

    def test_no_packet_is_too_large(self, net: Net) -> None:
        nodes = net.cluster(*"abcd")
        for number in range(20):
            send(net, nodes[number % 4], "n", bytes([number]) * 500)
        net.run(1)
        assert max(len(sent.data) for sent in net.sent) <= net.config.packet_size_max
        for node in nodes:
            assert len(told(net, node)) == 20

    def test_a_node_that_missed_the_flood_is_told_by_a_ride_or_an_exchange(self) -> None:
        net = Net(push_pull_interval=5.0, piggyback_limit=1)
        nodes = net.cluster(*"abcdef")
        net.split("abc", "def")
        send(net, nodes[0], "news", b"1")
        net.run(0.3)
        assert [len(told(net, node)) for node in nodes] == [1, 1, 1, 0, 0, 0]
        for node in nodes:
            node._dissemination._riding_behind.clear()
        net.heal()
        # While all pings agree, and no broadcast was heard for long, only every fourth exchange takes place.
        net.run(4 * net.config.push_pull_interval)
        assert [told(net, node) for node in nodes[3:]] == [[("a", "news", b"1")]] * 3
        assert [told(net, node) for node in nodes[:3]] == [[]] * 3

    def test_a_node_that_joins_later_is_not_told_of_what_was(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        send(net, a, "old", b"1")
        net.run(5)
        c = net.start("c", "a")
        net.run(40)
        assert told(net, c) == []
        send(net, a, "new", b"2")
        net.run(0.2)
        assert told(net, c) == [("a", "new", b"2")]
        assert len(told(net, b)) == 2

    def test_of_a_sender_that_is_gone_only_the_words_remain(self, net: Net) -> None:
        nodes = net.cluster(*"abc")
        b = nodes[1]
        fields: dict[str, Any] = {"o": "c", "b": "another!", "n": 7}
        nodes[0]._broadcasts.receive(event(BIRTH + 9, **fields), nodes[0]._table.get("b"), net.now)
        net.drain(nodes[0])
        net.run(0.2)
        assert told(net, b) == [(None, "news", b"!")]

    @pytest.mark.parametrize("by", ["a packet", "an exchange"])
    def test_those_of_an_earlier_life_of_the_cluster_are_not_heard(self, net: Net, by: str) -> None:
        """All were restarted. Somebody has recorded what they said, and says it again."""
        nodes = net.cluster(*"abc")
        earlier: dict[str, Any] = {"Name": "old", "Payload": b"!", "o": "b", "b": "earlier!", "n": 7}
        for node in nodes:
            if by == "a packet":
                node._broadcasts.receive(event(BIRTH - 1, **earlier), node._table.get("c"), net.now)
            else:
                state = user_state(EventLTime=BIRTH, Events=[{"LTime": BIRTH - 1, "Events": [earlier]}])
                s = net.puppet("s")
                node.receive_request(PushPull((s.state(),), user_state=state), s.address, net.now)
            net.drain(node)
        net.run(30)
        assert [told(net, node) for node in nodes] == [[], [], []]
        send(net, nodes[2], "new")
        net.run(0.3)
        assert [len(told(net, node)) for node in nodes] == [1, 1, 1]

    def test_memory_is_bounded_and_what_is_older_is_not_taken(self, net: Net) -> None:
        (a,) = net.cluster("a")
        b = net.start("b", "a")
        net.run(1)
        sender = a._table.get("b")
        for time in range(10, 10 + 5_000):
            a._broadcasts.receive(event(time), sender, net.now)
        assert len(told(net, a)) == 5_000
        assert len(a._broadcasts._heard) == 4_096
        a._broadcasts.receive(event(10), sender, net.now)
        assert told(net, a) == []
        assert a.dropped["event-old"] == 1
        assert b.phase is Phase.MEMBER


class TestWithSerf:
    def test_its_events_are_told_once_and_passed_on_as_they_came(self, net: Net) -> None:
        nodes = net.cluster(*"abcd")
        s, other = agent(net, "s", *nodes), agent(net, "t", *nodes)
        message = event(BIRTH + 5, payload=b"hello", future="field")
        for node in (nodes[0], nodes[1], nodes[0]):
            s.tell(node, message)
        net.run(0.3)
        assert [told(net, node) for node in nodes] == [[(None, "news", b"hello")]] * 4
        passed = {said.payload for _, said in net.said(UserMessage, to=other.address)}
        assert message.payload in passed
        s.tell(nodes[0], event(BIRTH + 6, payload=b"hello"))
        net.run(0.3)
        assert [len(told(net, node)) for node in nodes] == [1] * 4

    def test_ours_are_in_its_form_and_later_than_all_it_has_said(self, net: Net) -> None:
        nodes = net.cluster(*"abcd")
        s = agent(net, "s", *nodes)
        s.tell(nodes[0], event(BIRTH + 41))
        net.run(0.3)
        send(net, nodes[2], "deploy", b"7")
        net.run(0.3)
        (message,) = [m for m in serf_messages(net, s, SerfType.USER_EVENT) if m.body["Name"] == "deploy"]
        assert message.body["LTime"] == BIRTH + 42
        assert message.body["CC"] is False
        assert message.body["Payload"] == b"7"
        assert (message.body["o"], message.body["n"]) == (b"c", 1)

    def test_an_event_that_lost_our_fields_in_an_exchange_is_still_the_same(self, net: Net) -> None:
        nodes = net.cluster("a", "b")
        s = agent(net, "s", *nodes)
        send(net, nodes[0], "deploy", b"7")
        net.run(0.3)
        (heard,) = serf_messages(net, s, SerfType.USER_EVENT)
        bare = {"Name": "deploy", "Payload": b"7"}
        state = user_state(EventLTime=9, Events=[None, {"LTime": heard.body["LTime"], "Events": [bare]}])
        nodes[1].receive_request(PushPull((s.state(),), user_state=state), s.address, net.now)
        assert [len(told(net, node)) for node in nodes] == [1, 1]

    def test_its_exchanges_tell_what_was_missed_and_set_the_clocks(self, net: Net) -> None:
        nodes = net.cluster("a", "b")
        s = agent(net, "s", *nodes)
        missed = {"LTime": BIRTH + 8, "Events": [{"Name": "missed", "Payload": None}]}
        state = user_state(EventLTime=BIRTH + 9, LTime=70, QueryLTime=3, Events=[missed, None])
        nodes[1].receive_request(PushPull((s.state(),), user_state=state), s.address, net.now)
        net.drain(nodes[1])
        net.run(0.3)
        assert [told(net, node) for node in nodes] == [[(None, "missed", b"")]] * 2
        send(net, nodes[1], "next")
        net.run(0.3)
        times = {m.body["Name"]: m.body["LTime"] for m in serf_messages(net, s, SerfType.USER_EVENT)}
        assert times["next"] == BIRTH + 9
        answer = nodes[1]._sync.state(net.now, to_own=False)
        ours = decode_message(answer.user_state)
        assert ours is not None
        assert ours.body["LTime"] == 70
        assert {name["Name"] for at in ours.body["Events"] for name in at["Events"]} == {"missed", "next"}

    def test_a_leave_is_announced_before_it_happens(self, net: Net) -> None:
        nodes = net.cluster(*"abcd")
        s = agent(net, "s", *nodes)
        s.tell(nodes[0], intent(SerfType.JOIN, 30, "s"))
        net.run(1)
        begun = net.now
        nodes[3].leave(begun)
        net.drain(nodes[3])
        net.run(2)
        assert nodes[3].phase is Phase.LEFT
        leaves = [
            (sent.when, decode_message(said.payload)) for sent, said in net.said(UserMessage, to=s.address)
        ]
        first = min(when for when, message in leaves if message and message.type is SerfType.LEAVE)
        assert first - begun < 0.01
        (said,) = serf_messages(net, s, SerfType.LEAVE)
        assert (said.body["Node"], said.body["LTime"]) == ("d", 31)
        deaths = [sent.when for sent, dead in net.said(Dead, to=s.address) if dead.node == "d"]
        assert min(deaths) >= begun + INTENT_AHEAD_S

    def test_without_foreign_members_nothing_is_announced(self, net: Net) -> None:
        nodes = net.cluster(*"abcd")
        nodes[3].leave(net.now)
        net.drain(nodes[3])
        net.run(1)
        assert net.said(UserMessage) == []

    def test_intents_and_queries_are_passed_on_once(self, net: Net) -> None:
        nodes = net.cluster(*"abcd")
        s, t = agent(net, "s", *nodes), agent(net, "t", *nodes)
        query = UserMessage(encode_message(SerfType.QUERY, QUERY | {"LTime": 4, "ID": 9}))
        quiet = UserMessage(encode_message(SerfType.QUERY, QUERY | {"LTime": 4, "ID": 10, "Flags": 2}))
        older, newer = intent(SerfType.JOIN, 4, "s"), intent(SerfType.LEAVE, 5, "s")
        for message in (newer, older, query, quiet, newer, query):
            s.tell(nodes[0], message)
        net.run(0.5)
        passed = [said.payload for _, said in net.said(UserMessage, to=t.address)]
        assert set(passed) == {newer.payload, query.payload}
        net.run(20)
        assert len([said for _, said in net.said(UserMessage, to=t.address)]) < 40

    def test_that_this_node_leaves_is_denied(self, net: Net) -> None:
        nodes = net.cluster(*"ab")
        s = agent(net, "s", *nodes)
        s.tell(nodes[0], intent(SerfType.LEAVE, 50, "a"))
        net.run(0.3)
        (denial,) = [m for m in serf_messages(net, s, SerfType.JOIN) if m.body["Node"] == "a"]
        assert denial.body["LTime"] == 51
        state = user_state(LTime=60, LeftMembers=["b"])
        nodes[1].receive_request(PushPull((s.state(),), user_state=state), s.address, net.now)
        net.drain(nodes[1])
        net.run(0.3)
        (denial,) = [m for m in serf_messages(net, s, SerfType.JOIN) if m.body["Node"] == "b"]
        assert denial.body["LTime"] == 60


class TestAmongPlainMemberlists:
    @pytest.fixture
    def nodes(self, net: Net) -> list[Node]:
        """Nodes that have joined a plain memberlist."""
        m = net.puppet("m", own=False, versions=PLAIN)
        m.answer = PushPull((m.state(),))
        self.m = m
        a = net.start("a", [m.address])
        assert net.run_until(lambda: a.phase is Phase.MEMBER, 5)
        b = net.start("b", "a")
        assert net.run_until(lambda: b.phase is Phase.MEMBER and len(a.members()) == 3, 5)
        net.run(1)
        return [a, b]

    def test_they_hear_nothing_and_ours_do(self, net: Net, nodes: list[Node]) -> None:
        a, b = nodes
        send(net, a, "news", b"1")
        net.run(10)
        assert told(net, a) == told(net, b) == [("a", "news", b"1")]
        a.leave(net.now)
        net.drain(a)
        net.run(2)
        assert net.said(UserMessage, to=self.m.address) == []
        assert net.said(UserMessage, by=a, to=b.address)
        assert b._sync.state(net.now, to_own=False).user_state == b""
        assert b._sync.state(net.now, to_own=True).user_state

    def test_what_they_send_each_other_is_not_ours(self, net: Net, nodes: list[Node]) -> None:
        before = nodes[0].dropped.get("user", 0)
        self.m.tell(nodes[0], event(3))
        net.run(0.3)
        assert told(net, nodes[0]) == []
        assert nodes[0].dropped["user"] == before + 1


class TestTimesBeyondReason:
    """A clock that is at its end would end every node that is told of it, as soon as it speaks again."""

    @pytest.mark.parametrize("kind", [SerfType.USER_EVENT, SerfType.LEAVE, SerfType.QUERY])
    @pytest.mark.parametrize("ahead", [2**64 - 1, 2**64 - 2, 2**40])
    def test_are_dropped(self, net: Net, kind: SerfType, ahead: int) -> None:
        nodes = net.cluster("a", "b")
        s = agent(net, "s", *nodes)
        send(net, nodes[0], "before")
        said = {
            SerfType.USER_EVENT: event(ahead),
            SerfType.LEAVE: intent(SerfType.LEAVE, ahead, "a"),
            SerfType.QUERY: UserMessage(encode_message(SerfType.QUERY, QUERY | {"LTime": ahead})),
        }
        s.tell(nodes[0], said[kind])
        net.run(0.3)
        assert nodes[0].dropped["time-ahead"] == 1
        assert said[kind].payload not in {passed.payload for _, passed in net.said(UserMessage)}
        send(net, nodes[0], "after")
        net.run(60)
        assert [told(net, node) for node in nodes] == [[("a", "before", b""), ("a", "after", b"")]] * 2

    @pytest.mark.parametrize("time", [2**64 - 1, 2**64 - 2, 2**40])
    def test_of_an_exchange_are_dropped_too(self, net: Net, time: int) -> None:
        nodes = net.cluster("a", "b")
        s = agent(net, "s", *nodes)
        there = {"LTime": time, "Events": [{"Name": "made up", "Payload": b""}]}
        here = {"LTime": BIRTH + 7, "Events": [{"Name": "missed", "Payload": b""}]}
        state = user_state(EventLTime=time, LTime=time, QueryLTime=time, Events=[there, here])
        nodes[0].receive_request(PushPull((s.state(),), user_state=state), s.address, net.now)
        net.drain(nodes[0])
        assert nodes[0].dropped["time-ahead"] == 4
        net.run(60)
        send(net, nodes[1], "after")
        net.run(0.2)
        assert [told(net, node) for node in nodes] == [[(None, "missed", b""), ("b", "after", b"")]] * 2

    def test_are_no_bar_to_clusters_that_have_been_apart(self, net: Net) -> None:
        nodes = net.cluster("a", "b")
        s = agent(net, "s", *nodes)
        s.tell(nodes[0], event(BIRTH + 2**32))
        send(net, nodes[1], "next")
        net.run(0.3)
        assert [len(told(net, node)) for node in nodes] == [2, 2]

    def test_a_node_that_joins_follows_its_cluster_but_not_to_the_end(self, net: Net) -> None:
        s = net.puppet("s", own=False)
        for name, time, heard in (("a", 2**40, True), ("b", 2**63, False), ("c", 2**64 - 1, False)):
            s.answer = PushPull(
                (s.state(),), user_state=user_state(EventLTime=time, LTime=time, QueryLTime=time)
            )
            node = net.start(name, [s.address])
            assert net.run_until(lambda node=node: node.phase is Phase.MEMBER, 5)
            s.tell(node, event(2**40 + 1))
            assert told(net, node) == ([(None, "news", b"!")] if heard else [])
            send(net, node, "ours")
            net.run(60)
            assert told(net, node) == [(name, "ours", b"")]


class TestTooLargeToPassOn:
    """A few hundred compressed bytes can hold sixty thousand."""

    @pytest.mark.parametrize("kind", [SerfType.USER_EVENT, SerfType.LEAVE, SerfType.QUERY])
    def test_is_dropped(self, net: Net, kind: SerfType) -> None:
        nodes = net.cluster("a", "b")
        s = agent(net, "s", *nodes)
        message = {
            SerfType.USER_EVENT: event(5, payload=bytes(60_000)),
            SerfType.LEAVE: intent(SerfType.LEAVE, 5, "x" * 60_000),
            SerfType.QUERY: UserMessage(
                encode_message(SerfType.QUERY, QUERY | {"Payload": bytes(60_000)}),
            ),
        }[kind]
        s.send(nodes[0], compress(net.codec.part(message)))
        net.run(3)
        assert nodes[0].dropped["user-size"] == 1
        assert [told(net, node) for node in nodes] == [[], []]
        assert max(len(sent.data) for sent in net.sent) <= net.config.packet_size_max

    def test_of_an_exchange_is_dropped_too(self, net: Net) -> None:
        nodes = net.cluster("a", "b")
        s = agent(net, "s", *nodes)
        large, small = ({"Name": name, "Payload": bytes(size)} for name, size in (("l", 2_000), ("s", 900)))
        state = user_state(EventLTime=BIRTH + 9, Events=[{"LTime": BIRTH + 8, "Events": [large, small]}])
        nodes[1].receive_request(PushPull((s.state(),), user_state=state), s.address, net.now)
        net.drain(nodes[1])
        net.run(3)
        assert nodes[1].dropped["user-size"] == 1
        assert [told(net, node) for node in nodes] == [[(None, "s", bytes(900))]] * 2
        assert max(len(sent.data) for sent in net.sent) <= net.config.packet_size_max

    def test_what_rides_on_no_ping_goes_alone_in_a_larger_datagram_and_is_over(self, net: Net) -> None:
        nodes = net.cluster("a", "b")
        most = nodes[0]._dissemination.part_max - 1
        payload = bytes(most - len(event(BIRTH + 5, payload=b"").payload) - 2)
        for number in range(20):
            message = event(BIRTH + 5 + number, payload=payload)
            assert len(message.payload) == most > 1_200, "Serf can be told to take more than its default"
            nodes[0]._broadcasts.receive(message, nodes[0]._table.get("b"), net.now)
        net.drain(nodes[0])
        net.run(120)
        assert len(told(net, nodes[1])) == 20
        assert [len(node._dissemination._riding_behind) for node in nodes] == [0, 0]
        sizes = [len(sent.data) for sent in net.sent]
        assert max(sizes) == 1_400
        assert [size for size in sizes if net.config.packet_size_max < size < 1_400] == []


class TestBadInput:
    @pytest.mark.parametrize(
        "payload",
        [b"", b"\xff", b"\x03", b"\x03\x80", b"b", b"b\x80", b"\x02junk", event(3).payload[:-1], b"text"],
    )
    def test_is_counted(self, net: Net, payload: bytes) -> None:
        nodes = net.cluster("a", "b")
        s = agent(net, "s", *nodes)
        s.tell(nodes[0], UserMessage(payload))
        net.run(0.3)
        assert nodes[0].dropped["user"] == 1
        assert told(net, nodes[0]) == []

    def test_strangers_are_not_heard(self, net: Net) -> None:
        (a,) = net.cluster("a")
        a.receive_datagram(net.codec.packet([net.codec.part(event(3))]), Address("10.9.9.9", 1), net.now)
        assert told(net, a) == []
        assert a.dropped["stranger"] == 1

    @pytest.mark.parametrize("state", [b"\x02", b"junk", event(3).payload])
    def test_of_a_user_state_too(self, net: Net, state: bytes) -> None:
        nodes = net.cluster("a", "b")
        s = agent(net, "s", *nodes)
        nodes[0].receive_request(PushPull((s.state(),), user_state=state), s.address, net.now)
        assert nodes[0].dropped["user-state"] == 1


QUERY: dict[str, object] = {
    "Addr": b"\x0a\0\0\1",
    "Filters": [],
    "Flags": 0,
    "ID": 1,
    "LTime": 1,
    "Name": "uptime",
    "Payload": b"",
    "Port": 7946,
    "RelayFactor": 0,
    "SourceNode": "s",
    "Timeout": 1,
}


def user_state(**fields: Any) -> bytes:
    body = {
        "EventLTime": 1,
        "Events": None,
        "LTime": 1,
        "LeftMembers": [],
        "QueryLTime": 1,
        "StatusLTimes": {},
    }
    return encode_message(SerfType.PUSH_PULL, body | fields)


def test_broadcast_is_what_the_application_gets(net: Net) -> None:
    (a,) = net.cluster("a")
    send(net, a, "news", b"1")
    assert net.take_broadcasts(a) == [Broadcast(a.me, "news", b"1")]


def test_after_a_broadcast_no_exchange_is_left_out(net: Net) -> None:
    nodes = net.cluster(*"abcdefgh")
    net.run(300)
    begun = len(net.requested)
    net.run(90)
    quiet = len(net.requested) - begun
    send(net, nodes[0], "news")
    begun = len(net.requested)
    net.run(90)
    assert len(net.requested) - begun > 2 * quiet
