"""The side of a process that wants and holds names."""

from __future__ import annotations

import math

import pytest

from swim.protocol.leases.holder import Change, Holder
from swim.wire.leases import LeaseEntry, LeaseKind, LeaseMessage, LeaseRefusal

SESSION = 6.0
KEPT = SESSION * 0.97
ENDS = KEPT - SESSION / 12
TERM, NEXT_TERM = b"t" * 16, b"u" * 16
TOKEN, OTHER = TERM + bytes(8), TERM + bytes(7) + b"\1"


class Dialogue:
    """A holder and what the test says to it as the leader."""

    def __init__(self, room: int = 1_000) -> None:
        self.holder = Holder(SESSION, room)
        self.holder.follow(TERM, 0.0)
        self.said: list[LeaseMessage] = []

    def run(self, now: float) -> list[LeaseMessage]:
        """What it says at this time."""
        if now >= self.holder.deadline():
            self.holder.tick(now)
        messages = self.holder.flush(now)
        self.said += messages
        return messages

    def entries(self, now: float) -> list[LeaseEntry]:
        return [entry for message in self.run(now) for entry in message.entries]

    def want(self, name: str = "x", now: float = 0.0, *, limit: int = 1) -> int:
        """Ask for a name and say so."""
        id = self.holder.want(name, limit, False, now)
        self.run(now)
        return id

    def last(self) -> int:
        return self.said[-1].numbers[0]

    def hear(
        self, now: float, *entries: LeaseEntry, numbers: tuple[int, ...] = (), unknown: tuple[int, ...] = ()
    ) -> None:
        message = LeaseMessage(TERM, numbers=numbers, entries=entries, unknown=unknown)
        self.holder.receive(message, now)

    def grant(self, id: int, now: float, *, token: bytes = TOKEN, number: int | None = None) -> None:
        number = self.last() if number is None else number
        self.hear(now, LeaseEntry(LeaseKind.GRANT, id, token=token, number=number), numbers=(number,))

    def held(self, now: float = 0.0) -> int:
        """A name that is granted at once."""
        id = self.want(now=now)
        self.grant(id, now)
        self.changes()
        return id

    def changes(self) -> list[Change]:
        drained, self.holder.changes = self.holder.changes, []
        return drained


@pytest.fixture
def talk() -> Dialogue:
    return Dialogue()


# --- asking


def test_a_name_is_asked_for_with_its_limit(talk: Dialogue) -> None:
    id = talk.holder.want("gpu", 4, False, 0.0)
    assert talk.entries(0.0) == [LeaseEntry(LeaseKind.WANT, id, "gpu", number=4)]


def test_what_is_asked_for_at_once_goes_in_one_message(talk: Dialogue) -> None:
    for name in "abc":
        talk.holder.want(name, 1, False, 0.0)
    (message,) = talk.run(0.0)
    assert [entry.name for entry in message.entries] == ["a", "b", "c"]


def test_entries_that_do_not_fit_go_in_further_messages() -> None:
    talk = Dialogue(room=100)
    for name in "abcde":
        talk.holder.want(name, 1, False, 0.0)
    messages = talk.run(0.0)
    assert [len(message.entries) for message in messages] == [3, 2]
    assert len({message.numbers for message in messages}) == 2


def test_a_question_that_is_not_answered_is_asked_again(talk: Dialogue) -> None:
    id = talk.want()
    assert [entry.id for entry in talk.entries(0.1)] == [id]
    assert [entry.id for entry in talk.entries(0.35)] == [id]


def test_a_question_that_was_heard_is_not_repeated_before_the_renewal(talk: Dialogue) -> None:
    talk.want()
    talk.hear(0.01, numbers=(talk.last(),))
    assert talk.entries(0.5) == []
    (renewal,) = talk.run(1.0)
    assert renewal.digest
    assert not renewal.entries


def test_nothing_is_said_to_nobody() -> None:
    holder = Holder(SESSION, 1_000)
    holder.want("x", 1, False, 0.0)
    holder.tick(10.0)
    assert holder.flush(10.0) == []


def test_a_node_that_wants_and_holds_nothing_says_nothing(talk: Dialogue) -> None:
    talk.run(0.0)
    assert talk.holder.deadline() == math.inf


def test_a_node_that_waits_no_more_takes_its_question_back(talk: Dialogue) -> None:
    id = talk.want()
    talk.holder.release(id, 0.5)
    assert talk.entries(0.5) == [LeaseEntry(LeaseKind.RELEASE, id)]
    talk.hear(0.6, LeaseEntry(LeaseKind.FREED, id))
    assert talk.holder.idle
    assert talk.entries(5.0) == []


def test_a_refusal_is_told_with_its_reason(talk: Dialogue) -> None:
    id = talk.want()
    talk.hear(0.1, LeaseEntry(LeaseKind.REFUSE, id, number=LeaseRefusal.FULL))
    assert talk.changes() == [Change(id, refusal=LeaseRefusal.FULL)]
    assert talk.entries(5.0) == []


# --- grants


def test_a_grant_counts_from_the_sending_of_the_question_that_it_answers(talk: Dialogue) -> None:
    id = talk.want(now=1.0)
    talk.grant(id, 3.0)
    (change,) = talk.changes()
    assert change.token == TOKEN
    assert change.ends == pytest.approx(1.0 + ENDS)


def test_what_is_answered_counts_for_less_by_the_age_of_the_leaders_own_lease(talk: Dialogue) -> None:
    id = talk.want(now=1.0)
    entry = LeaseEntry(LeaseKind.GRANT, id, token=TOKEN, number=talk.last())
    talk.holder.receive(LeaseMessage(TERM, entries=(entry,), age_ms=250), 1.0)
    assert talk.changes()[0].ends == pytest.approx(0.75 + ENDS)
    talk.run(2.0)
    talk.holder.receive(LeaseMessage(TERM, numbers=(talk.last(),), age_ms=100), 2.0)
    assert talk.changes()[0].ends == pytest.approx(1.9 + ENDS)


def test_a_grant_that_came_too_late_counts_no_more_when_it_is_said_again(talk: Dialogue) -> None:
    id = talk.want()
    number = talk.last()
    entry = LeaseEntry(LeaseKind.GRANT, id, token=TOKEN, number=number)
    talk.holder.receive(LeaseMessage(TERM, entries=(entry,), age_ms=6_000), 0.1)
    assert LeaseEntry(LeaseKind.RELEASE, id, token=TOKEN) in talk.entries(0.1)
    talk.grant(id, 0.2, number=number)
    assert talk.changes() == []
    talk.grant(id, 0.3, token=OTHER)
    assert talk.changes()[0].token == OTHER


def test_a_grant_of_an_earlier_question_counts_from_that_one(talk: Dialogue) -> None:
    id = talk.want(now=0.0)
    first = talk.last()
    talk.run(0.1)
    talk.grant(id, 0.2, number=first)
    assert talk.changes()[0].ends == pytest.approx(ENDS)


def test_three_in_a_hundred_of_a_session_are_left_for_clocks_that_differ(talk: Dialogue) -> None:
    id = talk.held()
    assert talk.holder.states[id].until <= SESSION * (1 - 0.0198)


def test_a_grant_that_is_not_waited_for_is_released_at_once_by_its_token(talk: Dialogue) -> None:
    id = talk.want()
    number = talk.last()
    talk.holder.release(id, 0.1)
    talk.run(0.1)
    talk.grant(id, 0.2, number=number)
    assert talk.changes() == []
    assert LeaseEntry(LeaseKind.RELEASE, id, token=TOKEN) in talk.entries(0.2)


def test_a_grant_to_an_earlier_use_of_the_name_is_none_to_the_present_one(talk: Dialogue) -> None:
    first = talk.held()
    number = talk.last()
    talk.holder.release(first, 1.0)
    talk.run(1.0)
    talk.hear(1.1, LeaseEntry(LeaseKind.FREED, first))
    second = talk.want(now=1.2)
    talk.grant(first, 1.3, token=OTHER, number=number)
    assert talk.changes() == []
    assert not talk.holder.states[second].token


def test_a_grant_whose_time_is_over_is_released_and_still_waited_for(talk: Dialogue) -> None:
    id = talk.want()
    number = talk.last()
    talk.hear(ENDS, numbers=(number,))
    talk.hear(ENDS, LeaseEntry(LeaseKind.GRANT, id, token=TOKEN, number=number))
    assert talk.changes() == []
    said = talk.entries(ENDS)
    assert LeaseEntry(LeaseKind.RELEASE, id, token=TOKEN) in said
    assert LeaseEntry(LeaseKind.WANT, id, "x", number=1) in said


def test_a_grant_that_comes_twice_changes_nothing(talk: Dialogue) -> None:
    id = talk.held()
    talk.grant(id, 0.5)
    assert talk.changes() == []
    assert talk.entries(0.5) == []


# --- renewals


def test_a_renewal_counts_from_its_sending(talk: Dialogue) -> None:
    talk.held()
    talk.run(1.0)
    talk.hear(2.5, numbers=(talk.last(),))
    assert talk.changes()[0].ends == pytest.approx(1.0 + ENDS)


def test_a_renewal_prolongs_only_what_was_in_it(talk: Dialogue) -> None:
    talk.held()
    talk.run(1.0)
    renewal = talk.last()
    later = talk.want("y", now=1.1)
    talk.grant(later, 1.2, token=OTHER)
    talk.changes()
    talk.hear(1.3, numbers=(renewal,))
    assert later not in [change.id for change in talk.changes()]


def test_an_answer_to_an_earlier_message_shortens_nothing(talk: Dialogue) -> None:
    id = talk.held()
    talk.run(1.0)
    first = talk.last()
    talk.run(2.0)
    talk.hear(2.1, numbers=(talk.last(),))
    until = talk.holder.states[id].until
    talk.hear(2.2, numbers=(first,))
    assert talk.holder.states[id].until == until


def test_a_renewal_that_is_not_answered_is_sent_again_soon(talk: Dialogue) -> None:
    talk.held()
    assert talk.run(1.0)
    assert talk.run(1.1)
    talk.hear(1.15, numbers=(talk.last(),))
    assert not talk.run(1.5)
    assert talk.run(2.2)


def test_a_leader_that_does_not_know_the_digest_is_told_the_list(talk: Dialogue) -> None:
    id = talk.held()
    talk.run(1.0)
    talk.hear(1.1, numbers=(talk.last(),), unknown=(talk.last(),))
    assert talk.changes() == []
    assert talk.entries(1.1) == [LeaseEntry(LeaseKind.HOLD, id, "x", TOKEN, 1)]


def test_the_digest_covers_no_more_than_what_the_leader_has_answered(talk: Dialogue) -> None:
    first = talk.held()
    second = talk.want("y", now=0.99)
    messages = talk.run(1.0)
    assert messages[0].bound < second
    assert messages[0].bound >= first


def test_what_is_refused_is_lost_at_once(talk: Dialogue) -> None:
    id = talk.held()
    talk.run(1.0)
    talk.hear(1.1, LeaseEntry(LeaseKind.REFUSE, id, token=TOKEN), numbers=(talk.last(),))
    assert talk.changes() == [Change(id)]
    assert talk.holder.states[id].gone
    assert talk.entries(5.0) == []


def test_a_refusal_of_another_token_changes_nothing(talk: Dialogue) -> None:
    id = talk.held()
    talk.hear(1.1, LeaseEntry(LeaseKind.REFUSE, id, token=OTHER))
    assert talk.changes() == []


def test_what_is_not_renewed_is_lost_while_there_is_time_for_clean_up(talk: Dialogue) -> None:
    id = talk.held()
    assert talk.holder.deadline() <= ENDS
    talk.run(ENDS)
    assert talk.changes() == [Change(id)]


def test_what_was_lost_is_renewed_while_it_cleans_up_but_does_not_come_back(talk: Dialogue) -> None:
    id = talk.held()
    talk.run(ENDS)
    talk.changes()
    talk.hear(ENDS + 0.1, numbers=(talk.last(),))
    assert talk.holder.states[id].until > KEPT
    assert talk.changes() == []


# --- leaders


def test_a_new_leader_is_told_everything_at_once(talk: Dialogue) -> None:
    held = talk.held()
    waiting = talk.want("y")
    talk.holder.follow(NEXT_TERM, 2.0)
    assert {(entry.kind, entry.id) for entry in talk.entries(2.0)} == {
        (LeaseKind.HOLD, held),
        (LeaseKind.WANT, waiting),
    }


def test_an_answer_to_what_was_said_to_the_last_leader_counts_no_more(talk: Dialogue) -> None:
    id = talk.held()
    talk.run(1.0)
    number = talk.last()
    talk.holder.follow(NEXT_TERM, 2.0)
    talk.hear(2.1, numbers=(number,))
    assert talk.holder.states[id].until == KEPT


def test_a_node_that_is_asked_says_when_the_leader_knows_all_that_it_holds(talk: Dialogue) -> None:
    id = talk.held()
    talk.holder.follow(NEXT_TERM, 2.0)
    talk.hear(2.0, LeaseEntry(LeaseKind.TELL))
    assert [entry.kind for entry in talk.entries(2.0)] == [LeaseKind.HOLD]
    talk.hear(2.1, numbers=(talk.last(),))
    assert [entry.kind for entry in talk.entries(2.1)] == [LeaseKind.TOLD]
    assert talk.holder.states[id].answered


def test_a_node_that_holds_nothing_says_so_when_it_is_asked(talk: Dialogue) -> None:
    talk.hear(1.0, LeaseEntry(LeaseKind.TELL))
    assert [entry.kind for entry in talk.entries(1.0)] == [LeaseKind.TOLD]


# --- handing over, and questions


def test_handing_over_is_told_once(talk: Dialogue) -> None:
    id = talk.held()
    for _ in range(2):
        talk.hear(1.0, LeaseEntry(LeaseKind.MOVE, id, token=TOKEN))
    assert talk.changes() == [Change(id, moving=True)]


def test_a_lease_is_held_until_its_clean_up_is_done(talk: Dialogue) -> None:
    id = talk.held()
    talk.hear(0.5, LeaseEntry(LeaseKind.MOVE, id, token=TOKEN))
    talk.run(1.0)
    talk.hear(1.1, numbers=(talk.last(),))
    assert talk.holder.states[id].until == pytest.approx(1.0 + KEPT)


def test_an_owner_is_asked_for_until_there_is_an_answer(talk: Dialogue) -> None:
    question = talk.holder.ask_owner("x", 0.0)
    assert talk.entries(0.0) == [LeaseEntry(LeaseKind.WHO, question, "x")]
    assert talk.entries(0.2) == [LeaseEntry(LeaseKind.WHO, question, "x")]
    assert talk.holder.take_owner(question) is None
    talk.hear(0.3, LeaseEntry(LeaseKind.OWNER, question, "b"))
    assert talk.holder.take_owner(question) == "b"
    assert talk.entries(5.0) == []
