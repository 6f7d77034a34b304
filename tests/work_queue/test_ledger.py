"""The leader's book: every task once, whatever comes twice, and whoever dies."""

from __future__ import annotations

import random

from examples.work_queue.kinds import Job
from examples.work_queue.ledger import BATCH_MAX, Ledger

JOB = Job("job", "primes", ("100",), "report", 0.0)


def test_every_task_has_a_result_in_the_end_whoever_dies() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        ledger = Ledger(JOB, map(str, range(rng.randrange(1, 2_000))))
        held: list[list[str]] = []
        while not ledger.done:
            if tasks := ledger.share(3):
                assert len(tasks) <= BATCH_MAX
                held.append(tasks)
            tasks = held.pop(rng.randrange(len(held)))
            if rng.random() < 0.8:
                ledger.add(
                    f"w{rng.randrange(3)}", dict.fromkeys(tasks[: rng.randrange(len(tasks) + 1)], seed)
                )
            ledger.give_back(tasks)
        assert list(ledger.report()) == [str(number) for number in range(ledger.total)]


def test_what_comes_twice_or_is_not_asked_counts_once_or_not() -> None:
    ledger = Ledger(JOB, ["a", "b"])
    ledger.add("w1", {"a": 1, "x": 5})
    ledger.add("w2", {"a": 2})
    assert (ledger.found, ledger.done) == ({"a": 1}, False)
    assert ledger.share(1) == ["b"], "what is known is not handed out"
    ledger.give_back(["a", "b"])
    assert ledger.share(1) == ["b"]
    ledger.add("w2", {"b": 3})
    assert ledger.summary().endswith("w1 1, w2 1")


def test_shares_become_smaller_towards_the_end() -> None:
    ledger = Ledger(JOB, map(str, range(1_000)))
    sizes = []
    while tasks := ledger.share(2):
        sizes.append(len(tasks))
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1], sum(sizes)) == (126, 1, 1_000)
