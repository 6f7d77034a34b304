"""How a node becomes a member: looking, joining, founding."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from swim.config import Config
from swim.errors import JoinError, NameConflict
from swim.events import MemberFailed, MemberJoined, MemberUpdated
from swim.protocol.base.networks import Networks
from swim.protocol.node import Node, Phase
from swim.protocol.view.identity import id_milliseconds, is_minted, mint_id
from swim.types import Address
from swim.wire.addresses import pack_addresses
from swim.wire.messages import Alive, PushPull, WireState
from tests.protocol.fakes import EPOCH, PLAIN, Net, Puppet, address_of, entry, read


@pytest.fixture
def net() -> Net:
    return Net()


def member(net: Net, node: Node, seconds: float = 10) -> float | None:
    """After how many seconds it became one."""
    began = net.now
    return net.now - began if net.run_until(lambda: node.phase is Phase.MEMBER, seconds) else None


def seed(net: Net, name: str = "s", *, versions: bytes | None = None, own: bool = True) -> Puppet:
    """A puppet that answers looks and joins."""
    puppet = net.puppet(name, own=own, **({} if versions is None else {"versions": versions}))
    puppet.answer = PushPull((puppet.state(),), head=puppet.head() if own else None)
    return puppet


class TestJoining:
    def test_without_seeds_a_node_founds_a_cluster_at_once(self, net: Net) -> None:
        node = net.start("a")
        assert node.phase is Phase.MEMBER
        assert node.leader == node.me
        assert is_minted(node.me.id)
        assert net.events(node, MemberJoined) == []

    def test_with_one_it_joins_in_two_round_trips(self, net: Net) -> None:
        net.start("a")
        joiner = net.start("b", "a")
        assert member(net, joiner) < 0.01
        assert [each.name for each in joiner.members()] == ["a", "b"]

    def test_all_seeds_are_asked_at_once_and_dead_ones_cost_nothing(self, net: Net) -> None:
        net.start("a")
        net.lose_host(net.start("x"))
        joiner = net.start("b", "xyza")
        assert member(net, joiner) < 0.01

    def test_a_look_does_not_show_the_looker(self, net: Net) -> None:
        puppet = seed(net)
        net.start("b", [puppet.address])
        net.run(0.0015)
        (look,) = puppet.asked
        assert isinstance(look, PushPull)
        assert look.nodes == ()
        assert look.head is not None
        assert look.head.joining

    def test_then_it_joins_with_itself(self, net: Net) -> None:
        puppet = seed(net)
        joiner = net.start("b", [puppet.address])
        net.run(1)
        _, join = puppet.asked[:2]
        assert isinstance(join, PushPull)
        assert join.join
        assert [node.name for node in join.nodes] == ["b"]
        assert joiner.phase is Phase.MEMBER

    def test_its_id_is_above_all_it_has_seen_whatever_its_clock(self, net: Net) -> None:
        founder = net.start("a")
        late = net.start("b", "a", skew=-50.0)
        net.run(1)
        assert late.phase is Phase.MEMBER
        assert late.me.id > founder.me.id
        assert id_milliseconds(late.me.id) == id_milliseconds(founder.me.id) + 1

    def test_two_that_join_with_late_clocks_do_not_get_the_same_id(self, net: Net) -> None:
        net.start("a")
        joiners = [net.start(name, "a", skew=-50.0) for name in "bc"]
        net.run(1)
        assert joiners[0].me.id != joiners[1].me.id

    def test_its_id_is_above_those_of_dead_members_and_the_floor(self, net: Net) -> None:
        founder, gone = net.cluster("a", "b")
        id = gone.me.id
        net.run(2)
        net.kill(gone)
        net.run(10)
        joiner = net.start("c", "a", skew=-50.0)
        net.run(1)
        assert joiner.me.id > id
        assert joiner.me.id > founder.floor

    def test_it_goes_on_asking_while_nobody_answers(self, net: Net) -> None:
        joiner = net.start("b", "a")
        net.run(30)
        assert joiner.phase is Phase.JOINING
        net.start("a")
        assert member(net, joiner, 2) is not None

    def test_seeds_may_change_while_it_asks(self, net: Net) -> None:
        joiner = net.start("b", "x")
        net.run(3)
        net.start("a")
        joiner.set_seeds([address_of("a")], net.now)
        assert member(net, joiner, 2) is not None

    def test_silent_seeds_are_asked_again_although_their_streams_hang(self, net: Net) -> None:
        """A kernel repeats ever more seldom what opens a stream: when the way is free, a new one is quick.

        But a seed that many ask at once may only be slow, and would be slower with a stream a second of each.
        """
        net.lose_host(net.start("x"))
        net.start("b", "x")
        net.run(9)
        assert [round(when - net.requested[0][0]) for when, _, _ in net.requested] == [0, 1, 3, 6]

    def test_when_the_join_is_lost_it_begins_anew_and_ends_well(self, net: Net) -> None:
        founder = net.start("a")
        joiner = net.start("b", "a")
        assert net.run_until(lambda: len(net.requested) == 2, 1)
        net.cut("a", "b")  # the answer to the join is lost
        net.run(15)
        assert joiner.phase is Phase.JOINING
        net.heal()
        assert member(net, joiner, 15) is not None
        net.run(5)
        assert [(each.name, each.id) for each in founder.members()] == [
            (each.name, each.id) for each in joiner.members()
        ]

    def test_when_whoever_is_to_let_it_in_is_silent_it_asks_another_soon(self, net: Net) -> None:
        """A stream on which nothing comes back ends by its time-out only, of ten seconds."""
        members = net.cluster("a", "x")
        joiner = net.start("b", "ax")
        assert net.run_until(lambda: [name for _, name, _ in net.requested].count("b") == 3, 1)
        asked = next(node for node in members if node.address == net.requested[-1][2])
        net.cut(asked.name, "b")  # the answer to the join is lost
        assert member(net, joiner, 2.5) is not None
        net.heal()
        net.run(15)
        ids = {node.name: node.me.id for node in (*members, joiner)}
        for node in (*members, joiner):
            assert {each.name: each.id for each in node.members()} == ids

    def test_what_it_learns_by_joining_is_no_news_to_pass_on(self, net: Net) -> None:
        net.cluster("a", "b", "c", "d")
        net.run(5)
        net.sent.clear()
        joiner = net.start("e", "a")
        net.run(0.1)
        flooded = [alive.node for _, alive in net.said(Alive, by=joiner)]
        assert set(flooded) <= {"e"}

    def test_events_of_a_join(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        assert [event.member.name for event in net.events(a, MemberJoined)] == ["b"]
        assert [event.member.name for event in net.events(b, MemberJoined)] == ["a"]
        assert net.events(b, (MemberUpdated, MemberFailed)) == []

    def test_a_pinned_id_is_kept(self, net: Net) -> None:
        net.start("a")
        joiner = net.start("b", "a", pinned_id="first")
        net.run(1)
        assert joiner.me.id == "first"

    def test_a_joining_node_answers_pings_and_says_that_it_has_no_state(self, net: Net) -> None:
        joiner = net.start("b", "x")
        puppet = net.puppet("p")
        answer = puppet.push(joiner)
        assert answer.nodes == ()
        assert answer.head is not None
        assert answer.head.joining
        assert joiner.phase is Phase.JOINING

    def test_two_at_the_same_time_know_each_other_soon(self, net: Net) -> None:
        net.start("a")
        nodes = [net.start(name, "a") for name in "bcdefgh"]
        assert net.run_until(lambda: all(len(node.members()) == 8 for node in nodes), 3)


class TestFounding:
    def test_the_lowest_of_the_seeds_does_it_as_soon_as_the_others_refuse(self, net: Net) -> None:
        node = net.start("a", "abc")
        assert member(net, node) < 0.01

    def test_the_lowest_waits_a_little_for_seeds_that_are_silent(self, net: Net) -> None:
        net.lose_host(net.start("b"))
        assert member(net, net.start("a", "ab")) == pytest.approx(1.0)

    def test_another_seed_waits_longer(self, net: Net) -> None:
        assert member(net, net.start("b", "abc")) == pytest.approx(5.0)

    def test_a_node_that_is_no_seed_never_does(self, net: Net) -> None:
        assert member(net, net.start("c", "ab"), 60) is None

    def test_alone_among_its_seeds_it_does_it_at_once(self, net: Net) -> None:
        node = net.start("a", "a")
        assert node.phase is Phase.MEMBER

    @pytest.mark.parametrize("order", ["abc", "cba", "bca"])
    @pytest.mark.parametrize("seeds", ["abc", "cba"])
    def test_seeds_that_start_together_form_one_cluster(self, net: Net, order: str, seeds: str) -> None:
        nodes = {}
        for name in order:
            nodes[name] = net.start(name, seeds)
            net.run(0.02)
        assert net.run_until(lambda: all(len(node.members()) == 3 for node in nodes.values()), 4)
        assert {node.leader.name for node in nodes.values() if node.leader} == {"a"}

    def test_a_crowd_that_starts_together_forms_one_cluster(self, net: Net) -> None:
        nodes = [net.start(name, "abc") for name in "hgfedcba"]
        assert net.run_until(lambda: all(len(node.members()) == 8 for node in nodes), 5)

    def test_two_that_only_know_each_other_form_one(self, net: Net) -> None:
        """Neither is in its own list; the lower one learns from the other that it is a seed."""
        nodes = [net.start("a", "b"), net.start("b", "a")]
        assert net.run_until(lambda: all(len(node.members()) == 2 for node in nodes), 4)

    @pytest.mark.parametrize("looker", ["is gone", "lives, and looks elsewhere"])
    def test_an_old_look_makes_nobody_a_seed(self, net: Net, looker: str) -> None:
        """Anybody can send it again, to any node that waits."""
        waiting = net.start("a", "s")
        other = net.puppet("b")
        if looker != "is gone":
            other.answer = PushPull((), head=other.head(joining=True))
        for _ in range(80):
            other.push(waiting, head=other.head(joining=True))
            net.run(0.1)
        assert waiting.phase is Phase.JOINING
        other.answer = PushPull((), head=other.head(joining=True, seed=True))
        other.push(waiting, head=other.head(joining=True))
        assert member(net, waiting, 6) is not None

    def test_a_crowd_of_lookers_is_asked_a_few_at_a_time(self, net: Net) -> None:
        """They need not exist: a question to each of them is open for as long as a stream takes to fail."""
        waiting = net.start("a", "s")
        other, asked = net.puppet("b"), 0
        for number in range(400):
            look = PushPull((), head=other.head(joining=True, port=1 + number))
            waiting.answer(look, other.address, net.now)
            net.now += 0.02
            waiting.handle_timer(net.now)
            asked += sum(request.address.host == other.address.host for request in waiting.drain().requests)
        assert asked == 64

    def test_the_lowest_that_comes_late_joins_what_another_founded(self, net: Net) -> None:
        first = net.start("b", "ab")
        net.run(6)
        late = net.start("a", "ab")
        assert member(net, late) < 0.01
        assert late.leader.name == first.leader.name == "b"

    def test_two_founded_apart_become_one_when_they_meet(self, net: Net) -> None:
        net.split("a", "b")
        nodes = [net.start("a", "ab"), net.start("b", "ab")]
        net.run(8)
        assert [node.phase for node in nodes] == [Phase.MEMBER] * 2
        net.heal()
        assert net.run_until(lambda: all(len(node.members()) == 2 for node in nodes), 15)
        net.run(2)
        assert nodes[0].leader.name == nodes[1].leader.name

    def test_the_one_at_another_of_its_own_addresses_is_itself(self, net: Net) -> None:
        """A seed's name may resolve to more than one address of this machine."""
        node = net.make("a")
        alias = Address("10.0.9.9", 7946)
        net._processes[alias] = net._processes[node.address]
        node.start([alias], net.now)
        net.drain(node)
        assert member(net, node, 2) is not None

    def test_a_name_server_that_answers_nothing_for_once_is_no_reason(self, net: Net) -> None:
        """The others are still there, though not in the list of the moment."""
        net.lose_host(net.start("a"))
        node = net.start("b", "ab")
        net.run(1.2)
        node.set_seeds([], net.now)
        net.run(2)
        assert node.phase is Phase.JOINING

    def test_its_own_address_may_turn_up_among_the_seeds_later(self, net: Net) -> None:
        """Kubernetes names a pod only when it is ready."""
        node = net.start("a", "b")
        net.run(3)
        node.set_seeds([address_of("a"), address_of("b")], net.now)
        assert member(net, node, 6) is not None


class TestFoundingOnce:
    """Of the seeds that start together one founds the cluster, whichever of them do not start."""

    def founders(self, net: Net, nodes: Iterable[Node], seconds: float = 12) -> set[str]:
        """Who has led before all were in one cluster."""
        led = set[str]()

        def united() -> bool:
            led.update(node.name for node in nodes if node.leader == node.me)
            return all(len(node.members()) == len(list(nodes)) for node in nodes)

        assert net.run_until(united, seconds)
        return led

    @pytest.mark.parametrize("how", ["refuses", "is silent"])
    @pytest.mark.parametrize("seed", range(12))
    def test_when_the_lowest_does_not_start(self, how: str, seed: int) -> None:
        net = Net(seed=seed)
        if how == "is silent":
            net.lose_host(net.make("a"))
        nodes = []
        for name in net.rng.sample("bcd", 3):
            nodes.append(net.start(name, "".join(net.rng.sample("abcd", 4))))
            net.run(net.rng.choice([0, 0.01, 0.3]))
        assert self.founders(net, nodes) == {"b"}

    @pytest.mark.parametrize("late", [4.5, 4.7, 4.9, 4.98, 4.999, 5.0, 5.001, 5.1])
    @pytest.mark.parametrize("step", [0.0, 0.0005, 0.001, 0.0015, 0.002, 0.003])
    def test_when_the_lowest_starts_just_as_another_would_found(
        self, net: Net, late: float, step: float
    ) -> None:
        nodes = [net.start("b", "abc"), net.start("c", "abc")]
        net.run(late + step)
        nodes.append(net.start("a", "abc"))
        assert len(self.founders(net, nodes)) == 1

    def test_when_the_one_that_was_waited_for_dies(self, net: Net) -> None:
        b, c = net.start("b", "abc"), net.start("c", "abc")
        net.run(4)
        net.lose_host(b)
        assert member(net, c, 8) is not None

    def test_a_stranger_that_says_it_would_found_is_not_waited_for(self, net: Net) -> None:
        stranger = net.puppet("A")
        node = net.start("b", "ab")
        founder = pack_addresses([stranger.address])
        for _ in range(80):
            stranger.push(node, head=stranger.head(joining=True, founder=founder))
            net.run(0.1)
        assert node.phase is Phase.MEMBER

    def test_addresses_that_differ_from_those_in_the_list_are_no_reason_to_wait_for_ever(
        self, net: Net
    ) -> None:
        """Each looks lower to the other: a port that is mapped, say."""
        b, c = net.make("b"), net.make("c")
        lower = {b: Address("1.0.0.2", 7946), c: Address("1.0.0.3", 7946)}
        for node, alias in lower.items():
            net._processes[alias] = net._processes[node.address]
        b.start([lower[c]], net.now)
        c.start([lower[b]], net.now)
        net.drain(b)
        net.drain(c)
        assert self.founders(net, [b, c]) == {"b"}


class TestUnfitSeeds:
    """A seed whose answer does not fit does not decide while another may."""

    @pytest.mark.parametrize("order", ["ab", "ba"])
    @pytest.mark.parametrize("skew", [300.0, -300.0])
    def test_one_clock_of_two_is_wrong(self, net: Net, order: str, skew: float) -> None:
        b = net.cluster("a", "b")[1]
        b._sync._wall = lambda now: EPOCH + now + skew
        newcomers = [net.start(f"n{number}", order) for number in range(20)]
        net.run(6)
        assert {node.phase for node in newcomers} == {Phase.MEMBER}

    def wrong(self, net: Net, name: str, seconds: float) -> Puppet:
        puppet = seed(net, name)
        clock = int((EPOCH + net.now + seconds) * 1000)
        puppet.answer = PushPull((puppet.state(),), head=puppet.head(clock_ms=clock))
        return puppet

    def test_when_no_seed_fits_the_error_says_what_each_said(self, net: Net) -> None:
        one, two = self.wrong(net, "s", 300), self.wrong(net, "t", -200)
        joiner = net.start("b", [one.address, two.address])
        net.run(0.1)
        assert isinstance(joiner.failure, JoinError)
        assert f"{one.address}: this machine's clock is 300 s behind" in str(joiner.failure)
        assert f"{two.address}: this machine's clock is 200 s ahead of" in str(joiner.failure)

    def test_others_have_some_time_to_answer(self, net: Net) -> None:
        wrong = self.wrong(net, "s", 300)
        net.lose_host(net.make("x"))
        joiner = net.start("b", [wrong.address, address_of("x")])
        net.run(4.9)
        assert joiner.phase is Phase.JOINING
        net.run(0.2)
        assert isinstance(joiner.failure, JoinError)
        assert f"{address_of('x')}: no answer yet" in str(joiner.failure)

    def test_one_that_comes_up_in_that_time_decides(self, net: Net) -> None:
        wrong = self.wrong(net, "s", 300)
        joiner = net.start("b", [wrong.address, address_of("a")])
        net.run(2)
        net.start("a")
        assert member(net, joiner, 2) is not None

    def test_a_seed_founds_nothing_beside_a_cluster_that_it_cannot_join(self, net: Net) -> None:
        wrong = self.wrong(net, "s", 300)
        joiner = net.start("a", [wrong.address, address_of("a"), address_of("b")])
        net.run(20)
        assert joiner.phase is Phase.FAILED
        assert joiner.leader is None

    def test_versions_of_one_that_do_not_go_together(self, net: Net) -> None:
        net.start("a")
        puppet = seed(net)
        strange = net.puppet("t", versions=bytes((1, 5, 2, 7, 9, 8)))
        puppet.answer = PushPull((puppet.state(), strange.state()), head=puppet.head())
        joiner = net.start("b", [puppet.address, address_of("a")])
        assert member(net, joiner, 2) is not None
        assert joiner._own.versions == bytes((1, 5, 2, 2, 5, 5))

    def test_members_that_this_node_has_no_way_to(self, net: Net) -> None:
        """It has IPv6 only, and the seed is found by IPv6, but advertises IPv4."""
        a = net.start("a")
        inside = Address("fd00::1", 7946)
        net._processes[inside] = net._processes[a.address]
        joiner = net.start(
            "b",
            [inside],
            address=Address("fd00::2", 7946),
            networks=Networks((), lambda address: ":" in address.host),
        )
        net.run(1)
        assert isinstance(joiner.failure, JoinError)
        assert f"cannot send to a at {a.address}" in str(joiner.failure)
        assert "IPv6" in str(joiner.failure)

    def test_a_node_that_the_member_it_asks_has_no_way_to(self, net: Net) -> None:
        a = net.start("a", networks=Networks((), lambda address: ":" not in address.host))
        joiner = net.start("b", "a", address=Address("fd00::2", 7946))
        net.run(1)
        assert isinstance(joiner.failure, JoinError)
        assert "cannot answer a node at [fd00::2]:7946" in str(joiner.failure)
        assert len(a.members()) == 1


class TestRestart:
    def test_under_the_same_name_and_address_it_is_another_process(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        before = b.me
        net.kill(b)
        net.forget_events()
        again = net.start("b", "a")
        net.run(3)
        assert again.phase is Phase.MEMBER
        assert again.me.id > before.id
        assert again.me.incarnation > before.incarnation
        story = [
            (type(event).__name__, event.member.id) for event in net.events(a, (MemberFailed, MemberJoined))
        ]
        assert story == [("MemberFailed", before.id), ("MemberJoined", again.me.id)]

    def test_at_another_address_it_waits_for_the_verdict_on_the_old_one(self, net: Net) -> None:
        """A pod that comes back elsewhere."""
        a, b, c = net.cluster("a", "b", "c")
        net.lose_host(b)
        again = net.start("b", "a", address=Address("10.0.9.9", 7946))
        assert net.run_until(lambda: again.phase is Phase.MEMBER, 20)
        net.run(3)
        for node in (a, c, again):
            assert [m.address for m in node.members() if m.name == "b"] == [again.address]

    def test_while_it_waits_for_that_verdict_it_founds_nothing(self, net: Net) -> None:
        """Though it is one of the seeds, and waits for longer than for a cluster that is silent."""
        _, b, _ = net.cluster("a", "b", "c", config=Config(silence_tolerance=12.0))
        net.lose_host(b)
        address = Address("10.0.9.9", 7946)
        again = net.start("b", [address_of("a"), address], address=address)
        net.run(10)
        assert again.phase is Phase.JOINING
        assert net.run_until(lambda: len(again.members()) == 3, 20)

    def test_of_the_whole_cluster_at_once(self, net: Net) -> None:
        for node in net.cluster("a", "b", "c"):
            net.kill(node)
        nodes = [net.start(name, "abc") for name in "cab"]
        assert net.run_until(lambda: all(len(node.members()) == 3 for node in nodes), 10)
        assert len({node.leader.name for node in nodes}) == 1

    def test_with_lost_incarnations_ends_in_agreement(self, net: Net) -> None:
        """`b` restarts through a member that knows nothing of it."""
        a, b = net.cluster("a", "b")
        for _ in range(5):
            b.set_tags({"n": str(_)}, net.now)
            net.drain(b)
        net.run(1)
        net.kill(b)
        other = net.start("z")
        again = net.start("b", "z")
        net.run(2)
        other.sync(a.address, net.now)
        net.drain(other)
        nodes = (a, other, again)
        assert net.run_until(lambda: all(len(node.members()) == 3 for node in nodes), 10)
        net.run(5)
        assert {m.id for node in nodes for m in node.members() if m.name == "b"} == {again.me.id}


class TestRefusals:
    def test_a_live_member_of_the_same_name_is_a_conflict(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        newcomer = net.start("b", "a", address=Address("10.0.9.9", 7946))
        net.run(3)
        assert newcomer.phase is Phase.FAILED
        assert isinstance(newcomer.failure, NameConflict)
        assert "'b' is taken" in str(newcomer.failure)
        assert b.phase is Phase.MEMBER
        assert [m.address for m in a.members() if m.name == "b"] == [b.address]

    @pytest.mark.parametrize(("skew", "word"), [(100.0, "ahead of"), (-100.0, "behind")])
    def test_a_clock_that_is_far_off_is_an_error_that_says_so(self, net: Net, skew: float, word: str) -> None:
        net.start("a")
        joiner = net.start("b", "a", skew=skew)
        net.run(3)
        assert joiner.phase is Phase.FAILED
        assert isinstance(joiner.failure, JoinError)
        assert f"100 s {word}" in str(joiner.failure)

    @pytest.mark.parametrize("skew", [50.0, -50.0])
    def test_one_that_is_a_little_off_is_not(self, net: Net, skew: float) -> None:
        net.start("a")
        assert member(net, net.start("b", "a", skew=skew)) is not None

    def test_versions_that_do_not_go_together_are_an_error(self, net: Net) -> None:
        puppet = seed(net)
        strange = net.puppet("t", versions=bytes((1, 5, 2, 7, 9, 8)))
        puppet.answer = PushPull((puppet.state(), strange.state()), head=puppet.head())
        joiner = net.start("b", [puppet.address])
        net.run(3)
        assert isinstance(joiner.failure, JoinError)
        assert "delegate protocol version" in str(joiner.failure)

    def test_a_failed_node_says_nothing_more(self, net: Net) -> None:
        net.cluster("a", "b")
        newcomer = net.start("b", "a", address=Address("10.0.9.9", 7946))
        net.run(3)
        assert newcomer.phase is Phase.FAILED
        newcomer.receive_datagram(b"\x00\x81\xa5SeqNo\x01", address_of("a"), net.now)
        newcomer.handle_timer(net.now + 100)
        output = newcomer.drain()
        assert (output.datagrams, output.requests, output.deadline) == ([], [], None)

    @pytest.mark.parametrize("how", ["leave", "fail"])
    def test_an_answer_that_comes_too_late_does_not_call_it_back(self, net: Net, how: str) -> None:
        node = net.make("b")
        puppet = seed(net)
        node.start([puppet.address], net.now)
        (look,) = node.drain().requests
        node.receive_answer(look.token, read(puppet.serve(read(look.content)), answering=True), net.now)
        (join,) = node.drain().requests
        if how == "leave":
            node.leave(net.now)
            node.handle_timer(net.now + 10)
        else:
            node._fail(JoinError("given up"), net.now)
        assert node.phase in (Phase.LEFT, Phase.FAILED)
        node.receive_answer(join.token, puppet.answer, net.now + 10)
        assert node.phase in (Phase.LEFT, Phase.FAILED)
        assert node.next_deadline() is None


class TestOthersClusters:
    def test_a_founder_speaks_serfs_delegate_protocol(self, net: Net) -> None:
        mine = entry(net.puppet("x").push(net.start("a")), "a")
        assert mine is not None
        assert mine.versions == bytes((1, 5, 2, 2, 5, 5))

    def joined(self, net: Net, *versions: bytes) -> bytes:
        """What a joiner says it speaks, in a cluster of foreign members that speak these."""
        puppets = [net.puppet(f"s{n}", own=False, versions=each) for n, each in enumerate(versions)]
        puppets[0].answer = PushPull(tuple(puppet.state() for puppet in puppets))
        joiner = net.start("b", [puppets[0].address])
        net.run(1)
        assert joiner.failure is None
        assert joiner.phase is Phase.MEMBER
        mine = entry(net.puppet("x", own=False).push(joiner), "b")
        assert mine is not None
        return mine.versions

    def test_of_plain_memberlist_its_joiner_has_no_delegate_either(self, net: Net) -> None:
        assert self.joined(net, PLAIN)[3:] == bytes((0, 0, 0))

    def test_of_serf_it_speaks_serfs_whole_range(self, net: Net) -> None:
        """A narrower one would shut out the next member that speaks another version within it."""
        assert self.joined(net, bytes((1, 5, 2, 2, 5, 5)))[3:] == bytes((2, 5, 5))

    def test_of_serf_with_versions_4_and_5_it_can_be_a_member(self, net: Net) -> None:
        agent, library = bytes((1, 5, 2, 2, 5, 5)), bytes((1, 5, 2, 2, 5, 4))
        for order in ((agent, library), (library, agent)):
            self.joined(Net(), *order)

    def test_dead_members_do_not_say_what_is_spoken(self, net: Net) -> None:
        puppet = seed(net, versions=PLAIN, own=False)
        ghost = net.puppet("g", own=False)
        puppet.answer = PushPull((ghost.state(WireState.DEAD), puppet.state()))
        joiner = net.start("b", [puppet.address])
        net.run(1)
        assert joiner.phase is Phase.MEMBER

    def test_in_a_foreign_cluster_the_first_of_ours_leads(self, net: Net) -> None:
        puppet = seed(net, own=False)
        joiner = net.start("b", [puppet.address])
        net.run(1)
        assert joiner.leader == joiner.me
        assert [m.id is None for m in joiner.members()] == [False, True]


def test_ids_that_seeds_report_from_the_far_future_are_not_outbid(net: Net) -> None:
    puppet = seed(net)
    ghost = net.puppet("g", id=mint_id((1 << 48) - 1, random.Random(1)))
    puppet.answer = PushPull((puppet.state(), ghost.state()), head=puppet.head())
    joiner = net.start("b", [puppet.address])
    net.run(2)
    assert joiner.phase is Phase.MEMBER
    assert is_minted(joiner.me.id)
    assert id_milliseconds(joiner.me.id) < (EPOCH + net.now + 3_600) * 1000
