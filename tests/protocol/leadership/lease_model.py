"""The lease in small: every order of events of a few processes, looked through breadth first.

Not the code but the argument (`swim.protocol.leadership.lease`): candidates ask in numbered rounds, voters
grant. A message that was sent may arrive at any later time, any number of times, or never. All clocks tick
together, fast ones by 5 units and slow ones by 4 (so r = 1/9, and the margin has to be 20 %). A lease
is 10 units long: 2 ticks of a fast clock. There is no order of time within a tick.

    python -m tests.protocol.leadership.lease_model        # all cases, with and without each mistake
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["CASES", "MISTAKES", "Case", "explore"]

SLOW, FAST = 4, 5
LENGTH, COUNTED = 10, 8
MISTAKES = ("round ignored", "stale now", "no restart wait", "no margin", "release without round")


class Candidate(NamedTuple):
    ages: tuple[int, ...]
    """Of the rounds sent so far, by its own clock."""
    granted: tuple[int, ...]
    """By each voter: the latest round, from 1 on; 0 for none."""
    released: int


class Voter(NamedTuple):
    holder: int
    round: int
    left: int
    """Of the grant."""
    silent: int
    """Left of the wait after a restart."""


Message = tuple[str, int, int, int]
"""What, the candidate, the voter, the round. All that were ever sent are in the state."""


class State(NamedTuple):
    candidates: tuple[Candidate, ...]
    voters: tuple[Voter, ...]
    sent: frozenset[Message]
    restarts: int


@dataclass(frozen=True)
class Case:
    """How many voters there are, how many rounds each candidate may send, and whose clock is how fast."""

    voters: tuple[int, ...]
    candidates: tuple[int, ...] = (SLOW, SLOW)
    rounds: tuple[int, ...] = (2, 2)
    restarts: int = 1
    releases: bool = True

    @property
    def majority(self) -> int:
        return len(self.voters) // 2 + 1


CASES = (
    Case((FAST,), rounds=(2, 1), restarts=0),
    Case((FAST,), rounds=(2, 1), releases=False),
    Case((FAST,), (SLOW, FAST), rounds=(1, 2), restarts=0),
    Case((SLOW,), (FAST, SLOW), rounds=(2, 1), restarts=0),
    Case((FAST,), rounds=(1, 1)),
    Case((FAST, FAST), rounds=(1, 1), restarts=0, releases=False),
    Case((FAST, SLOW, FAST), rounds=(1, 1), restarts=0, releases=False),
)


def explore(case: Case, mistake: str = "", states_max: int = 400_000) -> tuple[int, list[str] | None]:
    """How many states there are, and the shortest way to two holders, if there is one."""
    first = State(
        tuple(Candidate((), (0,) * len(case.voters), 0) for _ in case.candidates),
        tuple(Voter(-1, 0, 0, 0) for _ in case.voters),
        frozenset(),
        case.restarts,
    )
    came: dict[State, tuple[State, str] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        if sum(_holds(candidate, case, mistake) for candidate in state.candidates) > 1:
            return len(came), _path(came, state)
        for what, after in _steps(state, case, mistake):
            if after not in came:
                came[after] = (state, what)
                waiting.append(after)
        assert len(came) <= states_max, "the case is too large"
    return len(came), None


def _path(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    path: list[str] = []
    while (step := came[state]) is not None:
        state = step[0]
        path.append(step[1])
    return path[::-1]


def _holds(candidate: Candidate, case: Case, mistake: str) -> bool:
    counted = LENGTH if mistake == "no margin" else COUNTED
    rounds = [number for number in candidate.granted if number > candidate.released]
    return sum(candidate.ages[number - 1] < counted for number in rounds) >= case.majority


def _steps(state: State, case: Case, mistake: str) -> Iterator[tuple[str, State]]:
    yield "tick", _tick(state, case)
    for number, candidate in enumerate(state.candidates):
        if len(candidate.ages) < case.rounds[number]:
            asked = candidate._replace(ages=(*candidate.ages, 0))
            yield f"{number} asks", _send(_put(state, number, asked), "ask", number, len(asked.ages))
        if case.releases and candidate.released < len(candidate.ages):
            freed = candidate._replace(released=len(candidate.ages))
            yield f"{number} releases", _send(_put(state, number, freed), "free", number, freed.released)
    for message in state.sent:
        after = _arrive(state, message, mistake, case)
        if after is not None:
            yield f"arrives: {message}", after
    if state.restarts:
        for number in range(len(state.voters)):
            silent = 0 if mistake == "no restart wait" else LENGTH
            fresh = _put_voter(state, number, Voter(-1, 0, 0, silent))
            yield f"voter {number} restarts", fresh._replace(restarts=state.restarts - 1)


def _tick(state: State, case: Case) -> State:
    candidates = tuple(
        each._replace(ages=tuple(min(age + rate, LENGTH) for age in each.ages))
        for each, rate in zip(state.candidates, case.candidates, strict=True)
    )
    voters = tuple(
        each._replace(left=max(0, each.left - rate), silent=max(0, each.silent - rate))
        for each, rate in zip(state.voters, case.voters, strict=True)
    )
    return state._replace(candidates=candidates, voters=voters)


def _arrive(state: State, message: Message, mistake: str, case: Case) -> State | None:
    what, candidate, voter, round = message
    if what == "grant":
        asker = state.candidates[candidate]
        counted = len(asker.ages) if mistake == "round ignored" else round
        if counted <= max(asker.granted[voter], asker.released):
            return None
        granted = (*asker.granted[:voter], counted, *asker.granted[voter + 1 :])
        return _put(state, candidate, asker._replace(granted=granted))
    mine = state.voters[voter]
    if what == "free":
        if mine.holder != candidate or (mine.round > round and mistake != "release without round"):
            return None
        return _put_voter(state, voter, mine._replace(left=0, round=max(round, mine.round)))
    if mine.silent or (mine.left and mine.holder != candidate):
        return None
    if mine.holder == candidate and (round < mine.round or (not mine.left and round == mine.round)):
        return None
    left = LENGTH - case.voters[voter] if mistake == "stale now" else LENGTH
    state = _put_voter(state, voter, Voter(candidate, round, left, 0))
    return state._replace(sent=state.sent | {("grant", candidate, voter, round)})


def _send(state: State, what: str, candidate: int, round: int) -> State:
    messages = {(what, candidate, voter, round) for voter in range(len(state.voters))}
    return state._replace(sent=state.sent | messages)


def _put(state: State, number: int, candidate: Candidate) -> State:
    candidates = state.candidates
    return state._replace(candidates=(*candidates[:number], candidate, *candidates[number + 1 :]))


def _put_voter(state: State, number: int, voter: Voter) -> State:
    return state._replace(voters=(*state.voters[:number], voter, *state.voters[number + 1 :]))


def main() -> None:
    for case in CASES:
        for mistake in ("", *MISTAKES):
            states, path = explore(case, mistake)
            found = "no two holders" if path is None else f"two holders after {len(path)} steps"
            print(f"{case}: {mistake or 'as it is'}: {states} states, {found}")


if __name__ == "__main__":
    main()
