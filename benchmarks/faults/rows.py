"""The faults, one row each. A row strikes a cluster that is whole, and heals it again."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import trio

from benchmarks.driver import reports
from benchmarks.faults import names
from benchmarks.faults.stage import NEWCOMER, PORT, STRANGER, Cut, Stage

__all__ = ["ROWS", "Row"]

Strike = Callable[[Stage, float], Awaitable[None]]

TOLERATED = 1.5
"""Seconds for which a silence is no death, whatever its reason."""
LONG = (1, 1.5, 5, 60)
ONCE = (0.0,)


@dataclass(frozen=True, slots=True)
class Row:
    """A fault: for how long, and what is promised under it."""

    name: str
    what: str
    strike: Strike
    seconds: tuple[float, ...] = ONCE
    cut: Cut = Cut.NOBODY
    """Who cannot exchange packets both ways, by UDP or TCP: they give each other up if it lasts."""
    whole: float | None = 5.0
    """Within so many seconds of the heal all see all."""
    limits: tuple[tuple[str, float], ...] = ()
    """Of figures of its own."""
    patience: float = 75.0
    strikes_all: bool = False
    """It makes no difference who is the victim."""
    tag_size: int = 0
    wildcard: bool = False
    early: bool = False
    """It strikes before the cluster is there."""
    founds: bool = False
    """It strikes in place of the founding."""
    keyed: bool = False
    alone: bool = False
    """Its figures are so small that nothing else may run beside it."""

    def may_die(self, seconds: float) -> bool:
        return self.cut is not Cut.NOBODY and seconds > TOLERATED


def lasting(apply: Callable[[Stage], None]) -> Strike:
    """Something that is done to the network, for some seconds."""

    async def strike(stage: Stage, seconds: float) -> None:
        began = time.monotonic()
        apply(stage)
        await trio.sleep(seconds)
        stage.heal()
        stage.figures["lasted_s"] = time.monotonic() - began

    return strike


# --- firewalls

TCP, UDP = "meta l4proto tcp", "meta l4proto udp"
FORGOT = f"ct state established,related accept\n{TCP} reject with tcp reset\nreject"


def victim(*, incoming: str = "", outgoing: str = "") -> Strike:
    """The victim's own firewall."""
    return lasting(lambda stage: stage.network.firewall(stage.victim, incoming=incoming, outgoing=outgoing))


def between_halves(rule: str) -> Strike:
    return lasting(
        lambda stage: stage.network.route(*stage.network.between(stage.pairs(*stage.halves), rule))
    )


def everywhere(rule: str) -> Strike:
    """At the router."""
    return lasting(lambda stage: stage.network.route(rule))


async def reject_in_turn(stage: Stage, seconds: float) -> None:
    """One host after the other, as when a change of the firewall is rolled out."""
    for name in stage.names:
        stage.network.firewall(name, incoming="reject")
        await trio.sleep(seconds)
        stage.network.heal()
    stage.heal()


async def flood_of_forgeries(stage: Stage, seconds: float) -> None:
    told = [f"{stage.network.addresses[name]}:{PORT}" for name in stage.names]
    where = stage.network.command(STRANGER)
    command = [*where, sys.executable, "-m", "benchmarks.faults.forge", "1000", str(seconds), *told]
    await trio.run_process(command)
    stage.heal()


async def flood_of_repetitions(stage: Stage, seconds: float) -> None:
    """One link loses half, so that its ends ask others about each other; all packets are sent again."""
    told = [f"{stage.network.addresses[name]}:{PORT}" for name in stage.names]
    flows = stage.pairs([stage.victim], stage.names[2:3])
    stage.network.route(*stage.network.between(flows, "numgen random mod 100 < 50 drop"))
    where = stage.network.command("router")
    done = await trio.run_process(
        [*where, sys.executable, "-m", "benchmarks.faults.replay", "1000", str(seconds), *told],
        capture_stdout=True,
    )
    stage.figures["arrived"] = f"{int(done.stdout):,} packets sent again"
    stage.heal()


def one_way(rule: str) -> Strike:
    def apply(stage: Stage) -> None:
        flows = [(other, stage.victim) for other in stage.others]
        stage.network.route(*stage.network.between(flows, rule))

    return lasting(apply)


def lose(percent: int) -> Strike:
    def apply(stage: Stage) -> None:
        for name in stage.names:
            stage.network.lose(name, percent)

    return lasting(apply)


# --- what remains without UDP, or without large packets


async def without_udp(stage: Stage, seconds: float) -> None:
    """For so long; in it one joins and one is killed."""
    stage.network.route(f"{UDP} drop")
    await _life_goes_on(stage, seconds)
    stage.heal()


async def never_udp(stage: Stage, seconds: float) -> None:
    await _life_goes_on(stage, seconds)
    stage.heal()


async def _life_goes_on(stage: Stage, seconds: float) -> None:
    since = time.monotonic()
    await trio.sleep(seconds / 3)
    stage.figures["joined_s"] = await stage.newcomer(seconds=seconds / 3)
    await trio.sleep(max(0.0, since + 2 * seconds / 3 - time.monotonic()))
    last = stage.names[-2]
    observers = [name for name in stage.names if name != last]
    with stage.fleet.watch(reports("dead", last), observers) as died:
        killed = stage.kill(last)
        await died.complete(seconds / 3)
    stage.figures["killed_s"] = died.after(killed).all
    await trio.sleep(max(0.0, since + seconds - time.monotonic()))


def narrow(size: int) -> Strike:
    async def strike(stage: Stage, seconds: float) -> None:
        """Packets above so many bytes vanish; a newcomer joins, and all change their tags."""
        stage.network.route(f"ip length > {size} drop")
        await trio.sleep(1.0)
        stage.figures["joined_s"] = await stage.newcomer(seconds=20.0)
        stage.figures["arrived"], stage.figures["tags_s"] = await _retag(stage, 10.0)
        stage.heal()

    return strike


async def _retag(stage: Stage, seconds: float) -> tuple[str, float | None]:
    """All change their tags. How many of the changes arrived in this time, and when the last of them did."""
    rng = random.Random(1)
    since = time.monotonic()
    fresh = {name: letters(rng, 380) for name in stage.names}
    seen: dict[tuple[str, str], float] = {}
    wanted, all_seen = len(stage.names) * (len(stage.names) - 1), trio.Event()

    def look(line: dict[str, object]) -> None:
        name, node = str(line.get("member")), str(line["node"])
        tags = line.get("tags")
        if name != node and isinstance(tags, dict) and tags.get("fresh") == fresh.get(name):
            seen.setdefault((node, name), float(line["t"]))  # type: ignore[arg-type]
        if len(seen) == wanted:
            all_seen.set()

    stage.fleet.listeners.append(look)
    for name in stage.names:
        await stage.agents[name].command(f"tags fresh={fresh[name]}")
    with trio.move_on_after(seconds):
        await all_seen.wait()
    stage.fleet.listeners.remove(look)
    slowest = max(seen.values()) - since if len(seen) == wanted else None
    return f"{len(seen)} of {wanted}", slowest


def letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=count))


# --- hosts that move, processes that end


async def readdress(stage: Stage, seconds: float) -> None:
    """The victim's host has another address from now on."""
    stage.network.readdress(stage.victim)
    address = f"{stage.network.addresses[stage.victim]}:{PORT}"
    since = time.monotonic()

    def moved(line: dict[str, object]) -> bool:
        return line.get("member") == stage.victim and line.get("address") == address

    with stage.watching(moved, stage.others, "moved_s", since) as watch:
        stage.heal()
        await watch.complete(seconds)


async def swap(stage: Stage, seconds: float) -> None:
    """Two are killed, and each is started again where the other was."""
    one, other = stage.victim, stage.names[-1]
    for name in (one, other):
        stage.kill(name)
    await _again(stage, {one: other, other: one})


async def move(stage: Stage, seconds: float) -> None:
    """The victim is killed, and started again on another host."""
    stage.kill(stage.victim)
    await _again(stage, {stage.victim: NEWCOMER})


def again(delay: float, *, terminate: bool = False) -> Strike:
    async def strike(stage: Stage, seconds: float) -> None:
        """The victim ends, and is started again."""
        if terminate:
            stage.due.add(stage.victim)
            stage.agents[stage.victim].terminate()
            await stage.agents[stage.victim].exit_status(10.0)
            stage.names.remove(stage.victim)
        else:
            stage.kill(stage.victim)
        await trio.sleep(delay)
        await _again(stage, {stage.victim: stage.victim})

    return strike


async def _again(stage: Stage, places: dict[str, str]) -> None:
    """Started again at these hosts. Until all others know the new process, by a tag that it has."""
    others = [name for name in stage.names if name not in places]
    known = {name: stage.fleet.watch(_new(name), others) for name in places}
    watches = {name: manager.__enter__() for name, manager in known.items()}
    hosts = {name: stage.host(place) for name, place in places.items()}
    bound: dict[str, float] = {}

    async def begin(name: str) -> None:
        bound[name] = await stage.restart(name, on=hosts[name])

    async with trio.open_nursery() as nursery:
        for name in places:
            nursery.start_soon(begin, name)
    stage.heal()
    for name, watch in watches.items():
        await watch.complete(30.0)
        known[name].__exit__(None, None, None)
    times = [watch.after(bound[name]).all for name, watch in watches.items()]
    stage.figures["known_s"] = None if None in times else max(t for t in times if t is not None)


def _new(name: str) -> Callable[[dict[str, object]], bool]:
    def matches(line: dict[str, object]) -> bool:
        tags = line.get("tags")
        return line.get("member") == name and isinstance(tags, dict) and tags.get("life") == "2"

    return matches


async def kill_beside_a_pause(stage: Stage, seconds: float) -> None:
    """One stands still while another one is killed."""
    dies = stage.others[0]
    observers = [name for name in stage.others if name != dies]
    with stage.standing_still([stage.victim]):
        await trio.sleep(1.0)
        with stage.fleet.watch(reports("dead", dies), observers) as died:
            killed = stage.kill(dies)
            await died.complete(10.0)
    stage.figures["killed_s"] = died.after(killed).all
    stage.heal()


async def kill(stage: Stage, seconds: float) -> None:
    with stage.fleet.watch(reports("dead", stage.victim), stage.others) as died:
        killed = stage.kill(stage.victim)
        stage.heal()
        await died.complete(30.0)
    stage.figures["killed_s"] = died.after(killed).all


async def pause(stage: Stage, seconds: float) -> None:
    with stage.standing_still([stage.victim]):
        await trio.sleep(seconds)
    stage.heal()


async def freeze_most(stage: Stage, seconds: float) -> None:
    """More than half stand still, the leader among them. Until the rest follow one who does not."""
    frozen = stage.names[: len(stage.names) // 2 + 1]
    rest = [name for name in stage.names if name not in frozen]
    stage.due.update(frozen)
    since = time.monotonic()

    def follows(line: dict[str, object]) -> bool:
        return line["event"] == "leader" and line.get("leader") in rest

    with stage.watching(follows, rest, "led_s", since) as watch, stage.standing_still(frozen):
        await trio.sleep(seconds)
        del watch
    stage.heal()


async def flap(stage: Stage, seconds: float) -> None:
    """The victim's link is down for so long, up for so long, and so on for two minutes."""
    until = time.monotonic() + FLAPPING_SECONDS
    flows = stage.pairs([stage.victim], stage.others)
    while time.monotonic() < until:
        stage.network.cut(flows)
        await trio.sleep(seconds)
        stage.network.heal()
        with stage.connected():
            await trio.sleep(seconds if time.monotonic() + seconds < until else 0.0)
    stage.heal()


FLAPPING_SECONDS = 120.0


async def twice(stage: Stage, seconds: float) -> None:
    """The victim is cut off twice, 20 s apart."""
    flows = stage.pairs([stage.victim], stage.others)
    stage.network.cut(flows)
    await trio.sleep(seconds)
    stage.network.heal()
    with stage.connected():
        await trio.sleep(20.0)
    stage.network.cut(flows)
    await trio.sleep(seconds)
    stage.heal()


def _rows() -> Iterable[Row]:
    reset = f"{TCP} reject with tcp reset\nreject"
    yield Row("reject", "a host REJECTs what comes in", victim(incoming="reject"), LONG, cut=Cut.VICTIM)
    yield Row("reject-reset", "the same, TCP by resets", victim(incoming=reset), LONG, cut=Cut.VICTIM)
    yield Row("reject-udp", "a host REJECTs incoming UDP", victim(incoming=f"{UDP} reject"), LONG)
    yield Row("reject-turn", "one host after the other REJECTs", reject_in_turn, (1, 5), cut=Cut.ALL)
    yield Row("router", "a router between two halves REJECTs", between_halves("reject"), LONG, cut=Cut.HALVES)
    yield Row("own", "a host's firewall REJECTs its outgoing UDP", victim(outgoing=f"{UDP} reject"), LONG)
    yield Row("forgot", "a firewall forgets its connections, then REJECTs", victim(incoming=FORGOT), LONG)
    forged = "1,000 forged ICMP messages a second"
    yield Row("forged", forged, flood_of_forgeries, (10,), strikes_all=True)
    yield Row("forged-keys", f"{forged}, with keys", flood_of_forgeries, (10,), strikes_all=True, keyed=True)
    again_from = "all packets are sent again, in the names of all others, with keys"
    yield Row("replayed", again_from, flood_of_repetitions, (30,), keyed=True)
    promised = (("joined_s", 1.0), ("killed_s", 0.5))
    yield Row("no-udp", "UDP blocked everywhere", without_udp, (60,), strikes_all=True, limits=promised)
    start = "UDP blocked from the start"
    yield Row("never-udp", start, never_udp, (60,), strikes_all=True, early=True, limits=promised)
    halves = between_halves(f"{UDP} drop")
    yield Row("half-udp", "UDP blocked between two halves", halves, (60,))
    yield Row("no-tcp", "TCP blocked everywhere", everywhere(f"{TCP} drop"), (60,), strikes_all=True)
    limits = (("joined_s", 1.0), ("tags_s", 2.0))
    for size in (1400, 1280, 1000):
        what = f"packets above {size:,} bytes vanish"
        promise = limits if size >= 1280 else ()
        yield Row(f"narrow-{size}", what, narrow(size), strikes_all=True, tag_size=380, limits=promise)
    yield Row("readdress", "a host's address is replaced", readdress, (30,), wildcard=True)
    yield Row("one-way", "UDP to one host is lost", one_way(f"{UDP} drop"), (5, 60))
    yield Row("loss", "40 % of all packets are lost", lose(40), (60,), strikes_all=True, whole=None)
    cut = between_halves("drop")
    yield Row("cut", "two halves are cut off from each other", cut, (1, 1.5, 5, 10, 60), cut=Cut.HALVES)
    yield Row("twice", "a host is cut off twice, 20 s apart", twice, (4,), cut=Cut.VICTIM)
    yield Row("flap", "a link is down and up for two minutes", flap, (1, 3, 10), cut=Cut.VICTIM, whole=10.0)
    yield Row("pause", "a process stands still (SIGSTOP)", pause, (1, 5, 10))
    yield Row("frozen", "more than half stand still", freeze_most, (60,), strikes_all=True)
    yield from _rows_of_names()
    quick = (("known_s", 0.5),)
    yield Row("move", "SIGKILL, and started again on another host", move, alone=True, limits=quick)
    yield Row("swap", "two members swap addresses", swap, alone=True, limits=quick)
    yield Row("kill-again", "SIGKILL, and started again at once", again(0.0), alone=True, limits=quick)
    yield Row(
        "term-again",
        "SIGTERM, and started again after 0.1 s",
        again(0.1, terminate=True),
        alone=True,
        limits=quick,
    )
    yield Row("kill", "SIGKILL", kill, alone=True)
    yield Row(
        "kill-beside",
        "SIGKILL while another one stands still",
        kill_beside_a_pause,
        alone=True,
        limits=(("killed_s", 0.2),),
    )


def _rows_of_names() -> Iterable[Row]:
    one = (("one_s", 10.0),)
    new = "each of two halves gets a new member of the same name"
    yield Row("twins", new, names.twins, (10,), cut=Cut.HALVES, limits=one)
    instead = "it stands still, another has its name for a while, and leaves"
    yield Row("substitute", instead, names.substitute)
    yield Row("usurper", "it stands still, another takes its name", names.usurper, limits=one)
    elsewhere = "a node of another cluster takes a dead member's address"
    yield Row("squatter", elsewhere, names.squatter, (60,), limits=(("merged", 0),), strikes_all=True)
    lowest = "the first of three seeds does not start"
    yield Row("founding", lowest, names.found_without_the_lowest, strikes_all=True, founds=True, whole=10.0)


ROWS = {row.name: row for row in _rows()}
