"""One voter: whom it grants the lease, for how long, and what it forgets."""

from __future__ import annotations

import random
from typing import Any

import pytest

from swim.protocol.leadership.configuration import counted, founding_configuration
from swim.protocol.leadership.voting import Voter
from swim.protocol.view.identity import mint_id, pack_id, unpack_id
from swim.protocol.view.table import Record, encode_meta
from swim.types import Address, MemberState
from swim.wire.messages import LeaderKind, LeaderMessage, Refusal

L = 3.0
PROMISED = 0.99 * L
CONFIGURATION = founding_configuration(("a", "b", "c"), L)
ID, HIGHER = "01" + "A" * 24, "01" + "B" * 24
NOW = 100.0
ASKER = Record.make(
    "a", Address("10.0.0.1", 7946), 1, MemberState.ALIVE, encode_meta({}, ID, "BOOT0000"), b"", NOW
)


class Asked:
    """A voter, with questions that are asked in its present turn unless a turn is given."""

    def __init__(self, now: float) -> None:
        self.voter = Voter(random.Random(1))
        self.voter.start(now)

    @property
    def turn(self) -> int:
        return self.voter._turn

    def ask(
        self,
        now: float,
        round: int = 1,
        process: bytes = b"P",
        *,
        kind: LeaderKind = LeaderKind.ASK,
        turn: int | None = None,
        token: str = ID,
        id: str = ID,
        led: bool = False,
        floor: str = "",
        digest: bytes = CONFIGURATION.digest,
    ) -> LeaderMessage | None:
        if turn is None:
            self.voter._expire(now)
        turn = self.turn if turn is None else turn
        message = LeaderMessage(kind, round, process, b"", turn, pack_id(id), pack_id(token), led, digest)
        return self.voter.answer(message, ASKER, CONFIGURATION, floor, now)

    def grants(self, *args: Any, **options: Any) -> bool:
        answer = self.ask(*args, **options)
        return answer is not None and answer.kind is LeaderKind.GRANT

    def refusal(self, *args: Any, **options: Any) -> tuple[Refusal, int]:
        answer = self.ask(*args, **options)
        assert answer is not None
        assert answer.kind is LeaderKind.REFUSE
        return answer.reason, answer.left_ms

    def release(self, round: int, process: bytes = b"P", *, turn: int | None = None, led: str = "") -> None:
        turn = self.turn if turn is None else turn
        self.voter.release(LeaderMessage(LeaderKind.RELEASE, round, process, turn=turn, token=pack_id(led)))


@pytest.fixture
def voter() -> Asked:
    return Asked(NOW - L)


class TestGrants:
    def test_one_process_at_a_time_and_tell_how_long(self, voter: Asked) -> None:
        assert voter.grants(NOW)
        assert voter.refusal(NOW + 1, process=b"Q") == (Refusal.GRANTED, 1_970)
        assert not voter.grants(NOW + PROMISED - 0.001, process=b"Q")
        assert voter.grants(NOW + PROMISED, process=b"Q")

    def test_are_renewed_by_the_holder(self, voter: Asked) -> None:
        for number in range(10):
            assert voter.grants(NOW + number, number + 1)
        assert voter.refusal(NOW + 10, process=b"Q") == (Refusal.GRANTED, 1_970)

    def test_tell_for_how_long_none_was_granted_in_an_earlier_turn(self, voter: Asked) -> None:
        def quiet_ms(now: float, round: int, process: bytes) -> int:
            answer = voter.ask(now, round, process)
            assert answer is not None
            return answer.quiet_ms

        assert quiet_ms(NOW, 1, b"P") == 1_000 * L  # an earlier process of the voter may have granted one
        assert quiet_ms(NOW + 1, 2, b"P") == 1_000 * (L + 1)
        assert quiet_ms(NOW + 1 + L, 1, b"Q") == 1_000 * L
        assert quiet_ms(NOW + 2 + L, 2, b"Q") == 1_000 * (L + 1)
        voter.release(2, b"Q")
        assert quiet_ms(NOW + 2.5 + L, 3, b"Q") == 500

    def test_an_overtaken_question_changes_nothing(self, voter: Asked) -> None:
        assert voter.grants(NOW, 5)
        assert voter.ask(NOW + 2, 4) is None
        assert voter.grants(NOW + L, process=b"Q")

    def test_a_repeated_round_is_answered_as_before_and_prolongs_nothing(self, voter: Asked) -> None:
        turn = voter.turn
        for when in (0.0, 1.0, 2.9):
            assert voter.grants(NOW + when, 5, turn=turn)
        assert voter.grants(NOW + L, process=b"Q")
        assert not voter.grants(NOW + L, 5, turn=turn)

    def test_a_question_that_comes_when_its_turn_is_over_is_too_late(self, voter: Asked) -> None:
        turn = voter.turn
        assert voter.grants(NOW, 5)
        for late in (5, 6):
            assert voter.refusal(NOW + L + 5, late, turn=turn)[0] is Refusal.STALE
        assert voter.grants(NOW + L + 5, 6)

    def test_what_was_asked_before_another_had_the_lease_is_never_granted_again(self, voter: Asked) -> None:
        turn = voter.turn
        assert voter.grants(NOW, 7)
        voter.release(7)
        assert voter.grants(NOW, process=b"Q")
        voter.release(1, b"Q")
        assert voter.refusal(NOW, 7, turn=turn)[0] is Refusal.STALE

    def test_a_trial_question_changes_nothing(self, voter: Asked) -> None:
        turn = voter.turn
        answer = voter.ask(NOW, kind=LeaderKind.TRY, token="")
        assert answer == LeaderMessage(LeaderKind.WOULD, 1, turn=turn)
        assert voter.grants(NOW, process=b"Q", turn=turn)
        assert voter.refusal(NOW + 1, kind=LeaderKind.TRY) == (Refusal.GRANTED, 1_970)

    def test_a_new_process_grants_nothing_in_its_first_lease(self) -> None:
        voter = Asked(NOW)
        assert voter.refusal(NOW + 1) == (Refusal.STARTING, 1_970)
        assert voter.refusal(NOW + 1, kind=LeaderKind.TRY) == (Refusal.STARTING, 1_970)
        assert voter.refusal(NOW + PROMISED - 0.001)[0] is Refusal.STARTING
        assert voter.grants(NOW + PROMISED)

    def test_a_new_process_does_not_grant_what_the_earlier_one_was_asked(self, voter: Asked) -> None:
        again = Asked(NOW)
        again.voter._turn = voter.turn + 17  # both are random
        assert again.refusal(NOW + L, turn=voter.turn)[0] is Refusal.STALE

    def test_a_node_that_is_below_the_floor_is_told_and_has_to_take_a_fresh_id(self, voter: Asked) -> None:
        answer = voter.ask(NOW, kind=LeaderKind.TRY, floor=HIGHER)
        assert answer is not None
        assert (answer.reason, answer.id) == (Refusal.FLOOR, pack_id(HIGHER))
        would = voter.ask(NOW, kind=LeaderKind.TRY, floor=HIGHER, id=HIGHER)
        assert would is not None
        assert would.kind is LeaderKind.WOULD

    def test_a_pinned_id_is_below_none(self, voter: Asked) -> None:
        answer = voter.ask(NOW, kind=LeaderKind.TRY, floor=HIGHER, id="pinned")
        assert answer is not None
        assert answer.kind is LeaderKind.WOULD

    def test_only_a_node_that_is_configured_alike(self, voter: Asked) -> None:
        for other in (("a", "b"), L), (("a", "b", "c"), 2 * L):
            digest = founding_configuration(*other).digest
            assert voter.refusal(NOW, digest=digest)[0] is Refusal.VOTERS
        assert voter.grants(NOW, digest=founding_configuration(("c", "b", "a"), L).digest)

    def test_none_where_an_earlier_process_may_still_vote_elsewhere(self, voter: Asked) -> None:
        voter.voter.moved = True
        assert voter.refusal(NOW)[0] is Refusal.MOVED


class TestClocks:
    def test_that_are_one_percent_off_true_time_make_no_two_leases_overlap(self) -> None:
        """The asker's is slow, the voter's fast: what the one counts is over when the other's promise is."""
        slow, fast = 0.99, 1.01
        assert CONFIGURATION.counted / slow < CONFIGURATION.promised / fast
        assert counted(L) / slow < L / fast  # of a name, by the clocks of its holder and of the leader
        assert CONFIGURATION.counted * (fast + 0.009) < CONFIGURATION.promised  # 1 % between them leaves more


class TestReleases:
    def test_free_what_was_granted(self, voter: Asked) -> None:
        assert voter.grants(NOW, 3)
        voter.release(3)
        assert voter.grants(NOW, process=b"Q")

    def test_but_not_a_later_round(self, voter: Asked) -> None:
        assert voter.grants(NOW, 4)
        voter.release(3)
        assert not voter.grants(NOW, process=b"Q")

    def test_nor_what_another_holds(self, voter: Asked) -> None:
        assert voter.grants(NOW)
        voter.release(9, b"Q")
        assert not voter.grants(NOW, process=b"Q")

    def test_nor_what_was_granted_in_another_turn(self, voter: Asked) -> None:
        turn = voter.turn
        assert voter.grants(NOW, 3)
        voter.release(3)
        assert voter.grants(NOW, 4)
        voter.release(9, turn=turn)
        assert not voter.grants(NOW, process=b"Q")

    def test_a_question_that_the_release_has_overtaken_gets_nothing(self, voter: Asked) -> None:
        turn = voter.turn
        voter.release(5)
        assert voter.refusal(NOW, 5, turn=turn)[0] is Refusal.STALE


class TestTokens:
    def seen(self, voter: Asked, now: float, process: bytes = b"Q", token: str = ID) -> tuple[bytes, bool]:
        answer = voter.ask(now, process=process, token=token)
        assert answer is not None
        assert answer.kind is LeaderKind.GRANT
        return answer.token, answer.led

    def test_a_grant_names_the_highest_that_others_were_granted(self, voter: Asked) -> None:
        assert self.seen(voter, NOW, b"P", HIGHER) == (b"", False)
        assert self.seen(voter, NOW + L) == (pack_id(HIGHER), False)

    def test_and_whether_it_is_known_that_there_was_such_a_term(self, voter: Asked) -> None:
        assert voter.grants(NOW, token=HIGHER)
        assert voter.grants(NOW + 1, 2, token="", led=True)
        assert self.seen(voter, NOW + 1 + L) == (pack_id(HIGHER), True)

    def test_a_release_does_not_make_it_forget_a_term(self, voter: Asked) -> None:
        assert voter.grants(NOW, token=HIGHER)
        voter.release(1, led=HIGHER)
        assert self.seen(voter, NOW) == (pack_id(HIGHER), True)

    def test_nor_a_term_of_which_only_the_release_of_a_later_question_tells(self, voter: Asked) -> None:
        """That term's renewals and release were lost; what its leader asked for then became no term."""
        assert voter.grants(NOW, token=ID)
        assert voter.grants(NOW + L, 2, token=HIGHER)
        voter.release(2, led=ID)
        assert self.seen(voter, NOW + L, token=HIGHER) == (pack_id(ID), True)

    @pytest.mark.parametrize("first", range(0, 2_000, 500))
    def test_whatever_is_lost_no_voter_forgets_a_term_that_it_has_granted(self, first: int) -> None:
        """Three processes ask with rising tokens, some lead; renewals, releases and answers get lost."""
        for seed in range(first, first + 500):
            forgotten = _random_history(random.Random(seed))
            assert not forgotten, f"seed {seed}: {forgotten}"

    def test_but_one_that_never_led_leaves_no_trace(self, voter: Asked) -> None:
        assert voter.grants(NOW, token=ID)
        voter.release(1, led=ID)
        assert voter.grants(NOW, process=b"R", token=HIGHER)
        voter.release(1, b"R")
        assert self.seen(voter, NOW) == (pack_id(ID), True)


def _random_history(rng: random.Random) -> str:
    """What became of a voter's memory: empty, or the term that it does not tell of any more."""
    voter, now, round = Asked(NOW - L), NOW, 0
    led = dict[bytes, str]()
    for minted in range(rng.randint(2, 12)):
        process = rng.choice([b"P", b"Q", b"R"])
        now, round = now + rng.choice([0.1, L]), round + 2
        token = mint_id(int(now) * 1000 + minted, rng)
        if voter.grants(now, round, process, token=token) and rng.random() < 0.4:
            led[process] = token
            if rng.random() < 0.5:
                voter.grants(now, round + 1, process, token="", led=True)
        if rng.random() < 0.5:
            voter.release(round + 1, process, led=led.get(process, ""))
    known = voter.ask(now + L, kind=LeaderKind.TRY, process=b"S")
    assert known is not None
    told, highest = unpack_id(known.token) or "", max(led.values(), default="")
    return "" if told >= highest else f"it tells of {told or 'none'}, not of {highest}"
