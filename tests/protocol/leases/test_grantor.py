"""The side of the leader, and how it spreads names."""

from __future__ import annotations

from collections import Counter

import pytest

from swim.protocol.leases.grantor import Grantor
from swim.protocol.leases.holder import Holder
from swim.wire.leases import LeaseEntry, LeaseKind, LeaseMessage, LeaseRefusal

SESSION = 6.0
TERM, EARLIER = b"t" * 16, b"s" * 16
OLD = EARLIER + bytes(8)
NAMES_MAX = 40


class Court:
    """A grantor, and processes that say what the test wants them to say."""

    def __init__(self, *, paused: bool = False, names_max: int = NAMES_MAX) -> None:
        self.grantor = Grantor(SESSION, names_max)
        self.grantor.begin(TERM, 0.0)
        if not paused:
            self.grantor.end_pause(0.0)
        self.number = 0
        self.heard: dict[str, list[LeaseEntry]] = {}

    def say(
        self,
        who: str,
        *entries: LeaseEntry,
        now: float = 0.0,
        session: float = SESSION,
        digest: bytes = b"",
        bound: int = 0,
        number: int | None = None,
    ) -> list[LeaseEntry]:
        """A message of this process; what it is told from then on, refusals first."""
        self.number += 1
        number = self.number if number is None else number
        message = LeaseMessage(
            TERM, who.encode(), b"", (number,), entries, digest, bound, session_ms=round(session * 1000)
        )
        self.heard.clear()
        self.grantor.receive(message, who, "boot", now)
        return self.told(who)

    def told(self, who: str) -> list[LeaseEntry]:
        for process, answers in self.grantor.answers.items():
            entries = [entry for answer in answers.answers for entry in answer.refused] + answers.entries
            self.heard.setdefault(process.decode(), []).extend(entries)
        self.grantor.answers.clear()
        return self.heard.pop(who, [])

    def want(
        self, who: str, name: str = "x", *, id: int = 1, limit: int = 1, owned: bool = False, now: float = 0.0
    ) -> list[LeaseEntry]:
        return self.say(who, LeaseEntry(LeaseKind.WANT, id, name, number=limit, owned=owned), now=now)

    def release(self, who: str, *, id: int = 1, token: bytes = b"", now: float = 0.0) -> list[LeaseEntry]:
        return self.say(who, LeaseEntry(LeaseKind.RELEASE, id, token=token), now=now)

    def hold(
        self, who: str, token: bytes, name: str = "x", *, id: int = 1, now: float = 0.0
    ) -> list[LeaseEntry]:
        return self.say(who, LeaseEntry(LeaseKind.HOLD, id, name, token, 1), now=now)

    def holders(self, name: str = "x") -> list[str]:
        return [use.session.member for use in self.grantor.books.holders(name)]

    def token(self, name: str = "x") -> bytes:
        (use,) = self.grantor.books.holders(name)
        return use.token

    def tick(self, now: float) -> None:
        self.grantor.tick(now)


@pytest.fixture
def court() -> Court:
    return Court()


@pytest.fixture
def young() -> Court:
    """At the start of a term."""
    return Court(paused=True)


# --- granting


def test_a_free_name_is_granted_and_the_grant_names_the_question(court: Court) -> None:
    (grant,) = court.want("a")
    assert (grant.kind, grant.id, grant.number) == (LeaseKind.GRANT, 1, court.number)
    assert grant.token[:16] == TERM


def test_first_come_first_served(court: Court) -> None:
    for who in "abcd":
        court.want(who)
    order = []
    while court.holders():
        order += court.holders()
        court.release(order[-1])
    assert order == ["a", "b", "c", "d"]


def test_asking_again_keeps_the_place(court: Court) -> None:
    court.want("a")
    court.want("b")
    court.want("c")
    court.want("b", now=1.0)
    court.release("a", now=1.0)
    assert court.holders() == ["b"]


def test_a_semaphore_has_as_many_holders_as_its_limit(court: Court) -> None:
    for who in "abc":
        court.want(who, limit=2)
    assert court.holders() == ["a", "b"]


def test_two_uses_in_one_process_are_two(court: Court) -> None:
    court.want("a", id=1)
    assert court.want("a", id=2) == []
    assert court.holders() == ["a"]


def test_every_grant_has_a_higher_token_also_to_the_same_process(court: Court) -> None:
    tokens = []
    for id in range(1, 5):
        court.want("a", id=id)
        tokens.append(court.token())
        court.release("a", id=id)
    assert tokens == sorted(set(tokens))


def test_a_use_that_asks_again_has_its_grant_repeated_as_it_was(court: Court) -> None:
    """Under a new number it would count for longer than the leader counts it."""
    (grant,) = court.want("a")
    assert court.want("a", now=2.0) == [grant]
    (use,) = court.grantor.books.holders("x")
    assert use.until == SESSION


def test_a_grant_to_one_that_waited_counts_from_when_it_was_heard_last(court: Court) -> None:
    court.want("a")
    court.want("b", now=1.0)
    court.want("b", now=3.0)
    number = court.number
    court.release("a", now=3.5)
    (use,) = court.grantor.books.holders("x")
    assert use.until == 3.0 + SESSION
    assert use.number == number


def test_an_older_question_that_comes_late_does_not_count_as_the_latest(court: Court) -> None:
    court.want("a")
    court.want("b", now=3.0)
    latest = court.number
    court.say("b", LeaseEntry(LeaseKind.WANT, 1, "x", number=1), now=4.0, number=latest - 1)
    court.release("a", now=4.1)
    (use,) = court.grantor.books.holders("x")
    assert (use.number, use.until) == (latest, 3.0 + SESSION)


def test_one_that_has_not_been_heard_for_half_a_session_is_passed_over(court: Court) -> None:
    court.want("a", now=0.0)
    court.want("b", now=0.0)
    court.want("c", now=2.0)
    court.release("a", now=3.5)
    assert court.holders() == ["c"]


def test_one_that_was_passed_over_is_served_when_it_is_heard_again(court: Court) -> None:
    court.want("a")
    court.want("b")
    court.release("a", now=3.5)
    assert court.holders() == []
    court.want("b", now=3.6)
    assert court.holders() == ["b"]


def test_one_that_is_not_heard_for_a_session_waits_no_more(court: Court) -> None:
    court.want("a")
    court.want("b")
    court.tick(SESSION)
    assert not court.grantor.books.names
    assert not court.grantor.books.sessions


# --- renewing and releasing


def digest_of(*uses: tuple[int, bytes]) -> bytes:
    """As a holder makes it."""
    from swim.protocol.leases.books import share_of_digest

    mixed = 0
    for id, token in uses:
        mixed ^= share_of_digest(id, token)
    return mixed.to_bytes(8, "big")


def test_a_digest_that_is_known_renews_all(court: Court) -> None:
    court.want("a", "x", id=1)
    court.want("a", "y", id=2)
    uses = ((1, court.token("x")), (2, court.token("y")))
    court.say("a", digest=digest_of(*uses), bound=2, now=4.0)
    court.tick(SESSION)
    assert court.holders("x") == court.holders("y") == ["a"]
    court.tick(4.0 + SESSION)
    assert court.holders("x") == court.holders("y") == []


def test_a_digest_that_is_not_known_renews_nothing_and_is_answered_so(court: Court) -> None:
    court.want("a")
    court.number += 1
    message = LeaseMessage(TERM, b"a", b"", (court.number,), (), bytes(8), 5, session_ms=6_000)
    court.grantor.receive(message, "a", "boot", 4.0)
    assert [answer.unknown for answer in court.grantor.answers[b"a"].answers] == [True]
    court.tick(SESSION)
    assert court.holders() == []


def test_a_digest_says_nothing_of_uses_beyond_its_bound(court: Court) -> None:
    court.want("a", "x", id=1)
    court.want("a", "y", id=2)
    court.say("a", digest=digest_of((1, court.token("x"))), bound=1, now=4.0)
    court.tick(SESSION)
    assert court.holders("x") == ["a"]
    assert court.holders("y") == []


def test_a_token_that_is_held_is_renewed_and_another_one_is_refused(court: Court) -> None:
    court.want("a")
    assert court.hold("a", court.token(), now=4.0) == []
    (refusal,) = court.hold("a", TERM + bytes(7) + b"\x63", now=4.0)
    assert refusal.kind is LeaseKind.REFUSE
    court.tick(SESSION)
    assert court.holders() == ["a"]


def test_a_lease_that_is_not_renewed_goes_to_the_next(court: Court) -> None:
    court.want("a")
    court.want("b", now=4.0)
    court.tick(SESSION)
    assert court.holders() == ["b"]
    assert court.grantor.lost == 1


def test_a_release_frees_exactly_the_grant_of_its_token(court: Court) -> None:
    court.want("a")
    (freed,) = court.release("a", token=TERM + bytes(7) + b"\x63")
    assert freed.kind is LeaseKind.FREED
    assert court.holders() == ["a"]
    court.release("a", token=court.token())
    assert court.holders() == []


def test_nobody_releases_what_another_holds(court: Court) -> None:
    court.want("a")
    court.release("b", token=court.token())
    court.release("b")
    assert court.holders() == ["a"]


def test_a_release_takes_a_question_back(court: Court) -> None:
    court.want("a")
    court.want("b")
    court.release("b")
    court.release("a")
    assert court.holders() == []


# --- what is refused


def test_a_name_with_another_limit_is_refused_with_the_reason(court: Court) -> None:
    court.want("a", limit=2)
    (refusal,) = court.want("b", limit=3)
    assert (refusal.kind, refusal.number) == (LeaseKind.REFUSE, LeaseRefusal.DIFFERS)


def test_a_name_that_is_owned_is_not_held_as_a_lock(court: Court) -> None:
    court.want("a", owned=True)
    (refusal,) = court.want("b")
    assert refusal.number == LeaseRefusal.DIFFERS


@pytest.mark.parametrize("limit", [0, 65_536])
def test_limits_that_cannot_be(court: Court, limit: int) -> None:
    assert court.want("a", limit=limit)[0].number == LeaseRefusal.DIFFERS


def test_one_process_has_a_quarter_of_all_names(court: Court) -> None:
    reasons = [entry.number for id in range(1, 13) for entry in court.want("a", f"n{id}", id=id)][-2:]
    assert court.grantor.books.granted == NAMES_MAX // 4
    assert reasons == [LeaseRefusal.MEMBER_FULL] * 2


def test_names_beyond_the_limit_are_refused(court: Court) -> None:
    for who in "abcde":
        for id in range(1, 11):
            last = court.want(who, f"{who}{id}", id=id)
    assert court.grantor.books.granted == NAMES_MAX
    assert last[0].number == LeaseRefusal.FULL


def test_a_node_that_counts_sessions_of_another_length_is_refused(court: Court) -> None:
    (refusal,) = court.say("a", LeaseEntry(LeaseKind.WANT, 1, "x", number=1), session=60.0)
    assert refusal.number == LeaseRefusal.SESSION


def test_members_that_ask_and_go_leave_nothing_behind(court: Court) -> None:
    for index in range(1_000):
        court.want(f"m{index}", f"n{index % 7}")
        court.release(f"m{index}")
        court.say(f"m{index}", LeaseEntry(LeaseKind.WHO, 2, "x"))
    court.told("nobody")
    assert not court.grantor.books.sessions
    assert not court.grantor.books.names


# --- the start of a term


def test_a_new_leader_grants_nothing_for_a_session(young: Court) -> None:
    assert young.want("a") == []
    young.tick(SESSION - 0.01)
    assert young.holders() == []
    young.want("a", now=SESSION - 0.01)
    young.tick(SESSION)
    assert young.holders() == ["a"]


def test_what_is_asserted_at_the_start_of_a_term_is_kept(young: Court) -> None:
    assert young.hold("a", OLD, now=1.0) == []
    young.want("b", now=5.0)
    young.tick(SESSION)
    assert young.holders() == ["a"]
    assert young.token() == OLD
    young.tick(1.0 + SESSION)
    assert young.holders() == ["b"]


def test_what_is_asserted_after_that_is_refused(young: Court) -> None:
    young.tick(SESSION)
    (refusal,) = young.hold("a", OLD, now=SESSION)
    assert (refusal.kind, refusal.token) == (LeaseKind.REFUSE, OLD)


def test_only_as_many_as_may_have_it_are_believed(young: Court) -> None:
    young.hold("a", OLD)
    (refusal,) = young.hold("b", EARLIER + bytes(7) + b"\1")
    assert refusal.kind is LeaseKind.REFUSE


def test_tokens_of_this_very_term_are_not_believed(young: Court) -> None:
    (refusal,) = young.hold("a", TERM + bytes(8))
    assert refusal.kind is LeaseKind.REFUSE


def test_what_is_released_at_the_start_of_a_term_is_not_granted_yet(young: Court) -> None:
    """It may be the release of an earlier holder, and the present one has not been heard of."""
    young.hold("a", OLD)
    young.want("b")
    young.release("a", token=OLD)
    assert young.holders() == []


def test_a_late_renewal_does_not_bring_back_what_was_released(young: Court) -> None:
    young.hold("a", OLD)
    young.release("a", token=OLD)
    (refusal,) = young.hold("a", OLD)
    assert refusal.kind is LeaseKind.REFUSE


def test_a_new_term_begins_with_empty_books(court: Court) -> None:
    court.want("a")
    court.grantor.begin(b"v" * 16, 1.0)
    assert court.holders() == []
    assert court.grantor.paused


def test_a_pause_is_counted_from_when_an_earlier_leader_could_grant_last(court: Court) -> None:
    court.grantor.begin(b"v" * 16, 4.0)
    assert court.grantor.deadline() == 4.0 + SESSION


# --- questions


def test_which_member_holds_a_name(court: Court) -> None:
    court.want("a")
    (answer,) = court.say("b", LeaseEntry(LeaseKind.WHO, 9, "x"))
    assert (answer.kind, answer.id, answer.name) == (LeaseKind.OWNER, 9, "a")
    (answer,) = court.say("b", LeaseEntry(LeaseKind.WHO, 10, "y"))
    assert answer.name == ""


def test_a_new_leader_does_not_say_that_nobody_holds_what_it_has_not_heard_of(young: Court) -> None:
    assert young.say("b", LeaseEntry(LeaseKind.WHO, 9, "x")) == []


def test_the_names_of_a_process_that_has_ended_go_to_others(court: Court) -> None:
    court.want("a")
    court.want("b")
    court.grantor.forget(b"a", 1.0)
    assert court.holders() == ["b"]


# --- balance


class Group:
    """Processes that offer themselves for all names of a group, each with a holder of its own."""

    def __init__(self, names: int) -> None:
        self.court = Court(names_max=65_536)
        self.names = [f"shard/{index}" for index in range(names)]
        self.holders: dict[str, Holder] = {}
        self.now = 0.0
        self.moves = 0

    def join(self, who: str) -> None:
        holder = self.holders[who] = Holder(SESSION, 100_000)
        holder.follow(TERM, self.now)
        for name in self.names:
            holder.want(name, 1, True, self.now)

    def leave(self, who: str) -> None:
        holder = self.holders[who]
        for id in list(holder.states):
            holder.release(id, self.now)
        self.pass_on()
        del self.holders[who]

    def pass_on(self) -> None:
        """Until nobody has anything to say: owners give up at once what they are told to."""
        grantor = self.court.grantor
        quiet = False
        while not quiet:
            quiet = True
            if self.now >= grantor.deadline():
                grantor.tick(self.now)
            for who, holder in self.holders.items():
                if self.now >= holder.deadline():
                    holder.tick(self.now)
                for message in holder.flush(self.now):
                    quiet = False
                    from dataclasses import replace

                    grantor.receive(replace(message, process=who.encode()), who, "boot", self.now)
            answers, grantor.answers = grantor.answers, {}
            for process, each in answers.items():
                holder = self.holders[process.decode()]
                for answer in each.answers:
                    unknown = (answer.number,) if answer.unknown else ()
                    holder.receive(
                        LeaseMessage(
                            TERM, numbers=(answer.number,), entries=tuple(answer.refused), unknown=unknown
                        ),
                        self.now,
                    )
                holder.receive(LeaseMessage(TERM, entries=tuple(each.entries)), self.now)
                changes, holder.changes = holder.changes, []
                for change in changes:
                    if change.moving:
                        quiet = False
                        self.moves += 1
                        name = holder.states[change.id].name
                        holder.release(change.id, self.now)
                        holder.want(name, 1, True, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.1
            self.pass_on()

    def counts(self) -> list[int]:
        spread = Counter(dict.fromkeys(self.holders, 0))
        spread.update(
            use.session.member for name in self.names for use in self.court.grantor.books.holders(name)
        )
        return sorted(spread.values())


def test_names_are_spread_within_one_of_each_other() -> None:
    group = Group(64)
    for who in "abcde":
        group.join(who)
    group.run(3.0)
    assert group.counts() == [12, 13, 13, 13, 13]


def test_a_newcomer_gets_its_share_and_no_more_than_that_moves() -> None:
    group = Group(64)
    for who in "abcd":
        group.join(who)
    group.run(3.0)
    group.moves = 0
    group.join("e")
    group.run(3.0)
    assert group.counts() == [12, 13, 13, 13, 13]
    assert group.moves == 12


def test_ten_that_come_together_make_one_rebalancing() -> None:
    group = Group(60)
    group.join("first")
    group.run(3.0)
    group.moves = 0
    for index in range(9):
        group.join(f"n{index}")
        group.run(0.1)
    group.run(3.0)
    assert group.counts() == [6] * 10
    assert group.moves == 54


def test_newcomers_are_let_settle() -> None:
    group = Group(10)
    group.join("a")
    group.run(3.0)
    group.join("b")
    group.run(0.8)
    assert group.counts() == [0, 10]


def test_the_names_of_one_that_leaves_are_spread_at_once() -> None:
    group = Group(64)
    for who in "abcde":
        group.join(who)
    group.run(3.0)
    group.moves = 0
    group.leave("c")
    group.pass_on()
    assert group.counts() == [16, 16, 16, 16]
    assert group.moves == 0


def test_at_most_a_few_are_on_their_way_at_a_time() -> None:
    group = Group(40)
    group.join("a")
    group.run(3.0)
    group.join("b")
    group.pass_on()
    group.now += 1.1
    group.court.grantor.tick(group.now)
    assert len(group.court.grantor.books.moving["shard"]) == 8


def test_a_grown_group_stays_where_it_is() -> None:
    """Nothing is moved while the spread is even."""
    group = Group(9)
    for who in "abc":
        group.join(who)
    group.run(10.0)
    group.moves = 0
    group.run(10.0)
    assert group.moves == 0


def test_nothing_moves_to_one_that_has_not_been_heard_for_half_a_session(court: Court) -> None:
    """What was given up for it would be granted to the next, and moved again at once, thousands of times."""
    for id in range(4):
        court.want("a", f"shard/{id}", id=id, owned=True)
        court.want("b", f"shard/{id}", id=id, owned=True)
    court.tick(3.5)
    assert [entry.kind for entry in court.told("a")] == []
    court.want("b", "shard/0", id=0, owned=True, now=3.6)
    court.tick(3.6)
    assert [(entry.kind, entry.id) for entry in court.told("a")] == [(LeaseKind.MOVE, 0)]
