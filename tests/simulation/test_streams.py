"""Streams between fake cores: what the kernel makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from swim.config import Config
from swim.simulation import Network, World
from tests.simulation.fake_core import ask, core, fake_world

FLAT = Network(sigma=0.0, median=0.001)


def _outcome(world: World, name: str = "a") -> tuple[float, Any]:
    ((_, _, answer),) = core(world, name).answers
    return world.now, answer


def _wait(world: World, limit: float = 20.0) -> tuple[float, Any]:
    """When the answer came, in true time, and what it was."""
    assert world.run_until(lambda: bool(core(world, "a").answers), limit, step=0.0001) is not None
    return _outcome(world)


def test_an_exchange_takes_two_round_trips() -> None:
    world = fake_world(network=FLAT)
    ask(world, "a", "b", b"x" * 100 + b".")
    time, answer = _wait(world)
    assert answer == b"X" * 100 + b"."
    assert time == pytest.approx(0.004, abs=0.0002)
    assert world.nodes["a"].traffic.stream_bytes_sent == 101


def test_nobody_listens() -> None:
    world = fake_world(network=FLAT)
    world.crash("b")
    ask(world, "a", "b")
    time, answer = _wait(world)
    assert isinstance(answer, ConnectionRefusedError)
    assert time == pytest.approx(0.002, abs=0.0002)


@pytest.mark.parametrize("why", ["lost", "partition", "nowhere"])
def test_silence_ends_with_the_time_out(why: str) -> None:
    world = fake_world(config=Config(stream_timeout=5.0), drift=0.0)
    if why == "lost":
        world.lose_host("b")
    elif why == "partition":
        world.partition(["a"], ["b"])
    ask(world, "a", "nowhere" if why == "nowhere" else "b")
    time, answer = _wait(world)
    assert answer is None
    assert time == pytest.approx(5.0, abs=0.01)


def test_a_partition_that_heals_in_time_only_delays() -> None:
    world = fake_world()
    world.partition(["a"], ["b"])
    ask(world, "a", "b")
    world.run(2.0)
    world.heal()
    time, answer = _wait(world)
    assert answer == b"WHAT."
    assert time == pytest.approx(3.0, abs=0.1), "SYNs at 0, 1 and 3 seconds"


def test_loss_delays_and_at_worst_times_out() -> None:
    slow = []
    for seed in range(60):
        world = fake_world(seed, network=Network.lan(loss=0.2))
        ask(world, "a", "b", b"x" * 20_000 + b".")
        time, answer = _wait(world)
        assert answer in (b"X" * 20_000 + b".", None)
        slow.append(time)
    assert min(slow) < 0.9
    assert sum(time > 0.1 for time in slow) > 40


def test_a_paused_server_answers_when_it_goes_on() -> None:
    world = fake_world()
    world.pause("b", 3.0)
    ask(world, "a", "b")
    time, answer = _wait(world)
    assert answer == b"WHAT."
    assert time == pytest.approx(3.0, abs=0.01)


def test_a_paused_client_reads_the_answer_before_it_sees_the_time_out() -> None:
    world = fake_world(config=Config(stream_timeout=2.0))
    ask(world, "a", "b")
    world.run(0.0003)
    world.nodes["a"].pause(5.0)
    world.run(4.9)
    assert not core(world, "a").answers
    world.run(0.2)
    assert len(core(world, "a").answers) == 1


def test_a_crash_of_the_server_resets_what_it_has_not_answered() -> None:
    world = fake_world()
    world.pause("b", 3.0)
    ask(world, "a", "b")
    world.run(1.0)
    world.crash("b")
    time, answer = _wait(world)
    assert isinstance(answer, ConnectionResetError)
    assert time == pytest.approx(1.0, abs=0.05)


def test_the_loss_of_the_servers_host_is_silence() -> None:
    world = fake_world(config=Config(stream_timeout=5.0))
    world.pause("b", 3.0)
    ask(world, "a", "b")
    world.run(1.0)
    world.lose_host("b")
    time, answer = _wait(world)
    assert answer is None
    assert time == pytest.approx(5.0, abs=0.01)


def test_a_process_that_was_restarted_knows_nothing_of_the_old_ones_streams() -> None:
    world = fake_world()
    world.pause("b", 3.0)
    ask(world, "a", "b")
    world.run(1.0)
    world.restart("b")
    _, answer = _wait(world)
    assert isinstance(answer, ConnectionResetError)
    assert not core(world, "b").requests


def test_the_client_may_crash_meanwhile() -> None:
    world = fake_world()
    ask(world, "a", "b")
    world.run(0.0001)
    world.restart("a")
    world.run(20.0)
    assert not core(world, "a").answers


def test_without_an_answer_the_stream_is_closed() -> None:
    world = fake_world()
    core(world, "b").receive_request = lambda *_: None  # type: ignore[method-assign]
    ask(world, "a", "b")
    _, answer = _wait(world)
    assert isinstance(answer, ConnectionResetError)


def test_too_many_streams_at_once_are_closed() -> None:
    world = fake_world(config=Config(streams_max=3))
    world.pause("b", 1.0)
    for token in range(5):
        ask(world, "a", "b", token=token)
    world.run(2.0)
    answers = [answer for _, _, answer in core(world, "a").answers]
    assert answers.count(b"WHAT.") == 3
    assert sum(isinstance(answer, ConnectionResetError) for answer in answers) == 2


def test_every_request_has_one_outcome() -> None:
    for seed in range(20):
        world = fake_world(seed, "abc", network=Network.lan(loss=0.1), config=Config(stream_timeout=3.0))
        for token in range(10):
            ask(world, "a", "bc"[token % 2], token=token)
        world.run(0.3)
        world.crash("b")
        world.pause("c", 1.0)
        world.run(0.5)
        world.restart("b")
        for token in range(10, 20):
            ask(world, "a", "bc"[token % 2], token=token)
        world.run(10.0)
        assert sorted(token for _, token, _ in core(world, "a").answers) == list(range(20))
