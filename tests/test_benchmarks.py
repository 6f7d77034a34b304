"""The driver of the benchmarks, with real memberlist nodes: reads, waits, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from benchmarks.driver import Spread, Watch, open_fleet, reports
from benchmarks.peers import Absent, Peer, find_peer
from benchmarks.ports import HOST, Ports
from tests.house import ROOT

PATIENCE = 30.0


@pytest.fixture(scope="module")
def memberlist() -> Peer:
    found = find_peer("memberlist")
    if isinstance(found, Absent):
        pytest.skip(str(found))
    return found


def processes_marked(mark: str) -> list[int]:
    """Processes whose environment has the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it ended while we looked
            continue
    return found


async def test_drives_nodes_from_joining_to_leaving(memberlist: Peer) -> None:
    async with open_fleet() as fleet:
        seed = await fleet.start(memberlist, "seed", profile="local", tags={"role": "first"})
        await fleet.until_bound(seed)
        others = await fleet.start(memberlist, "n", count=3, join=[seed.address], profile="local")
        everyone = (*seed.names, *others.names)
        await fleet.until_all_see(everyone, PATIENCE)
        assert fleet.views["n-1"]["seed"] == {"role": "first"}

        with fleet.watch(reports("update", "n-0", tags={"meta": "two words"}), ["seed", "n-1"]) as updates:
            changed = await others.command("meta two words", node="n-0")
            assert await updates.complete(PATIENCE)
        assert 0 < updates.after(changed).all < PATIENCE
        assert "meta" not in fleet.views["seed"]["n-2"]

        with fleet.watch(reports("leave", "seed"), others.names) as leaves:
            await seed.close_input()
            assert await leaves.complete(PATIENCE)
        assert await seed.exit_status(PATIENCE) == 0
        assert set(fleet.views["n-0"]) == {"n-1", "n-2"}
        await trio.sleep(1.1)
        assert others.stats["count"] == 3
        assert others.stats["tx_packets"] > 0
        assert list(others.complaints) == []


async def test_reports_a_killed_node_as_dead(memberlist: Peer) -> None:
    async with open_fleet() as fleet:
        victim = await fleet.start(memberlist, "victim", profile="local")
        await fleet.until_bound(victim)
        others = await fleet.start(memberlist, "n", count=3, join=[victim.address], profile="local")
        await fleet.until_all_see((*victim.names, *others.names), PATIENCE)
        with fleet.watch(reports("dead", "victim"), others.names) as deaths:
            killed = victim.kill()
            assert await deaths.complete(PATIENCE)
        spread = deaths.after(killed)
        assert 0 < spread.first <= spread.half <= spread.all
        assert await victim.exit_status(PATIENCE) == -signal.SIGKILL


async def test_an_error_in_the_block_emerges_and_no_process_remains(memberlist: Peer) -> None:
    mark = f"TRIO_SWIM_TEST_{uuid.uuid4().hex}"

    async def fails() -> None:
        async with open_fleet() as fleet:
            paused = await fleet.start(memberlist, "paused", environment={mark: "1"})
            await fleet.start(memberlist, "n", count=2, environment={mark: "1"})
            await fleet.until_bound(*fleet.agents)
            paused.pause()
            assert len(processes_marked(mark)) == 2
            raise LookupError("from the block")

    with pytest.raises(LookupError, match="from the block"):
        await fails()
    assert processes_marked(mark) == []


async def test_a_node_that_cannot_start_is_reported_with_its_last_words(memberlist: Peer) -> None:
    async with open_fleet() as fleet:
        first = await fleet.start(memberlist, "a")
        await fleet.until_bound(first)
        second = await fleet.start(memberlist, "b", port=int(first.address.rpartition(":")[2]))
        with pytest.raises(RuntimeError, match=r"b ended: .*in use"):
            await fleet.until_bound(second)


@pytest.fixture
def sigint_counts() -> Iterator[None]:
    """Programs that are started here are ended by it, also where pytest itself runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_counts")
def test_ctrl_c_ends_every_process(memberlist: Peer) -> None:
    mark = f"TRIO_SWIM_TEST_{uuid.uuid4().hex}"
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.convergence", "--quick", "--peers", "memberlist"],
        cwd=ROOT,
        env=os.environ | {mark: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as driver:
        deadline = time.monotonic() + PATIENCE
        while len(processes_marked(mark)) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        driver.send_signal(signal.SIGINT)
        output = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 130, output
    assert processes_marked(mark) == []


async def test_a_watch_counts_each_observer_once() -> None:
    watch = Watch(reports("dead", "x"), ["a", "b", "c"])
    for node, event, t in [("a", "join", 1.0), ("a", "dead", 2.0), ("a", "dead", 3.0), ("b", "dead", 4.0)]:
        watch.offer({"node": node, "event": event, "member": "x", "t": t})
    assert not await watch.complete(0.01)
    assert watch.after(1.5) == Spread(first=0.5, half=2.5, all=None, seen=2, of=3)
    watch.offer({"node": "c", "event": "dead", "member": "x", "t": 5.0})
    assert await watch.complete(0.01)
    assert watch.after(1.5).all == 3.5


def test_ports_are_free_and_given_to_one_driver_only() -> None:
    ports, others = Ports(), Ports()
    try:
        firsts = [ports.take(20) for _ in range(20)]
        taken = {first + i for first in firsts for i in range(20)}
        assert len(taken) == 400
        theirs = {others.take() for _ in range(50)}
        assert not taken & theirs
        assert max(taken) < 32_768 or min(taken) > 32_768
        for port in taken:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
                listener.bind((HOST, port))
    finally:
        ports.close()
        others.close()
