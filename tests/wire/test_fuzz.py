"""A short run of the fuzzer: `python -m tests.wire.fuzz` runs longer ones."""

from __future__ import annotations

from tests.wire.fuzz import fuzz

SEED = 20_240
COUNT = 8_000


def test_nothing_but_decode_errors() -> None:
    report = fuzz(COUNT, SEED)
    assert not report.bugs, f"python -m tests.wire.fuzz --count {COUNT} --seed {SEED}\n" + "\n".join(
        report.bugs
    )
    assert report.count == COUNT
    assert report.memory_growth < 64 * 2**20
    reached = {outcome.partition(" ")[2] for outcome in report.outcomes}
    assert reached >= {
        "read",
        "read in part",
        "unfinished",
        "truncated",
        "body",
        "crc",
        "lzw",
        "label",
        "plaintext",
    }
