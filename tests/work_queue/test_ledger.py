"""The owner's book: every task once, whatever comes twice, and whichever worker dies."""

from __future__ import annotations

import random

from examples.work_queue.ledger import BATCH_MAX, Ledger


def test_every_task_has_a_result_in_the_end_whichever_workers_die() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        ledger = Ledger(map(str, range(total := rng.randrange(1, 2_000))))
        while not ledger.done.is_set():
            tasks = ledger.share(3)
            assert 1 <= len(tasks) <= BATCH_MAX
            if rng.random() < 0.8:  # else it has died with them
                some = tasks[: rng.randrange(len(tasks) + 1)]
                ledger.add(f"w{rng.randrange(3)}", [(task, seed) for task in some])
        assert ledger.progress() == (total, total)
        assert ledger.results == {str(number): seed for number in range(total)}
        assert list(ledger.results) == [str(number) for number in range(total)]


def test_what_comes_twice_or_is_not_asked_counts_once_or_not() -> None:
    ledger = Ledger(["a", "b"])
    ledger.add("w1", [("a", 1), ("x", 5)])
    ledger.add("w2", [("a", 2)])
    assert (ledger.progress(), ledger.done.is_set()) == ((1, 2), False)
    assert ledger.share(1) == ["b"], "what is known is not handed out"
    ledger.add("w2", [("b", 3)])
    assert ledger.done.is_set()
    assert ledger.results == {"a": 1, "b": 3}
    assert ledger.summary(0.0).endswith("w1 1, w2 1")


def test_what_nobody_has_comes_first_then_what_was_handed_out_the_longest_ago() -> None:
    ledger = Ledger("abc")
    assert ["".join(ledger.share(1)) for _ in range(5)] == list("abcab")
    ledger.add("w1", [("c", 1)])
    assert ["".join(ledger.share(1)) for _ in range(3)] == list("aba")


def test_a_job_without_tasks_is_done() -> None:
    assert Ledger([]).done.is_set()


def test_shares_become_smaller_towards_the_end() -> None:
    ledger = Ledger(map(str, range(1_000)))
    sizes = []
    while tasks := ledger.share(2):
        sizes.append(len(tasks))
        ledger.add("w1", [(task, 1) for task in tasks])
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1], sum(sizes)) == (126, 1, 1_000)
