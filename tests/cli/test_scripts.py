"""Scripts for events, with limits that are short enough to be waited for."""

from __future__ import annotations

import pytest
import trio

from swim.cli import scripts
from swim.cli.scripts import Scripts, parse_rules


async def test_one_that_takes_too_long_is_killed_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "_SECONDS_MAX", 0.2)
    telling, told = trio.open_memory_channel[tuple[str, str]](1)
    running = Scripts(parse_rules(["join=sleep 1000"]), lambda node, text: telling.send_nowait((node, text)))
    running.offer({"event": "join", "node": "a"})
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.run)
            failure = await told.receive()
            nursery.cancel_scope.cancel()
    assert failure == ("a", "--on join: 'sleep 1000' was killed, after 0 s")


def test_what_is_too_much_is_left_out_and_told() -> None:
    told: list[str] = []
    running = Scripts(parse_rules(["*=true"]), lambda node, text: told.append(text))
    for _ in range(300):
        running.offer({"event": "dead", "node": "a"})
    running.offer({"event": "stats", "node": "a"})
    assert len(told) == 300 - scripts._WAITING_MAX
    assert told[0] == "--on *: 256 events wait for 'true': one is left out"
