"""The rules on receipt: what news of a member changes, reports and sets going."""

from __future__ import annotations

import random
from dataclasses import replace
from unittest.mock import ANY

import pytest

from swim.events import (
    HeldOff,
    LeaderChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
)
from swim.protocol.node import Node
from swim.protocol.view.identity import mint_id, pack_id
from swim.protocol.view.table import encode_meta
from swim.types import Address, MemberState
from swim.wire import pack_host
from swim.wire.messages import Alive, Dead, DeathReason, Ping, PushPull, Suspect, WireState
from tests.protocol.fakes import EPOCH, Net, Puppet

MEMBERSHIP = (MemberJoined, MemberUpdated, MemberSuspected, MemberRecovered, MemberFailed, MemberLeft)
ALIVE, SUSPECT, DEAD, LEFT = MemberState.ALIVE, MemberState.SUSPECT, MemberState.DEAD, MemberState.LEFT


class Scene:
    """A node, a member `m` that tells it things, and a member `s` of which it tells."""

    def __init__(self, *, own: bool = True, mute: bool = False) -> None:
        self.net = Net()
        self.node = self.net.start("a")
        self.teller = self.net.puppet("m").join(self.node)
        self.subject = self.net.puppet("s", own=own, mute=mute)
        self.subject.incarnation = 5
        self.subject.join(self.node)
        self.net.run(5)  # until all have told each other
        self.forget()

    def forget(self) -> None:
        self.net.forget_events()
        self.net.sent.clear()
        self.subject.received.clear()
        self.teller.received.clear()

    def tell(self, *news: Alive | Suspect | Dead) -> list[str]:
        """Tell the node; what it reports, by name."""
        self.teller.tell(self.node, *news)
        events = self.net.events(self.node, MEMBERSHIP)
        self.net.forget_events()
        return [type(event).__name__ for event in events]

    def tell_and_wait(self, *news: Alive | Suspect | Dead) -> list[str]:
        """The same, when the node asks the subject before it believes that."""
        self.teller.tell(self.node, *news)
        self.net.run(0.3)
        events = self.net.events(self.node, MEMBERSHIP)
        self.net.forget_events()
        return [type(event).__name__ for event in events]

    def end(self, news: Dead) -> list[str]:
        """The subject falls silent, and the node is told of its end."""
        self.subject.mute = True
        try:
            return self.tell_and_wait(news)
        finally:
            self.subject.mute = False

    def alive(self, incarnation: int, **changes: object) -> Alive:
        return replace(self.subject.alive(), incarnation=incarnation, **changes)  # type: ignore[arg-type]

    def suspect(self, incarnation: int = 5) -> Suspect:
        return Suspect("s", incarnation, "m")

    def dead(self, incarnation: int = 5) -> Dead:
        return Dead("s", incarnation, "m")

    def left(self, incarnation: int = 5) -> Dead:
        return Dead("s", incarnation, "s")

    @property
    def state(self) -> MemberState | None:
        record = self.node._table.get("s")
        return None if record is None else record.state

    @property
    def incarnation(self) -> int:
        record = self.node._table.get("s")
        assert record is not None
        return record.incarnation

    def passed_on(self) -> list[Alive | Suspect | Dead]:
        """News of the subject that the node floods afterwards, each piece once."""
        self.net.run(0.02)
        kinds: tuple[type[Alive | Suspect | Dead], ...] = (Alive, Suspect, Dead)
        heard = [message for kind in kinds for message in self.teller.heard(kind)]
        return list(dict.fromkeys(message for message in heard if message.node == "s"))


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def scene() -> Scene:
    return Scene()


class TestAlive:
    def test_of_an_unknown_name_is_a_new_member(self, scene: Scene) -> None:
        other = scene.net.puppet("n")
        assert scene.tell(other.alive()) == ["MemberJoined"]
        assert scene.net.believes(scene.node, "n") is ALIVE
        scene.net.run(0.02)
        assert other.alive() in scene.teller.heard(Alive)

    def test_never_with_incarnation_0(self, scene: Scene) -> None:
        other = scene.net.puppet("n")
        assert scene.tell(other.alive(incarnation=0)) == []
        assert scene.node.dropped["incarnation"] == 1

    @pytest.mark.parametrize("incarnation", [1, 4, 5])
    def test_old_news_is_ignored(self, scene: Scene, incarnation: int) -> None:
        meta = encode_meta({"role": "db"}, scene.subject.id, scene.subject.boot)
        assert scene.tell(scene.alive(incarnation, meta=meta)) == []
        assert scene.passed_on() == []

    def test_newer_news_with_the_same_content_is_passed_on_and_no_event(self, scene: Scene) -> None:
        assert scene.tell(scene.alive(6)) == []
        assert scene.incarnation == 6
        assert scene.passed_on() == [scene.alive(6)]

    def test_new_tags_are_an_update(self, scene: Scene) -> None:
        meta = encode_meta({"role": "db"}, scene.subject.id, scene.subject.boot)
        scene.teller.tell(scene.node, scene.alive(6, meta=meta))
        (event,) = scene.net.events(scene.node, MEMBERSHIP)
        assert isinstance(event, MemberUpdated)
        assert (event.member.tags, event.previous.tags) == ({"role": "db"}, {})

    def test_a_new_id_of_the_same_process_is_an_update(self, scene: Scene) -> None:
        fresh = mint_id(int((EPOCH + scene.net.now) * 1000) + 5, random.Random(1))
        assert scene.tell(scene.alive(6, meta=encode_meta({}, fresh, scene.subject.boot))) == [
            "MemberUpdated"
        ]

    def test_equal_incarnation_does_not_clear_a_suspicion(self, scene: Scene) -> None:
        scene.tell(scene.suspect())
        assert scene.tell(scene.alive(5)) == []
        assert scene.state is SUSPECT

    def test_a_higher_one_does(self, scene: Scene) -> None:
        assert scene.tell(scene.suspect()) == ["MemberSuspected"]
        assert scene.tell(scene.alive(6)) == ["MemberRecovered"]
        assert scene.state is ALIVE

    @pytest.mark.parametrize("verdict", ["dead", "left"])
    def test_equal_incarnation_does_not_undo_a_death(self, scene: Scene, verdict: str) -> None:
        """The stale table of somebody who has not heard of it."""
        scene.end(getattr(scene, verdict)())
        assert scene.tell(scene.alive(5)) == []
        assert scene.net.believes(scene.node, "s") is None

    @pytest.mark.parametrize("verdict", ["dead", "left"])
    def test_a_higher_one_undoes_it(self, scene: Scene, verdict: str) -> None:
        scene.end(getattr(scene, verdict)())
        assert scene.tell(scene.alive(6)) == ["MemberJoined"]

    @pytest.mark.parametrize("versions", [bytes((0, 5, 2, 2, 5, 5)), bytes((3, 2, 2, 2, 5, 5))])
    def test_versions_that_make_no_sense_are_refused(self, scene: Scene, versions: bytes) -> None:
        assert scene.tell(scene.alive(6, versions=versions)) == []
        assert scene.node.dropped["version"] == 1

    @pytest.mark.parametrize(
        ("host", "port"), [("0.0.0.0", 7946), ("::", 7946), ("224.0.0.1", 7946), ("10.0.0.1", 0)]
    )
    def test_addresses_that_are_none_are_refused(self, scene: Scene, host: str, port: int) -> None:
        assert scene.tell(scene.alive(6, address=pack_host(host), port=port)) == []
        assert scene.node.dropped["address"] == 1

    def test_ids_from_the_future_are_refused(self, scene: Scene) -> None:
        tomorrow = mint_id(int((EPOCH + scene.net.now + 86_400) * 1000), random.Random(1))
        assert scene.tell(scene.alive(6, meta=encode_meta({}, tomorrow, scene.subject.boot))) == []
        assert scene.node.dropped["future-id"] == 1

    def test_ids_a_little_ahead_are_not(self, scene: Scene) -> None:
        soon = mint_id(int((EPOCH + scene.net.now + 60) * 1000), random.Random(1))
        assert scene.tell(scene.alive(6, meta=encode_meta({}, soon, scene.subject.boot))) == ["MemberUpdated"]

    def test_an_ipv4_address_in_16_bytes_is_the_same_address(self, scene: Scene) -> None:
        mapped = bytes(10) + b"\xff\xff" + pack_host(scene.subject.address.host)
        assert scene.tell(scene.alive(6, address=mapped)) == []
        assert scene.incarnation == 6


NEW = Address("10.0.9.9", 7946)


class TestMoving:
    """News gives the same process another address."""

    def moved(self, scene: Scene, incarnation: int = 6, address: Address = NEW) -> Alive:
        return scene.alive(incarnation, address=pack_host(address.host))

    def where(self, scene: Scene) -> Address:
        record = scene.node._table.get("s")
        assert record is not None
        return record.address

    @pytest.mark.parametrize("udp", [True, False])
    def test_is_an_update_once_the_process_answers_there(self, scene: Scene, udp: bool) -> None:
        scene.net.puppet("s", address=NEW)
        scene.net.lossy = 0.0 if udp else 1.0
        assert scene.tell(self.moved(scene)) == []
        assert scene.tell_and_wait() == ["MemberUpdated"]
        assert self.where(scene) == NEW

    @pytest.mark.parametrize("state", ["alive", "dead", "left"])
    @pytest.mark.parametrize("boot", [None, "BOOT0002"], ids=["nobody", "another process"])
    def test_is_nothing_where_it_does_not_answer(self, scene: Scene, state: str, boot: str | None) -> None:
        """Anybody can make it up: a live member's incarnation and boot are no secret."""
        if boot is not None:
            scene.net.puppet("s", boot=boot, address=NEW)
        if state != "alive":
            scene.end(getattr(scene, state)())
        assert scene.tell(self.moved(scene)) == []
        scene.net.run(3)
        assert scene.net.events(scene.node, MEMBERSHIP) == []
        assert self.where(scene) == scene.subject.address
        assert scene.passed_on() in ([], [getattr(scene, state)(5)])
        assert scene.node.dropped["contested"] == 1
        assert len(scene.net.said(Ping, to=NEW)) <= 8

    def test_that_is_made_up_does_not_keep_out_what_is_true(self, scene: Scene) -> None:
        scene.net.puppet("s", address=NEW)
        scene.tell(self.moved(scene, 9, Address("10.0.9.7", 7946)), self.moved(scene, 7))
        assert scene.tell_and_wait() == ["MemberUpdated"]
        scene.net.run(3)
        assert self.where(scene) == NEW

    def test_that_is_made_up_is_asked_about_at_few_addresses_at_a_time(self, scene: Scene) -> None:
        scene.tell(*(self.moved(scene, 6, Address(f"10.0.8.{number}", 7946)) for number in range(1, 41)))
        scene.net.run(0.2)
        asked = {sent.target for sent, _ in scene.net.said(Ping) if sent.target.host.startswith("10.0.8.")}
        assert (len(asked), scene.node.dropped["contests-max"]) == (32, 8)

    def test_told_by_itself_it_is_asked_once(self, scene: Scene) -> None:
        mover = scene.net.puppet("s", address=NEW)
        mover.incarnation, mover.meta = 6, scene.subject.meta
        mover.tell(scene.node, mover.alive())
        assert scene.tell_and_wait() == ["MemberUpdated"]
        assert len(mover.heard(Ping)) == 1


class TestSuspect:
    def test_makes_a_suspect_and_is_passed_on_and_told_to_the_accused(self, scene: Scene) -> None:
        scene.teller.tell(scene.node, scene.suspect())
        (event,) = scene.net.events(scene.node, MEMBERSHIP)
        assert isinstance(event, MemberSuspected)
        assert event.phi is None
        assert scene.suspect() in scene.passed_on()
        assert scene.suspect() in scene.subject.heard(Suspect)

    def test_a_suspect_is_still_a_member(self, scene: Scene) -> None:
        scene.tell(scene.suspect())
        assert scene.net.believes(scene.node, "s") is SUSPECT

    @pytest.mark.parametrize("incarnation", [1, 4])
    def test_of_an_older_incarnation_is_ignored(self, scene: Scene, incarnation: int) -> None:
        assert scene.tell(scene.suspect(incarnation)) == []

    def test_of_an_unknown_name_is_ignored(self, scene: Scene) -> None:
        assert scene.tell(Suspect("nobody", 1, "m")) == []
        assert scene.passed_on() == []

    def test_twice_is_reported_once(self, scene: Scene) -> None:
        assert scene.tell(scene.suspect(), scene.suspect()) == ["MemberSuspected"]

    @pytest.mark.parametrize("verdict", ["dead", "left"])
    def test_of_somebody_gone_is_ignored(self, scene: Scene, verdict: str) -> None:
        scene.end(getattr(scene, verdict)())
        assert scene.tell(scene.suspect(9)) == []

    def test_that_comes_to_nothing_is_dropped_in_time(self) -> None:
        """A foreign member's suspicion of somebody whom this node does not observe, say."""
        scene = Scene()
        scene.tell(scene.suspect())
        scene.net.run(30)
        assert scene.state is ALIVE
        assert any(isinstance(event, MemberRecovered) for event in scene.net.events(scene.node, MEMBERSHIP))

    def test_absurd_incarnations_are_dropped(self, scene: Scene) -> None:
        assert scene.tell(scene.suspect(0xFFFF_FFFF), scene.dead(0xFFFF_FFFF)) == []
        assert scene.node.dropped["incarnation"] == 2


class TestDead:
    def test_is_taken_at_once_where_there_is_something_against_the_member(self, scene: Scene) -> None:
        scene.node.receive_stream_end("s", scene.subject.boot, scene.net.now)
        scene.teller.tell(scene.node, scene.dead())
        (event,) = scene.net.events(scene.node, MEMBERSHIP)
        assert isinstance(event, MemberFailed)
        assert (event.reason, event.told_by) == ("told", scene.dead().sender)
        assert event.member.state is DEAD

    @pytest.mark.parametrize("verdict", ["dead", "left"])
    @pytest.mark.parametrize("incarnation", [5, 50])
    def test_of_one_that_answers_is_nothing_but_told_to_it(
        self, scene: Scene, verdict: str, incarnation: int
    ) -> None:
        """From the other side of a partition that has just ended, or made up."""
        news = getattr(scene, verdict)(incarnation)
        assert scene.tell_and_wait(news, news) == []
        assert scene.passed_on() == []
        assert (news in scene.subject.heard(Dead)) == (verdict == "dead")
        assert (scene.state, scene.node.dropped["contradicted"]) == (ALIVE, 1)

    def test_of_one_that_does_not_answer_is_believed_soon(self, scene: Scene) -> None:
        assert scene.end(scene.dead()) == ["MemberFailed"]

    @pytest.mark.parametrize(
        ("reason", "believed"), [("process-gone", True), ("silence", False), ("", False)]
    )
    def test_of_one_whose_process_was_seen_to_end_is_believed_as_soon_as_a_refusal_comes_from_there(
        self, scene: Scene, reason: DeathReason, believed: bool
    ) -> None:
        """Without waiting for answers; a refusal beside any other word may be of a firewall."""
        scene.subject.mute = True
        scene.teller.tell(scene.node, replace(scene.dead(), reason=reason))
        assert scene.state is ALIVE
        scene.node.receive_refusal(scene.subject.address, scene.net.now)
        assert scene.state is (DEAD if believed else ALIVE)
        scene.net.run(1)
        assert scene.state is DEAD
        assert len(scene.net.events(scene.node, MemberFailed)) == 1

    def test_of_one_that_answers_before_the_refusal_comes_is_not_believed(self, scene: Scene) -> None:
        scene.tell_and_wait(replace(scene.dead(), reason="process-gone"))
        scene.node.receive_refusal(scene.subject.address, scene.net.now)
        assert scene.state is ALIVE

    def test_that_the_member_has_outbid_meanwhile_is_void(self, scene: Scene) -> None:
        scene.subject.mute = True
        scene.teller.tell(scene.node, scene.dead(), scene.alive(6))
        scene.net.run(0.1)
        assert scene.net.events(scene.node, MemberFailed) == []
        assert (scene.state, scene.incarnation) == (ALIVE, 6)

    @pytest.mark.parametrize("reason", ["silence", "process-gone", "quality"])
    def test_is_reported_with_the_reason_of_whoever_found_it_out(
        self, scene: Scene, reason: DeathReason
    ) -> None:
        news = replace(scene.dead(), reason=reason)
        scene.node.receive_stream_end("s", scene.subject.boot, scene.net.now)
        scene.teller.tell(scene.node, news)
        (event,) = scene.net.events(scene.node, MEMBERSHIP)
        assert isinstance(event, MemberFailed)
        assert (event.reason, event.told_by) == (reason, news.sender)
        assert news in scene.passed_on()

    def test_is_passed_on_and_told_to_the_accused(self, scene: Scene) -> None:
        scene.subject.mute = True
        scene.tell_and_wait(scene.dead())
        assert scene.dead() in scene.passed_on()
        assert scene.dead() in scene.subject.heard(Dead)

    def test_is_told_to_the_accused_once_with_the_question_however_many_say_it(self, scene: Scene) -> None:
        """A flood brings many copies: each that went on to a dead process would be refused by its kernel."""
        scene.subject.mute = True
        for _ in range(5):
            scene.teller.tell(scene.node, scene.dead())
        (packet,) = [sent for sent in scene.net.sent if sent.target == scene.subject.address]
        assert [type(message) for message in packet.messages] == [Dead, Ping]

    def test_said_by_the_member_itself_it_left(self, scene: Scene) -> None:
        assert scene.end(scene.left()) == ["MemberLeft"]
        assert scene.state is LEFT

    @pytest.mark.parametrize("how", ["leaves", "stays away"])
    def test_of_one_that_answers_that_it_is_no_member_any_more_is_believed(self, net: Net, how: str) -> None:
        a, b = net.cluster("a", "b")
        teller = net.puppet("t").join(a, b)
        net.run(5)
        if how == "leaves":
            b.leave(net.now)
            b.drain()  # its farewell is lost
        else:
            b._own.held_off = True
        teller.tell(a, Dead("b", 1, "b" if how == "leaves" else "t"))
        net.run(0.1)
        assert net.believes(a, "b") is None

    @pytest.mark.parametrize("others_first", [False, True])
    def test_of_one_that_says_farewell_and_ends_at_once_is_no_failure(
        self, net: Net, others_first: bool
    ) -> None:
        """Neither when this node finds the process gone before it has an answer, nor when others have."""
        a, b = net.cluster("a", "b")
        teller = net.puppet("t").join(a, b)
        net.run(5)
        net.forget_events()
        if others_first:
            teller.tell(a, Dead("b", 1, "t"))
        teller.tell(a, Dead("b", 1, "b"))
        net.kill(b)
        assert net.believes(a, "b") is ALIVE, "it is asked first"
        net.run(1)
        assert net.events(a, (MemberFailed, MemberLeft)) == [MemberLeft(ANY)]

    @pytest.mark.parametrize("verdict", ["dead", "left"])
    @pytest.mark.parametrize("incarnation", [1, 4])
    def test_of_an_older_incarnation_is_ignored(self, scene: Scene, verdict: str, incarnation: int) -> None:
        assert scene.tell(getattr(scene, verdict)(incarnation)) == []
        assert scene.state is ALIVE

    @pytest.mark.parametrize("first", ["dead", "left"])
    @pytest.mark.parametrize("second", ["dead", "left"])
    def test_the_first_verdict_stands(self, scene: Scene, first: str, second: str) -> None:
        scene.end(getattr(scene, first)())
        before = scene.state
        assert scene.tell(getattr(scene, second)(5), getattr(scene, second)(7)) == []
        assert scene.state is before

    def test_of_an_unknown_name_is_ignored(self, scene: Scene) -> None:
        assert scene.tell(Dead("nobody", 1, "m")) == []
        assert scene.passed_on() == []

    def test_of_a_suspect_is_a_failure(self, scene: Scene) -> None:
        scene.tell(scene.suspect())
        assert scene.end(scene.dead()) == ["MemberFailed"]


class TestProcesses:
    """One name, another process: told from the same one by its boot."""

    def restarted(
        self, scene: Scene, incarnation: int = 1, *, later: float = 5.0, **changes: object
    ) -> Alive:
        id = mint_id(int((EPOCH + scene.net.now + later) * 1000), random.Random(7))
        if "address" not in changes:
            scene.subject.boot = "BOOT0002"
        return scene.alive(incarnation, meta=encode_meta({}, id, "BOOT0002"), **changes)

    def test_the_end_of_the_one_before_may_come_late(self, scene: Scene) -> None:
        """Who has the name now may have the incarnation of the one that died: the id tells them apart."""
        before = scene.node._table.get("s")
        assert before is not None
        scene.tell_and_wait(self.restarted(scene, 5))
        assert scene.tell(before.as_dead("m")) == []
        assert scene.state is ALIVE
        assert scene.end(scene.dead(5)) == ["MemberFailed"], "without an id it counts: memberlist has none"

    def test_a_restart_at_the_same_address_is_a_failure_and_a_join(self, scene: Scene) -> None:
        scene.teller.tell(scene.node, self.restarted(scene, 6))
        scene.net.run(0.1)
        failed, joined = scene.net.events(scene.node, MEMBERSHIP)
        assert isinstance(failed, MemberFailed)
        assert (failed.reason, failed.member.id) == ("process-gone", scene.subject.id)
        assert isinstance(joined, MemberJoined)
        assert joined.member.id != scene.subject.id

    def test_even_if_it_lost_its_incarnation(self, scene: Scene) -> None:
        """The whole cluster restarted, and nobody remembered its number."""
        assert scene.tell_and_wait(self.restarted(scene, 1)) == ["MemberFailed", "MemberJoined"]
        assert scene.incarnation == 1

    @pytest.mark.parametrize("verdict", ["dead", "left"])
    def test_after_its_death_it_simply_joins(self, scene: Scene, verdict: str) -> None:
        scene.end(getattr(scene, verdict)())
        assert scene.tell(self.restarted(scene, 1)) == ["MemberJoined"]

    def test_at_another_address_after_its_death_it_joins(self, scene: Scene) -> None:
        scene.end(scene.dead())
        assert scene.tell(self.restarted(scene, 1, address=pack_host("10.0.9.9"))) == ["MemberJoined"]

    def test_news_of_the_process_before_is_ignored_whatever_its_incarnation(self, scene: Scene) -> None:
        scene.tell_and_wait(self.restarted(scene, 1))
        assert scene.tell_and_wait(scene.alive(5), scene.alive(50)) == []

    @pytest.mark.parametrize("verdict", ["dead", "left"])
    def test_after_the_death_of_the_later_one_the_earlier_does_not_rise(
        self, scene: Scene, verdict: str
    ) -> None:
        scene.tell_and_wait(self.restarted(scene, 1))
        scene.end(getattr(scene, verdict)(1))
        assert scene.tell(scene.alive(5)) == []
        assert scene.net.believes(scene.node, "s") is None

    def test_the_stale_death_of_the_process_before_is_not_its_own(self, scene: Scene) -> None:
        """In a push/pull the entry says of which process it is."""
        old = scene.subject.state(WireState.DEAD)
        scene.tell_and_wait(self.restarted(scene, 1))
        scene.teller.push(scene.node, scene.teller.state(), old)
        assert scene.net.events(scene.node, MemberFailed) == []
        assert scene.state is ALIVE

    def test_one_that_answers_does_not_lose_its_name_to_another_address(self, scene: Scene) -> None:
        """Two alive under one name are a conflict, and nothing is overwritten."""
        assert scene.tell(self.restarted(scene, 6, address=pack_host("10.0.9.9"))) == []
        assert [ping.node for ping in scene.subject.heard(Ping)] == [], "not yet"
        scene.net.run(3)
        assert scene.node.dropped["contested"] == 1
        assert scene.net.events(scene.node, MEMBERSHIP) == []
        assert scene.node._table.get("s").address == scene.subject.address

    def test_at_the_same_address_the_newcomer_itself_must_say_so(self, scene: Scene) -> None:
        """Anybody can make up another boot and a higher id."""
        forged = self.restarted(scene, 6)
        scene.subject.boot = "PUPPET00"
        assert scene.tell_and_wait(forged) == []
        assert scene.node.dropped["contested"] == 1
        assert scene.state is ALIVE

    def test_nor_one_that_answers_over_tcp_only_and_the_other_is_told_over_tcp(self, scene: Scene) -> None:
        """Where UDP is blocked, both live on under one name until one of them hears of the other."""
        rival = scene.net.puppet("s", boot="BOOT0002", address=Address("10.0.9.9", 7946))
        scene.net.lossy = 1.0
        scene.tell(self.restarted(scene, 6, address=pack_host("10.0.9.9")))
        scene.net.run(1)
        assert scene.node.dropped["contested"] == 1
        assert scene.node._table.get("s").address == scene.subject.address
        (state,) = [message for message in rival.asked if isinstance(message, PushPull)]
        assert state.head is not None
        assert state.head.to == "s"

    def test_one_that_does_not_answer_any_more_does(self, scene: Scene) -> None:
        """A pod that comes back elsewhere, before anybody noticed that it was gone."""
        scene.subject.mute = True
        scene.net.puppet("s", boot="BOOT0002", address=Address("10.0.9.9", 7946))
        scene.tell(self.restarted(scene, 6, address=pack_host("10.0.9.9")))
        scene.net.run(3)
        events = scene.net.events(scene.node, (MemberFailed, MemberJoined))
        assert [type(event) for event in events] == [MemberFailed, MemberJoined]
        assert events[0].member.id == scene.subject.id
        assert events[1].member.address.host == "10.0.9.9"

    def test_a_foreign_one_that_answers_does_not_lose_its_name_either(self) -> None:
        """memberlist: only after it left or was reclaimed."""
        scene = Scene(own=False)
        assert scene.tell(scene.alive(9, address=pack_host("10.0.9.9"))) == []
        scene.net.run(3)
        assert scene.node.dropped["contested"] == 1
        assert scene.net.events(scene.node, MEMBERSHIP) == []

    def test_a_name_that_never_was_cannot_take_the_address_of_a_member(self, scene: Scene) -> None:
        address = scene.subject.address
        assert scene.tell(scene.alive(1, node="new", meta=b"")) == []
        scene.net.run(3)
        assert scene.net.believes(scene.node, "new") is None
        assert scene.node._table.at(address).name == "s"

    @pytest.mark.parametrize("loss", [0.05])
    def test_a_lost_packet_does_not_cost_a_member_its_name(self, loss: float) -> None:
        """One ping that is not answered says little: whoever contests a name has many tries."""
        taken = 0
        for seed in range(40):
            net = Net(seed=seed)
            a, b = net.cluster("a", "b")
            rival = net.puppet("r", mute=True, address=Address("10.0.9.9", 7946))
            teller = net.puppet("m").join(a)
            net.run(1)
            net.lossy = loss
            id = mint_id(int((EPOCH + net.now) * 1000), net.rng)
            claim = replace(rival.alive(), node="b", incarnation=9, meta=encode_meta({}, id, "BOOT0002"))
            teller.tell(a, claim)
            net.run(1.5)
            taken += [m.address for m in a.members() if m.name == "b"] != [b.address]
        assert taken == 0

    @pytest.mark.parametrize("incarnation", [1, 5, 9])
    def test_a_foreign_name_that_left_may_be_taken_elsewhere_whatever_the_incarnation(
        self, incarnation: int
    ) -> None:
        scene = Scene(own=False)
        scene.tell(scene.left())
        assert scene.tell(scene.alive(incarnation, address=pack_host("10.0.9.9"))) == ["MemberJoined"]

    def test_a_foreign_process_in_its_place_needs_a_higher_incarnation(self, scene: Scene) -> None:
        scene.subject.own = False
        assert scene.tell_and_wait(scene.alive(5, meta=b"")) == []
        assert scene.tell_and_wait(scene.alive(6, meta=b"")) == ["MemberFailed", "MemberJoined"]
        assert [member.id for member in scene.node.members() if member.name == "s"] == [None]


class TestSolo:
    """A verdict reached alone, from silence: only this node's own view."""

    @pytest.fixture
    def lonely(self) -> Scene:
        """`a` and `s` alone, and `s` fell silent."""
        scene = Scene.__new__(Scene)
        scene.net = Net()
        scene.node = scene.net.start("a")
        scene.subject = scene.teller = scene.net.puppet("s").join(scene.node)
        scene.net.run(5)
        scene.subject.mute = True
        assert scene.net.run_until(lambda: scene.net.believes(scene.node, "s") is None, 20)
        scene.forget()
        return scene

    def test_is_never_sent(self, lonely: Scene) -> None:
        lonely.net.run(5)
        assert lonely.net.said(Dead) == []
        answer = lonely.net.puppet("x").push(lonely.node)
        assert "s" not in [node.name for node in answer.nodes]

    def test_is_reported_as_a_failure_by_silence(self) -> None:
        net = Net()
        node = net.start("a")
        puppet = net.puppet("s").join(node)
        net.run(5)
        puppet.mute = True
        net.run(20)
        assert [event.reason for event in net.events(node, MemberFailed)] == ["silence"]

    def test_its_ping_cancels_it_unless_it_is_an_old_one(self, lonely: Scene) -> None:
        """The first shows nothing, to a node that has heard no other: it may be older than the verdict."""
        for count, alive in ((7, False), (7, False), (3, False), (8, True)):
            ping = Ping(1, "a", sender_id=pack_id(lonely.subject.id), count=count)
            lonely.subject.tell(lonely.node, ping)
            assert (lonely.net.believes(lonely.node, "s") is ALIVE) is alive
        assert len(lonely.net.events(lonely.node, MemberJoined)) == 1

    def test_news_of_its_own_that_is_newer_cancels_it(self, lonely: Scene) -> None:
        other = lonely.net.puppet("m").join(lonely.node)
        other.tell(lonely.node, lonely.subject.alive(incarnation=2))
        assert lonely.net.believes(lonely.node, "s") is ALIVE

    @pytest.mark.parametrize("incarnation", [0, 1])
    def test_what_others_still_believe_of_it_does_not(self, lonely: Scene, incarnation: int) -> None:
        """Else two survivors of five would tell each other again and again that the frozen three live."""
        other = lonely.net.puppet("m").join(lonely.node)
        other.tell(lonely.node, lonely.subject.alive(incarnation=incarnation))
        assert lonely.net.believes(lonely.node, "s") is None

    def test_when_others_say_so_too_it_is_an_ordinary_death(self, lonely: Scene) -> None:
        lonely.net.puppet("m").join(lonely.node).tell(lonely.node, Dead("s", 1, "m"))
        assert lonely.net.events(lonely.node, MemberFailed) == []
        answer = lonely.net.puppet("x").push(lonely.node)
        assert [node.state for node in answer.nodes if node.name == "s"] == [WireState.DEAD]


class TestReadmission:
    """When a member that was given up comes back is decided by itself; see Readmission."""

    def given_up(self, net: Net, *names: str) -> tuple[Node, Node, Puppet]:
        a, b = net.cluster("a", "b")
        return a, b, net.puppet("m").join(a, b)

    def lose(self, node: Node, pings: int) -> None:
        """Of its own pings so many get lost, though others answer."""
        for _ in range(pings):
            node._links.lost()

    def cut(self, net: Net, seconds: float) -> None:
        net.cut("b", "acd")
        net.cut("acd", "b")
        net.run(seconds)
        net.heal()

    def test_it_comes_back_at_once(self, net: Net) -> None:
        a, b, teller = self.given_up(net)
        teller.tell(a, Dead("b", b.me.incarnation, "m"))
        net.run(0.1)
        assert net.believes(a, "b") is ALIVE
        assert net.events(b, HeldOff) == []

    @pytest.mark.parametrize("seconds", [4.0, 20.0])
    def test_silence_counts_for_nothing_once_it_is_over(self, net: Net, seconds: float) -> None:
        a, b, c, d = net.cluster("a", "b", "c", "d")
        for _ in range(2):
            self.cut(net, seconds)
            assert [net.believes(node, "b") for node in (a, c, d)] == [None] * 3
            net.run(2)
            assert [net.believes(node, "b") for node in (a, c, d)] == [ALIVE] * 3
            net.run(20)
        assert net.events(b, HeldOff) == []

    def test_after_the_third_time_it_stays_away_for_some_seconds(self, net: Net) -> None:
        """Else it would come and go with each flap of a link."""
        a, b, c, d = net.cluster("a", "b", "c", "d")
        for turn in range(3):
            self.cut(net, 5)
            net.run(3)
            expected = ALIVE if turn < 2 else None
            assert [net.believes(node, "b") for node in (a, c, d)] == [expected] * 3
        (held,) = net.events(b, HeldOff)
        assert held.reason == "its links were cut 3 times within a minute"
        net.run(2)
        assert [net.believes(node, "b") for node in (a, c, d)] == [ALIVE] * 3
        assert [event.reason for event in net.events(b, HeldOff)] == [held.reason, None]

    def test_nobodys_word_keeps_it_out(self, net: Net) -> None:
        """A member gone mad says again and again that it is dead; its own links are whole."""
        a, b, teller = self.given_up(net)
        for _ in range(5):
            net.run(10)
            teller.tell(a, Dead("b", b.me.incarnation, "m"))
            teller.tell(b, Dead("b", b.me.incarnation, "m"))
            net.run(0.1)
            assert net.believes(a, "b") is ALIVE

    def test_all_others_take_its_word(self, scene: Scene) -> None:
        """So their views never differ for long, whatever each of them has seen of it."""
        for incarnation in (5, 6, 7):
            scene.tell(Dead("s", incarnation, "m"))
            scene.tell(scene.alive(incarnation + 1))
            assert scene.state is ALIVE

    def test_a_node_that_it_counts_as_dead_it_answers_directly(self, net: Net) -> None:
        """No flood goes there, and each of two that have given each other up waits for the other."""
        _, b, teller = self.given_up(net)
        teller.mute = True
        teller.tell(b, Dead("m", teller.incarnation, "m"))
        net.run(1.0)
        teller.received.clear()
        teller.tell(b, Dead("b", b.me.incarnation, "m"))
        net.run(0.1)
        assert [alive.incarnation for alive in teller.heard(Alive) if alive.node == "b"] == [2]

    def test_while_most_of_its_packets_get_lost_it_says_nothing(self, net: Net) -> None:
        """It would be given up again, for the same reason."""
        a, b, teller = self.given_up(net)
        self.lose(b, 20)
        teller.tell(a, Dead("b", b.me.incarnation, "m"))
        incarnation = b.me.incarnation
        net.run(4)
        assert [event.reason for event in net.events(b, HeldOff)] == ["most of its packets get lost"]
        b.set_tags({"still": "held"}, net.now)  # not even of other things
        net.drain(b)
        net.run(1)
        assert net.believes(a, "b") is None
        assert b.me.incarnation == incarnation
        net.run(15)  # its pings are answered now
        assert net.believes(a, "b") is ALIVE
        member = a.member("b")
        assert member is not None
        assert member.tags == {"still": "held"}
        assert [event.reason for event in net.events(b, HeldOff)][1:] == [None]

    def test_a_silence_is_no_loss(self, net: Net) -> None:
        """However many pings it left unanswered."""
        b = net.cluster("a", "b", "c", "d")[1]
        net.run(20)
        self.cut(net, 20)
        net.run(2)
        assert b._links.loss.measured == 0.0

    def test_a_leader_that_waits_does_not_lead(self, net: Net) -> None:
        a, b = net.cluster("a", "b")
        teller = net.puppet("m").join(a, b)
        self.lose(a, 20)
        assert a.leader is not None
        assert a.leader.name == "a"
        teller.tell(a, Dead("a", a.me.incarnation, "m"))
        assert a.leader.name == "b"

    def test_one_that_most_voters_grant_the_lease_waits_no_longer(self, net: Net) -> None:
        """All that had given it up are gone; those that were started after them have joined through it."""
        a, b, c = net.cluster("a", "b", "c", voters=("a", "b", "c"))
        self.lose(b, 20)
        for other in (a, c):
            net.kill(other)
        net.puppet("m").join(b).tell(b, Dead("b", b.me.incarnation, "m"))
        assert [event.reason is None for event in net.events(b, HeldOff)] == [False]
        anew = [net.start(name, "b", voters=("a", "b", "c")) for name in "ac"]
        assert net.run_until(lambda: b.term is not None, 20)
        self.lose(b, 20)
        net.run(0.5)
        assert [node.leader and node.leader.name for node in anew] == ["b", "b"]
        assert [event.reason is None for event in net.events(b, HeldOff)] == [False, True]

    def test_it_does_not_wait_for_ever(self, net: Net) -> None:
        a, b, teller = self.given_up(net)
        self.lose(b, 20)
        teller.tell(a, Dead("b", b.me.incarnation, "m"))
        for _ in range(595):
            net.run(1)
            self.lose(b, 4)
        assert net.believes(a, "b") is None
        net.run(10)
        assert net.believes(a, "b") is ALIVE

    def test_a_restarted_process_does_not_wait(self, scene: Scene) -> None:
        for incarnation in (5, 6):
            scene.end(Dead("s", incarnation, "m"))
        id = mint_id(int((EPOCH + scene.net.now) * 1000) + 1, random.Random(7))
        assert scene.tell(scene.alive(1, meta=encode_meta({}, id, "BOOT0002"))) == ["MemberJoined"]

    def test_meanwhile_nobody_shouts(self, net: Net) -> None:
        a, b, c = net.cluster("a", "b", "c")
        teller = net.puppet("m").join(a, b, c)
        for _ in range(2):
            teller.tell(a, Dead("b", b.me.incarnation, "m"))
            net.run(1)
        net.sent.clear()
        net.run(8)
        assert len(net.sent) < 8 * 60
        assert b.me.incarnation < 40


class TestEvents:
    def test_tell_the_same_story_as_the_members(self) -> None:
        """Whoever follows the events knows who is there."""
        for seed in range(30):
            rng, net = random.Random(seed), Net()
            node = net.start("a")
            teller = net.puppet("m").join(node)
            subjects = [net.puppet(name, own=name != "f") for name in ("s", "t", "f")]
            for _ in range(40):
                tell_something(rng, net, node, teller, rng.choice(subjects))
            present = {"a": node.me}
            for event in net.events(node):
                match event:
                    case MemberJoined(member):
                        assert member.name not in present, f"seed {seed}: {event}"
                        present[member.name] = member
                    case MemberUpdated(member, previous):
                        assert present[member.name].id == previous.id or member.name == "a"
                        present[member.name] = member
                    case MemberSuspected(member) | MemberRecovered(member):
                        assert member.name in present, f"seed {seed}: {event}"
                        present[member.name] = member
                    case MemberFailed(member) | MemberLeft(member):
                        assert present.pop(member.name).name == member.name, f"seed {seed}: {event}"
                    case LeaderChanged():
                        pass
            here = {member.name: (member.id, member.tags, member.state) for member in node.members()}
            assert here == {
                name: (member.id, member.tags, member.state) for name, member in present.items()
            }, f"seed {seed}"


def tell_something(rng: random.Random, net: Net, node: Node, teller: Puppet, subject: Puppet) -> None:
    incarnation = rng.randrange(1, 12)
    boot, id = rng.choice([(subject.boot, subject.id), ("BOOT0002", subject.id[:-1] + "Z")])
    meta = encode_meta(rng.choice([{}, {"role": "db"}]), id, boot) if subject.own else rng.choice([b"", b"x"])
    news: list[Alive | Suspect | Dead] = [
        subject.alive(incarnation=incarnation, meta=meta),
        Suspect(subject.name, incarnation, "m"),
        Dead(subject.name, incarnation, "m"),
        Dead(subject.name, incarnation, subject.name),
    ]
    teller.tell(node, rng.choice(news))
    net.run(rng.choice([0, 0.1, 3, 12]))
