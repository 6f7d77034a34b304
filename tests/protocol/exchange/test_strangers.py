"""An attacker with a socket: amplification, poison, growth, and input that makes no sense.

What anybody can do who can open a connection, and has no key: everything here is said by a puppet that
is no member, or is one only because it said so.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.compressing import compress
from swim.events import MemberFailed
from swim.protocol.node import Node, Phase
from swim.protocol.view.identity import id_milliseconds, is_minted, mint_id, pack_id
from swim.protocol.view.table import encode_meta
from swim.types import Address
from swim.wire import pack_host
from swim.wire.framing import compound
from swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    LeaderKind,
    LeaderMessage,
    Message,
    Nack,
    NodeState,
    ObserverKind,
    ObserverMessage,
    Ping,
    PingReq,
    PushPull,
    PushPullHead,
    Suspect,
    UserMessage,
    WireState,
)
from tests.protocol.fakes import EPOCH, PLAIN, SERF, Net, Puppet, address_of, read

VICTIM = Address("192.0.2.1", 53)
FAR_FUTURE = mint_id((1 << 48) - 1, random.Random(1))


def sent_to(net: Net, address: Address) -> int:
    return sum(len(sent.data) for sent in net.sent if sent.target == address)


def packed(net: Net, messages: list[Message]) -> bytes:
    """As small as they can be made: compounds within a compressed message."""
    parts = [net.codec.part(message) for message in messages]
    compounds = [compound(parts[start : start + 127]) for start in range(0, len(parts), 127)]
    return compress(compound(compounds))


class TestAmplification:
    """To an address that may be forged goes no more than came from there."""

    @pytest.fixture
    def net(self) -> Net:
        return Net()

    @pytest.fixture
    def node(self, net: Net) -> Node:
        """A lone member with a long name."""
        return net.start("a-rather-long-name-for-a-member", tags={"role": "x" * 300})

    def returned(self, net: Net, node: Node, data: bytes, seconds: float = 2.0) -> int:
        net.sent.clear()
        node.receive_datagram(data, VICTIM, net.now)
        net.drain(node)
        net.run(seconds)
        return sent_to(net, VICTIM)

    @pytest.mark.parametrize(
        "message",
        [
            Ping(1),
            Ping(1, "a-rather-long-name-for-a-member"),
            Ping(1, sender_id=b"x"),
            Ping(1, sender_id=bytes(16), view=bytes(8)),
            Ping(1, source_address=b"\x0a\0\0\1", source_port=53, source_node="x"),
            PingReq(1, "x", b"\x0a\0\0\1", 53, nack=True),
            Ack(1),
            Nack(1),
            Suspect("a-rather-long-name-for-a-member", 1, "x"),
            Suspect("a-rather-long-name-for-a-member", 1_000, "x"),
            Dead("a-rather-long-name-for-a-member", 1, "x"),
            UserMessage(b"hello"),
            ObserverMessage(ObserverKind.POLL, "a-rather-long-name-for-a-member", 1),
        ],
        ids=lambda message: type(message).__name__,
    )
    def test_one_message(self, net: Net, node: Node, message: Message) -> None:
        data = net.codec.part(message)
        assert self.returned(net, node, data) <= len(data)

    def test_a_ping_is_answered_and_nothing_is_looked_at_anew(
        self, net: Net, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There may be thousands a second. Anything else may have changed what the parts follow."""
        followed: list[float] = []
        monkeypatch.setattr(node, "_settle", followed.append)
        node.receive_datagram(net.codec.part(Ping(1)), VICTIM, net.now)
        assert not followed
        net.drain(node)
        assert sent_to(net, VICTIM)
        node.receive_datagram(net.codec.part(Ack(1)), VICTIM, net.now)
        assert followed

    def test_a_small_introduction(self, net: Net, node: Node) -> None:
        data = net.codec.part(Alive("x", 1, pack_host(VICTIM.host), VICTIM.port, b"", b""))
        assert self.returned(net, node, data) <= len(data)

    def test_many_pings_in_one_packet(self, net: Net, node: Node) -> None:
        parts = [net.codec.part(Ping(seq, sender_id=b"x")) for seq in range(100)]
        data = compound(parts)
        assert self.returned(net, node, data) <= len(data)

    def test_many_pings_in_one_compressed_packet(self, net: Net, node: Node) -> None:
        data = packed(net, [Ping(1, sender_id=b"x")] * 500)
        assert self.returned(net, node, data) <= len(data)

    def test_answers_that_would_not_be_sent_are_not_even_made(
        self, net: Net, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of many pings in one small packet; what else is in it counts."""
        read: list[Ping] = []
        answer = node._probing.receive_ping

        def noting(ping: Ping, *rest: Any, **how: Any) -> None:
            read.append(ping)
            answer(ping, *rest, **how)

        monkeypatch.setattr(node._probing, "receive_ping", noting)
        stranger = net.puppet("x")
        stranger.send(node, packed(net, [stranger.alive(), *[Ping(1, sender_id=b"x")] * 500]))
        assert 0 < len(read) <= 8
        assert node.dropped["answers-max"] >= 200
        net.run(0.1)
        assert net.believes(node, "x") is not None

    def test_many_introductions_in_one_compressed_packet(self, net: Net, node: Node) -> None:
        data = packed(net, [Alive("x", 1, pack_host(VICTIM.host), VICTIM.port, b"", b"")] * 300)
        assert self.returned(net, node, data) <= len(data)

    def test_bytes_that_are_no_message(self, net: Net, node: Node) -> None:
        for data in (b"\x00", b"\xff" * 50, bytes(50), b"\x07\xff", b"\x09\x80"):
            assert self.returned(net, node, data, 0.1) == 0

    def test_an_address_that_a_member_names_as_its_rivals_gets_no_more_than_that(self) -> None:
        """A conflict of names is told to the newcomer: at an address that anybody may have named."""
        net = Net()
        node = net.start("a", tags={"role": "x" * 300})
        victim = net.puppet("victim", mute=True, address=VICTIM)
        other = net.puppet("other").join(node)
        net.puppet("named", meta=other.meta + bytes(300)).join(node)
        news = [Alive("named", 100 + n, pack_host(VICTIM.host), VICTIM.port, b"", SERF) for n in range(300)]
        data = packed(net, list(news))
        other.send(node, data)
        net.run(2)
        assert sum(map(len, victim.datagrams)) <= len(data)

    def test_an_address_that_claims_my_name_gets_no_more_than_the_claim(self) -> None:
        net = Net()
        node = net.start("a-rather-long-name-for-a-member")
        other = net.puppet("other").join(node)
        rival = replace(other.alive(), node=node.name, address=pack_host(VICTIM.host), port=VICTIM.port)
        data = packed(net, [replace(rival, incarnation=number) for number in range(1, 200)])
        net.sent.clear()
        other.send(node, data)
        net.run(2)
        assert sent_to(net, VICTIM) <= len(data)

    def test_a_stranger_cannot_have_another_pinged(self, net: Net, node: Node) -> None:
        self.returned(net, node, net.codec.part(PingReq(1, "x", b"\xc0\0\2\2", 53)))
        assert net.sent == []
        assert node.dropped["stranger"] == 1

    def test_not_even_a_member_can_have_a_stranger_pinged(self, net: Net, node: Node) -> None:
        member = net.puppet("p", mute=True).join(node)
        net.run(0.1)
        net.sent.clear()
        member.tell(node, PingReq(1, "x", pack_host(VICTIM.host), VICTIM.port))
        net.run(0.2)
        assert sent_to(net, VICTIM) == 0
        assert node.dropped["ping-req-target"] == 1

    @pytest.mark.parametrize("what", ["deaths", "names", "rivals", "observers", "leaders"])
    def test_the_address_of_a_member_gets_few_answers_to_what_is_out_of_date(self, what: str) -> None:
        """It can be forged as well, where there is no key."""
        net = Net()
        node = net.start("a", tags={"role": "x" * 300})
        member, _, gone = (net.puppet(name).join(node) for name in "mog")
        gone.mute = True
        member.tell(node, Dead("a", 1, "m"), Dead("g", 1, "m"))
        net.run(3)
        net.sent.clear()
        teller = gone if what == "leaders" else member
        boots = {"process": b"PUPPET00", "boot": b"PUPPET00", "to": node.boot.encode()}
        who: dict[str, Any] = {"author": "m", **boots}
        news: dict[str, Message] = {
            "deaths": Dead("a", 1, "m"),
            "names": member.alive(meta=encode_meta({}, mint_id(1, net.rng), "BOOT0002")),
            "rivals": Alive("o", 5, pack_host(member.address.host), 7946, b"", SERF),
            "observers": ObserverMessage(ObserverKind.HINT, "g", 1, **who),
            "leaders": LeaderMessage(LeaderKind.CONFIRM, 1),
        }
        copies = [news[what]] * 400
        if what == "observers":
            copies = [replace(news[what], count=count) for count in range(1, 401)]  # type: ignore[arg-type]
            news[what] = replace(news[what], count=501)  # type: ignore[arg-type]
        for start in range(0, 400, 8):
            teller.send(node, packed(net, copies[start : start + 8]))
        assert 0 < len([sent for sent in net.sent if sent.target == teller.address]) <= 50
        assert node.dropped["corrections-max"] >= 350
        net.run(10)
        net.sent.clear()
        teller.tell(node, news[what])
        assert [sent for sent in net.sent if sent.target == teller.address], "later ones are answered again"

    def test_the_ack_goes_to_where_the_ping_came_from_whatever_address_it_names(
        self, net: Net, node: Node
    ) -> None:
        data = net.codec.part(Ping(1, "", pack_host("192.0.2.9"), 99, "x"))
        self.returned(net, node, data, 0.1)
        assert [sent.target for sent in net.sent] == [VICTIM]


class TestPoison:
    """What a single push/pull from anywhere must not be able to do."""

    @pytest.fixture
    def net(self) -> Net:
        return Net()

    def sane(self, net: Net, node: Node) -> bool:
        """Its id is a minted one, and of about now."""
        id = node.me.id
        return id is not None and is_minted(id) and id_milliseconds(id) < (EPOCH + net.now + 7_200) * 1000

    @pytest.mark.parametrize("own", [True, False])
    def test_a_floor_from_the_far_future_is_not_believed(self, net: Net, own: bool) -> None:
        node = net.start("a")
        stranger = net.puppet("x", own=own)
        stranger.push(node, head=stranger.head(floor=pack_id(FAR_FUTURE)))
        assert node.floor < FAR_FUTURE
        assert self.sane(net, node)
        assert node.leader is not None

    def test_a_floor_without_its_leader_is_not_followed(self, net: Net) -> None:
        """As a bare number it makes nodes chase it."""
        a, b = net.cluster("a", "b")
        floor = mint_id(int((EPOCH + net.now) * 1000) + 60_000, random.Random(3))
        stranger = net.puppet("x")
        stranger.push(a, stranger.state(), head=stranger.head(floor=pack_id(floor)))
        net.run(5)
        assert a.leader == b.leader
        assert a.leader is not None
        assert a.leader.name == "a"

    def test_floors_that_rise_and_rise_start_no_storm(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        stranger = net.puppet("x")
        net.sent.clear()
        for step in range(200):
            floor = mint_id(int((EPOCH + net.now) * 1000) + 1_000 + 10 * step, random.Random(step))
            stranger.push(a, head=stranger.head(floor=pack_id(floor)))
            net.run(0.005)
        assert a.me.incarnation + b.me.incarnation < 100
        assert len(net.sent) < 300

    def test_the_id_of_a_dead_member_that_nobody_knew_is_no_measure_for_new_ones(self, net: Net) -> None:
        node = net.start("a")
        ghost = net.puppet("ghost", id=FAR_FUTURE)
        net.puppet("x").push(node, ghost.state(WireState.DEAD))
        joiner = net.start("b", "a")
        net.run(3)
        assert self.sane(net, joiner)
        assert net.believes(node, "b") is not None

    def test_the_death_of_a_name_that_never_was_keeps_nobody_from_joining_under_it(self, net: Net) -> None:
        node = net.start("a")
        stranger = net.puppet("x")
        stranger.push(node, stranger.state(WireState.DEAD, name="b", incarnation=0xFFFF_FFFF))
        joiner = net.start("b", "a")
        net.run(3)
        assert joiner.phase is Phase.MEMBER
        assert net.believes(node, "b") is not None

    def test_a_dead_member_at_an_address_that_is_none_is_not_remembered(self, net: Net) -> None:
        node = net.start("a")
        stranger = net.puppet("x")
        stranger.push(node, stranger.state(WireState.DEAD, name="b", address=bytes(4), port=0))
        net.requested.clear()
        net.run(15)
        assert not [address for _, _, address in net.requested if address == Address("0.0.0.0", 0)]

    @pytest.mark.parametrize("state", [WireState.SUSPECT, WireState.ALIVE])
    def test_leaps_of_incarnation_do_not_put_a_member_out_of_its_own_reach(
        self, net: Net, state: WireState
    ) -> None:
        """Each leap is small enough to be believed; all together are more than can be counted."""
        a, b = net.cluster("a", "b")
        stranger = net.puppet("x", own=False)
        entry = stranger.state(state, name="b", address=pack_host(b.address.host))
        for leap in range(1, 4_200):
            number = min(leap * ((1 << 20) - 1), 0xFFFF_FFFF)
            a.receive_request(PushPull((replace(entry, incarnation=number),)), stranger.address, net.now)
            if leap % 100 == 0:
                net.drain(a)
        net.run(5)
        b.set_tags({"role": "db"}, net.now)
        net.drain(b)
        net.run(60)
        assert [(member.id, member.tags) for member in a.members() if member.name == "b"] == [
            (b.me.id, {"role": "db"})
        ]

    def test_one_member_of_another_delegate_version_does_not_end_all_exchanges(self, net: Net) -> None:
        """It is let in by its own word; after that no push/pull of the cluster would pass the check."""
        a, b = net.cluster("a", "b")
        stranger = net.puppet("x", own=False, versions=PLAIN)
        stranger.tell(a, stranger.alive())
        net.run(3)
        refusals = a.dropped.get("merge-version", 0) + b.dropped.get("merge-version", 0)
        c = net.start("c", "a")
        net.run(10)
        assert c.phase is Phase.MEMBER
        assert a.dropped.get("merge-version", 0) + b.dropped.get("merge-version", 0) == refusals

    def test_a_seed_that_lies_about_ids_spoils_nobodys_id(self, net: Net) -> None:
        node = net.start("a")
        liar = net.puppet("liar", id=FAR_FUTURE)
        liar.answer = PushPull((liar.state(),), head=liar.head())
        joiner = net.start("b", [liar.address])
        net.run(1)
        joiner.set_seeds([node.address], net.now)
        net.run(10)
        assert self.sane(net, joiner)

    def test_an_established_member_does_not_give_way_to_a_newcomer_without_an_id(self, net: Net) -> None:
        """A foreign member, or anybody who answers a ping, under its name at another address."""
        a, b = net.cluster("a", "b")
        rival = net.puppet("rival", own=False)
        rival.name = "a"
        rival.push(a, rival.state())
        rival.push(b, rival.state())
        net.run(5)
        assert a.phase is Phase.MEMBER
        assert net.believes(b, "a") is not None


class TestGrowth:
    """Nothing that others send grows without limit."""

    def test_news_to_be_passed_on(self) -> None:
        net = Net(dead_max=16, members_max=64)
        node = net.start("a")
        member = net.puppet("m").join(node)
        for number in range(2_000):
            news = member.alive(node=f"n{number}", address=pack_host(f"10.9.{number >> 8}.{number & 255}"))
            member.tell(node, news, Dead(f"n{number}", 1, f"n{number}"))
        assert len(node._dissemination._riding) + len(node._dissemination._riding_behind) <= 256
        net.run(0.1)
        assert len(node._dissemination._pending) == 0

    def test_claims_to_my_name_from_many_addresses(self) -> None:
        """Those beyond the limit are dropped, and may be made again later."""
        net = Net()
        node = net.start("a")
        member = net.puppet("m").join(node)
        rival = net.puppet("rival")
        claim = replace(rival.alive(), node="a")
        for number in range(1_000):
            host = pack_host(f"10.9.{number >> 8}.{number & 255}")
            member.tell(node, replace(claim, address=host, incarnation=1))
        member.tell(node, claim)
        net.run(10)
        rival.asked.clear()
        member.tell(node, claim)
        net.run(1)
        assert rival.calls(), "this claim is never looked into again"

    def test_strangers_that_introduce_themselves_cannot_use_up_what_members_need(self) -> None:
        """Pings to strangers are limited; they must not keep a conflict of names from being noticed."""
        net = Net()
        node = net.start("a")
        member = net.puppet("m").join(node)
        rival = net.puppet("rival")
        for number in range(300):
            host = f"10.9.{number >> 8}.{number & 255}"
            news = Alive(f"s{number}", 1, pack_host(host), 7946, b"", SERF)
            node.receive_datagram(net.codec.part(news), Address(host, 7946), net.now)
        member.tell(node, replace(rival.alive(), node="a"))
        net.run(0.5)
        assert rival.calls()

    def test_members(self) -> None:
        net = Net(members_max=50)
        node = net.start("a")
        member = net.puppet("m").join(node)
        for number in range(1, 200):
            member.tell(node, member.alive(node=f"n{number}", address=pack_host(f"10.9.0.{number}")))
        net.run(0.1)
        assert len(node.members()) <= 50
        assert node.dropped["members-max"] > 0

    def test_the_dead(self) -> None:
        net = Net(dead_max=20)
        node = net.start("a")
        stranger = net.puppet("x")
        stranger.push(node, *(stranger.state(WireState.DEAD, name=f"n{number}") for number in range(200)))
        assert len(node._table) <= 21

    def test_work_for_foreign_members_that_were_made_up(self) -> None:
        """Twice as many make twice the work, and not four times."""
        sent = []
        for count in (400, 800):
            net = Net()
            node = net.start("a")
            crowd = net.puppet("x", own=False).join(node)
            hosts = [pack_host(f"10.9.{number >> 8}.{number & 255}") for number in range(count)]
            for at, host in enumerate(hosts):
                crowd.tell(node, crowd.alive(node=f"n{at}", address=host))
            net.sent.clear()
            net.run(0.1)
            sent.append(len(net.sent))
            assert len(node._probing.subjects) <= 8 * 16
        assert sent[1] <= 2.5 * sent[0]

    def test_ones_own_deaths(self) -> None:
        """All that are remembered are looked at with each new one."""
        net = Net()
        node = net.start("a")
        member = net.puppet("m").join(node)
        for _ in range(1_000):
            member.tell(node, Dead("a", node._own.incarnation, "m"))
        assert node._own.incarnation == 1_001
        assert len(node._readmission._deaths) <= 16

    @pytest.mark.parametrize("way", ["gossip", "push/pull"])
    def test_meta_data_beyond_all_limits_is_not_passed_on(self, way: str) -> None:
        """A packet of ours never has more than 1400 bytes, whatever others gossip."""
        net = Net()
        node = net.start("a")
        member, other = net.puppet("m").join(node), net.puppet("o").join(node)
        if way == "gossip":
            member.tell(node, member.alive(node="big", address=b"\x0a\x09\0\1", meta=bytes(50_000)))
        else:
            member.push(node, member.state(name="big", address=b"\x0a\x09\0\1", meta=bytes(200_000)))
        net.run(3)
        assert max(map(len, other.datagrams)) <= 1_400
        assert max(len(sent.data) for sent in net.sent) <= 1_400


# --- input of every kind

names = st.sampled_from(["a", "b", "p", "x", "y", "\u00fc" * 40])
incarnations = st.one_of(st.integers(0, 6), st.integers(0, 0xFFFF_FFFF))
hosts = st.one_of(
    st.sampled_from([pack_host(address_of(name).host) for name in "abpx"]),
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=16, max_size=16),
)
ports = st.one_of(st.just(7946), st.integers(0, 0xFFFF))
seqs = st.integers(0, 0xFFFF_FFFF)
metas = st.one_of(
    st.just(b""),
    st.binary(max_size=40),
    st.builds(
        lambda id, boot: Puppet(Net(), "p", id=id, boot=boot).meta,
        st.one_of(
            st.sampled_from(["1", "zz", FAR_FUTURE, "0" * 26]),
            st.integers(0, 4_000_000).map(
                lambda ms: mint_id(int(EPOCH * 1000) + ms, random.Random(ms)),
            ),
        ),
        st.sampled_from(["BOOT0001", "BOOT0002"]),
    ),
)
versions = st.one_of(st.sampled_from([SERF, PLAIN, b""]), st.binary(min_size=6, max_size=8))
small = st.binary(max_size=20)
messages = st.one_of(
    st.builds(Ping, seqs, names, st.one_of(st.just(b""), hosts), ports, names, small, small),
    st.builds(PingReq, seqs, names, hosts, ports, st.booleans()),
    st.builds(Ack, seqs, st.none() | small, small, small, seqs, st.booleans()),
    st.builds(Nack, seqs),
    st.builds(Suspect, names, incarnations, names),
    st.builds(Dead, names, incarnations, names, st.booleans()),
    st.builds(Alive, names, incarnations, hosts, ports, metas, versions),
    st.builds(ObserverMessage, st.sampled_from(ObserverKind), names, incarnations, seqs, seqs, st.booleans()),
    st.builds(UserMessage, small),
)
states = st.builds(NodeState, names, incarnations, hosts, ports, metas, st.sampled_from(WireState), versions)
heads = st.one_of(
    st.none(),
    st.builds(
        PushPullHead,
        names,
        small,
        ports,
        st.one_of(st.integers(0, (1 << 64) - 1), st.just(int(EPOCH * 1000))),
        st.booleans(),
        st.one_of(small, st.binary(min_size=16, max_size=16)),
    ),
)
push_pulls = st.builds(
    PushPull, st.lists(states, max_size=4).map(tuple), st.booleans(), st.binary(max_size=5), heads
)
sources = st.sampled_from([address_of(name) for name in "abpx"])
steps = st.one_of(
    st.tuples(st.just("packet"), sources, st.lists(messages, min_size=1, max_size=4)),
    st.tuples(st.just("stream"), sources, push_pulls),
    st.tuples(st.just("answer"), sources, st.one_of(st.none(), push_pulls, st.builds(ConnectionError))),
    st.tuples(st.just("wait"), sources, st.floats(0, 8)),
    st.tuples(st.just("unreachable"), sources, st.none()),
    st.tuples(st.just("kernel"), sources, st.none()),
    st.tuples(st.just("closed"), sources, st.none()),
    st.tuples(st.just("echo"), sources, st.none()),
)


def check(node: Node, net: Net) -> None:
    """What holds of every node at every time."""
    members = node.members()
    assert len({member.name for member in members}) == len(members)
    if node.phase is Phase.MEMBER:
        assert node.name in {member.name for member in members}
        assert node.me.address == node.address
        assert node.leader is None or node.leader.name in {member.name for member in members}
    if node.phase in (Phase.MEMBER, Phase.LEAVING):
        assert node.next_deadline() is not None


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["founder", "joiner", "member"]), st.lists(steps, max_size=15))
def test_no_sequence_of_valid_messages_raises(life: str, script: list[Any]) -> None:
    net = Net()
    if life == "member":
        node = net.cluster("a", "b")[0]
        net.puppet("p").join(node)
    else:
        node = net.start("a", "" if life == "founder" else "bx")
    for kind, source, what in script:
        if node.phase in (Phase.FAILED, Phase.LEFT):
            break
        match kind:
            case "packet":
                data = net.codec.packet([net.codec.part(message) for message in what])
                node.receive_datagram(data, source, net.now)
            case "stream":
                node.receive_request(what, source, net.now)
            case "answer":
                node.receive_answer(1 + len(script) % 3, what, net.now)
            case "wait":
                net.run(what)
            case "unreachable":
                node.receive_refusal(source, net.now)
            case "kernel":
                node.receive_kernel_answer(source, net.now)
            case "closed":
                node.receive_stream_end("x", "PUPPET00", net.now)
            case "over stream":
                data = net.codec.packet([net.codec.part(message) for message in what])
                node.receive_stream_packet(data, "x", "PUPPET00", net.now)
            case "echo":  # its own state comes back
                answer = node.receive_request(PushPull((), True), source, net.now)
                if answer is not None:
                    node.receive_request(read(answer, answering=True), source, net.now)
        net.drain(node)
        check(node, net)
    net.run(6)
    check(node, net)


@settings(max_examples=150)
@given(st.binary(max_size=300), sources)
def test_no_bytes_at_all_raise(data: bytes, source: Address) -> None:
    net = Net()
    node = net.start("a")
    node.receive_datagram(data, source, net.now)
    check(node, net)


@settings(max_examples=60)
@given(st.data())
def test_no_damaged_packet_raises(data: st.DataObject) -> None:
    net = Net()
    node = net.start("a")
    net.puppet("p").join(node)
    whole = bytearray(
        net.codec.packet([net.codec.part(each) for each in data.draw(st.lists(messages, min_size=1))])
    )
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    node.receive_datagram(bytes(whole[:cut]), address_of("p"), net.now)
    net.drain(node)
    check(node, net)


def test_what_is_not_understood_is_counted_under_its_reason() -> None:
    net = Net()
    node = net.start("a")
    stranger = net.puppet("x")
    for data, reason in [
        (b"", "truncated"),
        (b"\xfa", "type"),
        (b"\x00\xc1", "body"),
        (b"\xf4\x01x\x00\x80", "label"),
        (b"\x0c\0\0\0\0\x00\x80", "crc"),
    ]:
        stranger.send(node, data)
        assert node.dropped[reason] == 1, reason


def test_packets_from_outside_the_networks_are_not_even_read() -> None:
    net = Net()
    node = net.start("a", networks=["10.0.0.0/8"])
    outsider = net.puppet("x", address=Address("192.0.2.7", 7946))
    outsider.tell(node, Ping(1))
    assert node.receive_request(PushPull((outsider.state(),)), outsider.address, net.now) is None
    assert outsider.datagrams == []
    assert node.dropped == {"network": 1}


def test_members_outside_the_networks_are_not_believed() -> None:
    net = Net()
    node = net.start("a", networks=["10.0.0.0/8"])
    member = net.puppet("m").join(node)
    member.tell(node, member.alive(node="x", address=pack_host("192.0.2.7")))
    assert net.believes(node, "x") is None
    assert node.dropped["address"] == 1


def test_gossip_of_a_stranger_is_dropped() -> None:
    net = Net()
    a, b = net.cluster("a", "b")
    stranger = net.puppet("x")
    net.forget_events()
    stranger.tell(
        a, Dead("b", 1, "x"), Suspect("b", 1, "x"), stranger.alive(node="y", address=b"\x0a\x09\0\1")
    )
    assert net.events(a) == []
    assert a.dropped["stranger"] == 3
    assert not net.events(b, MemberFailed)


def test_a_stranger_that_introduces_itself_must_answer_a_ping() -> None:
    net = Net()
    node = net.start("a")
    there, silent = net.puppet("x"), net.puppet("y", mute=True)
    there.tell(node, there.alive())
    silent.tell(node, silent.alive())
    assert net.believes(node, "x") is None
    net.run(2)
    assert net.believes(node, "x") is not None
    assert net.believes(node, "y") is None
