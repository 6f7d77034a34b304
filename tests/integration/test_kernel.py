"""What kernels say of processes: a killed one, one that stands still, one whose host is lost."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from benchmarks.driver import Line, reports
from swim.config import Config
from tests.integration.harness import PATIENCE, Nodes, until

SETTLED_SECONDS = 3.5
"""Until all who observe somebody have had a stream to it for a while."""
LENIENCE = 1.0
"""A busy machine's share. Alone it needs a tenth of it."""
KILLED_SECONDS = 0.15
HOST_SECONDS = 3.5
PAUSE_TOLERANCE = 6.0
"""In place of 15 s, where the test waits for twice as much."""

pytestmark = pytest.mark.long


def deaths(nodes: Nodes, since: float) -> list[Line]:
    return [line for line in nodes.since(since) if line["event"] in ("dead", "leave")]


# --- killed


@pytest.mark.parametrize("keyed", [False, True], ids=["clear", "sealed"])
async def test_all_know_at_once_that_a_process_was_killed(nodes: Nodes, keyed: bool) -> None:
    options = ["--key", "ab" * 16, "--label", "blue"] if keyed else []
    await nodes.gather(5, options=options)
    taken = []
    for number in range(3):
        await trio.sleep(SETTLED_SECONDS)
        killed, spread = await nodes.kill(f"n{2 + number}" if number < 2 else "again-1")
        taken.append(spread.all)
        died = [line for line in deaths(nodes, killed) if line["event"] == "dead"]
        assert "process-gone" in {line["reason"] for line in died}
        await nodes.start(f"again-{number}", join=[nodes.agents["n0"].address], options=options)
        await nodes.all_see_all()
    assert statistics.median(taken) < KILLED_SECONDS + LENIENCE


async def test_the_last_survivor_of_three_knows_at_once(nodes: Nodes) -> None:
    await nodes.gather(3)
    await trio.sleep(SETTLED_SECONDS)
    started = time.monotonic()
    for name in ("n1", "n2"):
        nodes.agents.pop(name).kill()
    await until(lambda: not nodes.fleet.views["n0"], "n0 is alone")
    died = [line["t"] for line in deaths(nodes, started)]
    assert max(died) - started < 1.0 + LENIENCE


# --- standing still


@pytest.mark.parametrize(("seconds", "settled"), [(4, True), (8, False)])
async def test_nobody_is_given_up_for_a_pause(nodes: Nodes, seconds: int, settled: bool) -> None:
    await nodes.gather(5)
    await trio.sleep(SETTLED_SECONDS if settled else 0.0)  # until then no stream is open
    started = nodes.agents["n2"].pause()
    await trio.sleep(seconds)
    nodes.agents["n2"].resume()
    await trio.sleep(3.0)
    await nodes.all_see_all()
    assert deaths(nodes, started) == []


async def test_a_long_pause_is_a_death_and_ends_with_a_return(nodes: Nodes) -> None:
    await nodes.gather(5, options=["--set", f"pause_tolerance={PAUSE_TOLERANCE}"])
    await trio.sleep(SETTLED_SECONDS)
    with nodes.fleet.watch(reports("dead", "n2"), nodes.others("n2")) as watch:
        paused = nodes.agents["n2"].pause()
        await trio.sleep(2 * PAUSE_TOLERANCE)
        assert await watch.complete(0.1), watch.pending
    spread = watch.after(paused)
    assert spread.first > PAUSE_TOLERANCE - 1.0
    assert spread.all < PAUSE_TOLERANCE + 2.0 + LENIENCE
    with nodes.fleet.watch(reports("join", "n2"), nodes.others("n2")) as watch:
        resumed = nodes.agents["n2"].resume()
        assert await watch.complete(PATIENCE), watch.pending
    assert watch.after(resumed).all < 1.0 + LENIENCE
    await nodes.all_see_all()
    assert {line["member"] for line in deaths(nodes, paused)} == {"n2"}


# --- silent


@contextmanager
def silent_host(host: str) -> Iterator[None]:
    """All packets to and from this address of the loopback network are dropped."""
    table = f"swim_test_{os.getpid()}"
    rules = "\n".join(f"ip {end} {host} drop" for end in ("saddr", "daddr"))
    text = f"table inet {table} {{\nchain in {{\ntype filter hook input priority 0\n{rules}\n}}\n}}\n"
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)


def require_nft() -> None:
    if os.geteuid() != 0 or shutil.which("nft") is None:
        pytest.skip("needs root and nft, to drop packets")
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip(f"nft does not work here: {listed.stderr.strip()}")


async def test_a_silent_host_is_given_up_soon_and_comes_back(nodes: Nodes) -> None:
    require_nft()
    rng = random.Random(os.getpid())
    host = f"127.{rng.randrange(1, 255)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    await nodes.gather(5)
    port = random.randrange(20_000, 30_000)
    seed = nodes.agents["n0"].address
    await nodes.start("victim", join=[seed], options=["--bind", f"{host}:{port}"])
    await nodes.all_see_all()
    await trio.sleep(SETTLED_SECONDS)
    with nodes.fleet.watch(reports("dead", "victim"), nodes.others("victim")) as watch:
        silent = time.monotonic()
        with silent_host(host):
            assert await watch.complete(PATIENCE), watch.pending
            await trio.sleep(1.0)
    spread = watch.after(silent)
    assert spread.all < HOST_SECONDS + LENIENCE
    assert {line["member"] for line in deaths(nodes, silent) if line["node"] != "victim"} == {"victim"}
    await nodes.all_see_all()


# --- what it costs


async def test_kept_streams_are_few(nodes: Nodes) -> None:
    """Once the neighbours are known: those that were opened before, while all joined, are ended by then."""
    seed = await nodes.start("seed")
    agent = await nodes.start("many", count=32, join=[seed.address])
    await nodes.all_see_all(2 * PATIENCE)
    await trio.sleep(2 * SETTLED_SECONDS)
    few = range(32 * Config().rings, 32 * (2 * Config().rings + 4))
    folder = f"/proc/{agent.process.pid}/fd"
    await until(lambda: len(os.listdir(folder)) in few, f"open files in {few}")
