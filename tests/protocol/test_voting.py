"""One voter: whom it grants the lease, for how long, and what it forgets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swim.protocol.identity import pack_id
from swim.protocol.voting import Voter, digest_voters, voters_tag
from swim.wire.messages import Claim, ClaimKind, Refusal

VOTERS = ("a", "b", "c")
L = 3.0
ID, HIGHER = "01" + "A" * 24, "01" + "B" * 24
NOW = 100.0


def ask(round: int = 1, *, process: bytes = b"P", token: str = ID, **changes: object) -> Claim:
    claim = Claim(
        ClaimKind.ASK, round, pack_id(ID), process, pack_id(token), digest_voters(VOTERS), round_ms(L)
    )
    return replace(claim, **changes)  # type: ignore[arg-type]


def round_ms(seconds: float) -> int:
    return round(seconds * 1000)


def release(round: int, process: bytes = b"P") -> Claim:
    return Claim(ClaimKind.RELEASE, round, process=process)


@pytest.fixture
def voter() -> Voter:
    made = Voter(VOTERS, L)
    made.start(NOW - L)
    return made


def grants(voter: Voter, claim: Claim, now: float, floor: str = "") -> bool:
    answer = voter.answer(claim, floor, now)
    assert answer is None or answer.round == claim.round
    return answer is not None and answer.kind is ClaimKind.GRANT


def refusal(voter: Voter, claim: Claim, now: float, floor: str = "") -> tuple[Refusal, int]:
    answer = voter.answer(claim, floor, now)
    assert answer is not None
    assert answer.kind is ClaimKind.REFUSE
    return answer.reason, answer.left_ms


class TestGrants:
    def test_one_process_at_a_time_and_tell_how_long(self, voter: Voter) -> None:
        assert grants(voter, ask(), NOW)
        assert refusal(voter, ask(process=b"Q"), NOW + 1) == (Refusal.GRANTED, 2_000)
        assert not grants(voter, ask(process=b"Q"), NOW + L - 0.001)
        assert grants(voter, ask(process=b"Q"), NOW + L)

    def test_are_renewed_by_the_holder(self, voter: Voter) -> None:
        for number in range(10):
            assert grants(voter, ask(number + 1), NOW + number)
        assert refusal(voter, ask(process=b"Q"), NOW + 10) == (Refusal.GRANTED, 2_000)

    def test_an_overtaken_question_changes_nothing(self, voter: Voter) -> None:
        assert grants(voter, ask(5), NOW)
        assert voter.answer(ask(4), "", NOW + 2) is None
        assert grants(voter, ask(process=b"Q"), NOW + L)

    def test_a_question_that_comes_when_its_grant_is_over_is_too_late(self, voter: Voter) -> None:
        assert grants(voter, ask(5), NOW)
        assert voter.answer(ask(5), "", NOW + L + 5) is None
        assert grants(voter, ask(6), NOW + L + 5)

    def test_a_new_process_grants_nothing_in_its_first_lease(self) -> None:
        voter = Voter(VOTERS, L)
        voter.start(NOW)
        assert refusal(voter, ask(), NOW + 1) == (Refusal.STARTING, 2_000)
        assert grants(voter, ask(), NOW + L)

    def test_who_is_below_the_floor_has_to_take_a_fresh_id(self, voter: Voter) -> None:
        assert refusal(voter, ask(), NOW, floor=HIGHER)[0] is Refusal.FLOOR
        assert grants(voter, ask(id=pack_id(HIGHER)), NOW, floor=HIGHER)

    def test_a_pinned_id_is_below_none(self, voter: Voter) -> None:
        assert grants(voter, ask(id=pack_id("pinned")), NOW, floor=HIGHER)

    def test_only_who_is_configured_alike(self, voter: Voter) -> None:
        assert refusal(voter, ask(voters=digest_voters(("a", "b"))), NOW)[0] is Refusal.VOTERS
        assert refusal(voter, ask(length_ms=2_999), NOW)[0] is Refusal.LENGTH
        assert digest_voters(("c", "b", "a")) == digest_voters(VOTERS)
        assert voters_tag((), L) == ""
        assert voters_tag(VOTERS, L) == voters_tag(("c", "a", "b"), L) != voters_tag(VOTERS, 2 * L)


class TestReleases:
    def test_free_what_was_granted(self, voter: Voter) -> None:
        assert grants(voter, ask(3), NOW)
        voter.release(release(3))
        assert grants(voter, ask(process=b"Q"), NOW)

    def test_but_not_a_later_round(self, voter: Voter) -> None:
        assert grants(voter, ask(4), NOW)
        voter.release(release(3))
        assert not grants(voter, ask(process=b"Q"), NOW)

    def test_nor_what_another_holds(self, voter: Voter) -> None:
        assert grants(voter, ask(1), NOW)
        voter.release(release(9, b"Q"))
        assert not grants(voter, ask(process=b"Q"), NOW)

    def test_a_question_that_the_release_has_overtaken_gets_nothing(self, voter: Voter) -> None:
        assert grants(voter, ask(3), NOW)
        voter.release(release(5))
        assert voter.answer(ask(5), "", NOW) is None
        assert grants(voter, ask(6), NOW)


class TestTokens:
    def test_a_grant_names_the_highest_that_others_were_granted(self, voter: Voter) -> None:
        assert voter.answer(ask(token=HIGHER), "", NOW) == Claim(ClaimKind.GRANT, 1)
        answer = voter.answer(ask(process=b"Q"), "", NOW + L)
        assert answer == Claim(ClaimKind.GRANT, 1, token=pack_id(HIGHER))

    def test_a_release_does_not_make_it_forget(self, voter: Voter) -> None:
        voter.answer(ask(token=HIGHER), "", NOW)
        voter.release(release(1))
        assert voter.answer(ask(process=b"Q"), "", NOW) == Claim(ClaimKind.GRANT, 1, token=pack_id(HIGHER))
