"""A world of real trio programs: what happens in it, and that the same seed is the same run."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio._core import _run

import swim
from swim.testing import World, WorldError
from swim.testing.process import process_of

NAMES = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """No thread of a program outlives its world."""
    yield
    assert [each for each in threading.enumerate() if process_of(each) is not None] == []


async def member(name: str, *seeds: str) -> None:
    async with swim.open_cluster(name, seeds=list(seeds) or NAMES):
        await trio.sleep_forever()


def start(world: World, names: list[str] = NAMES) -> None:
    for name in names:
        world.start(name, member, name)


# --- the same seed


def eventful(seed: int) -> str:
    """The digest of a run with a bit of everything."""
    with World(seed) as world:
        start(world)
        world.run_until_converged(30)
        world.set_loss(0.1)
        world.pause("b", 4)
        world.run(8)
        world.crash("a")
        world.run(5)
        world.restart("a")
        world.partition(["c"])
        world.run(12)
        world.heal()
        world.run_until_converged(60)
        return world.trace.digest()


def test_the_same_seed_is_the_same_run() -> None:
    digests = {eventful(5) for _ in range(2)}
    code = "from tests.testing.test_world import eventful; print(eventful(5))"
    root = Path(__file__).parents[2]
    for hashing in ("0", "77"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root), "PYTHONHASHSEED": hashing},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1
    assert eventful(6) not in digests


# --- time


def test_five_idle_nodes_and_sixty_seconds() -> None:
    with World(1) as world:
        start(world, [*NAMES, "d", "e"])
        world.run(60)
        assert world.converged()
        assert world.now == 60


def test_sleeping_takes_virtual_time() -> None:
    async def program(times: list[float]) -> str:
        for _ in range(3):
            await trio.sleep(1_000)
            times.append(world.now)
        return "done"

    times: list[float] = []
    with World(1, drift=0.0) as world:
        world.start("a", program, times)
        world.run(5_000)
        assert times == pytest.approx([1_000, 2_000, 3_000])
        assert world.result("a") == "done"
        assert not world.running("a")


def test_a_clock_that_runs_fast() -> None:
    async def program() -> None:
        await trio.sleep(100)

    with World(1, drift=0.0) as world:
        world.start("a", program)
        world.run(50)
        world.set_clock_rate("a", 2.0)
        world.run(24)
        assert world.running("a")
        world.run(2)
        assert not world.running("a")


def test_threads_and_files_take_no_virtual_time(tmp_path: Path) -> None:
    async def program() -> tuple[str, float]:
        begun = trio.current_time()
        await trio.Path(tmp_path / "file").write_text("content")
        return await trio.to_thread.run_sync(lambda: "from a thread"), trio.current_time() - begun

    with World(1) as world:
        world.start("a", program)
        world.run(1)
        assert world.result("a") == ("from a thread", 0.0)


# --- programs


def test_an_error_that_nobody_asks_for_is_raised_at_the_end() -> None:
    async def program() -> None:
        await trio.sleep(1)
        raise ZeroDivisionError("oh")

    world = World(17)
    world.start("a", program)
    world.run(5)
    with pytest.raises(ZeroDivisionError) as caught:
        world.close()
    ended, report = caught.value.__notes__
    assert ended == "with this the program a has ended, at 1.000 s"
    assert "seed=17" in report

    with World(17) as world:
        world.start("a", program)
        world.run(5)
        assert isinstance(world.error("a"), ZeroDivisionError)
        with pytest.raises(ZeroDivisionError):
            world.result("a")


def test_a_failure_in_the_block_is_not_hidden_by_the_end() -> None:
    async def program() -> None:
        raise ZeroDivisionError("oh")

    def scenario() -> None:
        with World(1) as world:
            world.start("a", program)
            world.run(1)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        scenario()
    assert "ZeroDivisionError" in caught.value.__notes__[-1]


def test_what_needs_trios_clock_is_called_inside_the_program() -> None:
    with World(1) as world:
        start(world)
        world.run_until_converged(30)
        statistics = world.call("a", world.cluster("a").statistics)
        assert statistics.members == 3
        with pytest.raises(ZeroDivisionError):
            world.call("a", lambda: 1 // 0)
        world.crash("a")
        with pytest.raises(LookupError):
            world.call("a", world.cluster("a").statistics)


def test_names_of_programs_are_host_names_and_others_can_be_made() -> None:
    with World(1) as world:
        world.start("a", member, "a", "a")
        world.start("b", member, "b", "swim.internal:7946")
        world.run(2)
        assert isinstance(world.error("b"), swim.JoinError)
        world.set_name("swim.internal", "a", "b")
        world.restart("b")
        world.run_until_converged(30)


def test_a_bind_address_is_the_machines_own() -> None:
    async def program(bind: str) -> None:
        async with swim.open_cluster(bind=bind) as cluster:
            assert cluster.address.host == world.address("a")
            async with swim.open_cluster(bind="a:0", seeds=["a"]) as other:
                await other.wait_for(lambda other: len(other.members()) == 2)

    with World(1) as world:
        for bind, expected in [
            ("0.0.0.0:7946", None),
            ("a", None),
            ("10.9.9.9:7946", OSError),
        ]:
            world.start("a", program, bind)
            world.run(5)
            error = world.error("a")
            assert error is None if expected is None else isinstance(error, expected), bind


def test_an_address_can_be_bound_to_once() -> None:
    async def program() -> None:
        async with swim.open_cluster("one"), swim.open_cluster("two"):
            pass

    with World(1) as world:
        world.start("a", program)
        world.run(5)
        assert isinstance(world.error("a"), swim.AddressInUse)


def test_a_program_runs_once_at_a_time() -> None:
    with World(1) as world:
        start(world)
        with pytest.raises(ValueError, match="a runs already"):
            world.start("a", member, "a")


def test_a_result_that_there_is_not_says_why() -> None:
    async def fail() -> None:
        raise ZeroDivisionError("oh")

    with World(1) as world:
        with pytest.raises(
            LookupError, match="no program 'x' in this world; its programs are none: start it first"
        ):
            world.result("x")
        world.start("a", trio.sleep_forever)
        world.start("b", fail)
        world.run(1.5)
        with pytest.raises(LookupError, match=r"no program 'x' in this world; its programs are a, b"):
            world.result("x")
        with pytest.raises(LookupError, match=r"a still runs at 1\.500 s: let time pass .*running\('a'\)"):
            world.result("a")
        world.crash("a")
        with pytest.raises(LookupError, match="a was killed, and so has returned nothing"):
            world.result("a")
        with pytest.raises(ZeroDivisionError) as caught:
            world.result("b")
        assert caught.value.__notes__ == ["with this the program b has ended, at 0.000 s"]


def test_log_records_have_the_programs_name_and_virtual_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swim")
    with World(1, skew=0.0) as world:
        world.after(100, world.start, "a", member, "a")
        world.run(101)
    record = next(record for record in caplog.records if "a member, at" in record.message)
    assert record.threadName == "a"
    assert record.created == pytest.approx(1_700_000_100, abs=1)


# --- faults


def test_a_crash_runs_no_line_any_more(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []

    async def program() -> None:
        try:
            async with swim.open_cluster("a") as cluster, cluster.events():
                await trio.sleep_forever()
        finally:
            lines.append("finally")

    with World(1) as world:
        world.start("a", program)
        world.start("b", member, "b", "a")
        world.run(5)
        world.crash("a")
        caplog.clear()
        world.run(20)
        assert lines == []
        assert list(world.view("b")) == ["b"]
        assert not world.running("a")
    assert lines == ["finally"]
    assert [record for record in caplog.records if record.threadName == "a"] == []


def test_a_program_can_crash_itself_in_the_middle_of_a_line() -> None:
    lines: list[str] = []

    async def program() -> None:
        try:
            await trio.sleep(1)
            lines.append("before")
            world.crash("a")
            lines.append("after")
        finally:
            lines.append("finally")

    with World(1) as world:
        world.start("a", program)
        world.run(5)
        assert lines == ["before"]
        world.restart("a")
        world.run(0.5)
        assert world.running("a")
    assert "after" not in lines


@pytest.mark.parametrize("new_address", [False, True])
def test_a_program_can_restart_itself(new_address: bool) -> None:
    lives: list[float] = []

    async def program() -> str:
        await trio.sleep(1)
        lives.append(world.now)
        if len(lives) < 3:
            world.restart("a", new_address=new_address)
        return "done"

    with World(1, drift=0.0) as world:
        world.start("a", program)
        world.run(5)
        assert lives == pytest.approx([1, 2, 3])
        assert world.result("a") == "done"


def test_a_pause_runs_no_line_for_its_length() -> None:
    times: list[float] = []

    async def program() -> None:
        while True:
            times.append(round(world.now, 6))
            await trio.sleep(1)

    with World(1, drift=0.0) as world:
        world.start("a", program)
        world.run(2.5)
        world.pause("a", 7)
        world.run(8.9)
    assert times == [0, 1, 2, 9.5, 10.5]


def test_a_paused_leader_finds_that_it_does_not_lead_any_more() -> None:
    tenures: list[tuple[str, float, float]] = []

    async def program(name: str) -> None:
        async def lead(term: swim.Term) -> None:
            begun = world.now
            try:
                await trio.sleep_forever()
            finally:
                tenures.append((name, begun, world.now))

        async with swim.open_cluster(name, seeds=NAMES, voters=NAMES) as cluster:
            await cluster.run_while_leader(lead)

    with World(3) as world:
        for name in NAMES:
            world.start(name, program, name)
        world.run_until_converged(30)
        world.run(10)
        leader = world.leader("a")
        assert leader is not None
        world.pause(leader, 20)
        begun = world.now
        world.run(25)
        assert tenures == [(leader, tenures[0][1], pytest.approx(begun + 20))], (  # type: ignore[comparison-overlap]
            "its first line after the pause"
        )
        others = {world.leader(name) for name in NAMES}
        assert len(others) == 1
        assert others != {leader}


def test_a_lost_host_says_nothing_and_comes_back_elsewhere() -> None:
    with World(1) as world:
        start(world)
        world.run_until_converged(30)
        world.lose_host("a")
        taken = world.run_until(lambda: sorted(world.view("b")) == ["b", "c"], 30)
        assert taken is not None
        assert taken > 1, "nobody has told"
        before = world.address("a")
        world.restart("a", new_address=True)
        world.run_until_converged(60)
        assert world.address("a") != before


def test_a_machine_that_moves_is_found_again() -> None:
    with World(1) as world:
        start(world)
        world.run_until_converged(30)
        world.move("a")
        world.run(30)
        world.run_until_converged(60)
        assert world.view("b")["a"].address.host == world.address("a")


def test_partition_and_heal() -> None:
    with World(1) as world:
        start(world)
        world.run_until_converged(30)
        world.partition(["a"], ["b", "c"])
        world.run(20)
        assert (list(world.view("a")), sorted(world.view("b"))) == (["a"], ["b", "c"])
        world.heal()
        world.run_until_converged(60)


def test_slow_links() -> None:
    with World(1) as world:
        start(world)
        world.run_until_converged(30)
        slow = world.slow(["a"], delay=0.05)
        world.run(20)
        statistics = world.call("a", world.cluster("a").statistics)
        assert statistics.round_trip > 0.1
        world.heal(slow)
        world.run(60)
        assert world.call("a", world.cluster("a").statistics).round_trip < statistics.round_trip
        assert world.converged()


def test_firewalls_resets_and_forgeries_are_nobodys_death() -> None:
    with World(1) as world:
        start(world)
        world.run_until_converged(30)
        cuts = world.reject("a", protocol="udp")
        world.run(10)
        world.heal(cuts)
        world.reset_streams()
        world.forge_refusal("a", "b", "c")
        world.run(20)
        assert world.converged()


def test_a_program_that_has_left_is_not_converged_with_what_it_saw_last() -> None:
    async def program() -> None:
        async with swim.open_cluster("a"):
            await trio.sleep(5)
        await trio.sleep_forever()

    with World(1) as world:
        world.start("a", program)
        world.run_until_converged(5)
        world.run(10)
        assert not world.converged()


def test_which_program_leads_and_holds_what_at_this_instant() -> None:
    async def program(name: str) -> None:
        async with swim.open_cluster(name, seeds=NAMES, voters=NAMES) as cluster:
            while True:
                with suppress(swim.LeaseLost):
                    async with cluster.hold("lock"):
                        await trio.sleep_forever()

    def facts() -> list[tuple[bool, list[str]]]:
        return [(world.leads(name), world.leases(name)) for name in world.names]

    with World(1) as world:
        world.start("a", program, "a")
        assert facts() == [(False, [])]
        world.run(0.5)
        for name in ("b", "c"):
            world.start(name, program, name)
        world.run(20)
        assert facts() == [(True, ["lock"]), (False, []), (False, [])]
        world.pause("a", 20)
        world.run(4)
        assert world.paused("a")
        assert (world.leads("a"), world.leases("a")) == (False, ["lock"]), "the lease of a lock lasts longer"
        world.run(26)
        assert not world.paused("a")
        (holder,) = [name for name in world.names if world.leases(name) == ["lock"]]
        (leader,) = [name for name in world.names if world.leads(name)]
        assert holder != "a" != leader


def test_a_holder_that_is_paused_for_too_long_has_lost_its_lease_before_its_next_line() -> None:
    happened: list[str] = []

    async def program(name: str) -> None:
        async with swim.open_cluster(name, seeds=NAMES, voters=NAMES) as cluster:
            try:
                async with cluster.hold("lock"):
                    happened.append(f"{name} has it")
                    while True:
                        await trio.sleep(1)
                        assert [each for each in happened if "has it" in each][-1] == f"{name} has it"
            except swim.LeaseLost:
                happened.append(f"{name} has lost it")

    with World(1) as world:
        for name in NAMES:
            world.start(name, program, name)
        assert world.run_until(lambda: bool(happened), 30) is not None
        holder = happened[0].split()[0]
        world.pause(holder, 20)
        world.run(19)
        (other,) = (name for name in NAMES if world.leases(name) == ["lock"])
        assert happened == [f"{holder} has it", f"{other} has it"]
        world.run(3)
        assert happened[2:] == [f"{holder} has lost it"]


# --- what a program must not do


@pytest.mark.parametrize("attempt", [(trio.open_tcp_stream, "b", 80), (trio.open_tcp_listeners, 80)])
def test_sockets_of_its_own(attempt: tuple[Callable[..., Awaitable[object]], object]) -> None:
    with World(1) as world:
        world.start("a", *attempt)
        world.start("b", trio.sleep_forever)
        world.run(1)
        assert "a asks for a socket" in repr(world.error("a"))


def test_a_child_process() -> None:
    async def program() -> None:
        await trio.run_process(["sleep", "1000"])

    with World(1) as world:
        world.start("a", program)
        with pytest.raises(WorldError, match="a waits for a socket, a pipe or a process of the real world"):
            world.run(1)


def test_signals() -> None:
    async def program() -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            await anext(aiter(signals))

    with World(1) as world:
        world.start("a", program)
        world.run(1)
        assert "main thread" in str(world.error("a"))


def test_an_endless_loop() -> None:
    async def program() -> None:
        while True:
            pass

    with World(1, patience=0.5) as world:
        world.start("a", program)
        with pytest.raises(WorldError, match=r"a has been running for 0\.5 s") as caught:
            world.run(1)
    assert "test_world.py" in str(caught.value), "it says where"


def test_an_endless_loop_of_checkpoints() -> None:
    async def program() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with World(1, patience=0.5) as world:
        world.start("a", program)
        with pytest.raises(WorldError, match=r"a has been running for 0\.5 s"):
            world.run(1)


async def swallow() -> None:
    while True:
        with suppress(trio.Cancelled):
            await trio.sleep(1)


async def shielded() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def swallow_all() -> None:
    while True:
        with suppress(BaseException):
            await trio.sleep_forever()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("program", [swallow, swallow_all, shielded])
def test_a_program_that_does_not_end(program: Callable[[], Awaitable[object]]) -> None:
    world = World(1)
    world.start("a", program)
    world.start("b", member, "b", "b")
    world.run(5)
    with pytest.raises(WorldError, match="a: it does not end when it is cancelled"):
        world.close()
    with World(1) as world:  # after a crash nobody expects anything of it
        world.start("a", program)
        world.run(5)
        world.crash("a")


def test_a_world_that_is_closed_or_running() -> None:
    async def program() -> None:
        world.run(1)

    with World(1) as world:
        world.start("a", program)
        world.run(1)
        assert "the world runs already" in str(world.error("a"))
    with pytest.raises(WorldError, match="closed"):
        world.run(1)


def test_a_world_leaves_nothing_behind_in_trio_and_random() -> None:
    random.seed(1)
    before = random.getstate(), _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING, logging.getLogRecordFactory()
    eventful(3)
    after = random.getstate(), _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING, logging.getLogRecordFactory()
    assert before == after
    assert logging.root.manager.disable == 0
