"""What breaks without each rule of the detector: the rules, each with a way to switch it off.

Nothing of this is an option of the core; a rule is switched off in cores that are built for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from benchmarks.detector.cells import Cell
from benchmarks.detector.crash import crash
from benchmarks.detector.illness import pauses, rapid, stalls, verdicts_on_healthy
from benchmarks.detector.observe import DeathLog
from benchmarks.detector.unity import one_view, partition
from benchmarks.detector.warm import Figures, Start, Trial
from benchmarks.detector.weather import calm
from swim.protocol.node import Node
from swim.simulation import World
from swim.simulation.host import SimulatedNode
from swim.types import Address

__all__ = ["RULES", "cells", "core"]


def _nothing(*args: Any, **options: Any) -> None:
    return None


def _no(*args: Any) -> bool:
    return False


def _even_phases(node: Any) -> None:
    node._probing._wait_ms = lambda observer, now: 0


def _indirect_probes(node: Any) -> None:
    node._suspicion._helpers = lambda name, count: []


def _hints(node: Any) -> None:
    node._polls.hint = _nothing


def _polls(node: Any) -> None:
    """The first observer that is convinced decides."""

    def poll(record: Any, watch: Any, now: float, **rest: Any) -> None:
        reason = "process-gone" if watch.proven else "silence"
        node._membership.declare_dead(record.name, reason, now)

    node._polls.poll = poll


def _votes(node: Any) -> None:
    """One vote is enough, if nobody vetoes."""
    node._polls.needed = lambda observers: 0  # 1 would be a verdict alone, which is not sent


def _vetoes(node: Any) -> None:
    heard, veto = node._polls.heard, "veto"

    def deaf(voter: str, message: Any, now: float) -> None:
        if message.kind.name.lower() != veto:
            heard(voter, message, now)

    node._polls.heard = deaf


def _mute(node: Any) -> None:
    node._suspicion._mute = _no


def _quality(node: Any) -> None:
    node._polls.lossy = _nothing
    node._polls.asked_lossy = _nothing


def _readmission(node: Any) -> None:
    """Who is given up answers at once, always."""
    node._readmission._obstacle = lambda now: ""


def _soundness(node: Any) -> None:
    """A node judges alone without asking whether the fault is its own."""
    node._links.sound = lambda now: True


def _triage(node: Any) -> None:
    """Nothing is asked of kernels, whose answers do not count."""
    node._suspicion.kernel_answered = _nothing


def _kept_streams(node: Any) -> None:
    node.streams_to_keep = lambda now: ()


def _refusals(node: Any) -> None:
    node._suspicion.refused = _nothing


def _attention_clock(node: Any) -> None:
    context = node._context
    attend = node._attend

    def unaware(now: float) -> None:
        attend(now)
        context.lost = 0.0

    node._attend = unaware


def _successor_skipping(node: Any) -> None:
    node._dissemination._suspected = _no


def _more_fanout(node: Any) -> None:
    node._dissemination._fanout = lambda: node.config.fanout


def _piggyback(node: Any) -> None:
    node._dissemination._take = lambda *args: []


def _view_hash(node: Any) -> None:
    node._sync.compare = _nothing


# Each rule, and the trials of the battery that it is there for.
RULES: dict[str, tuple[Callable[[Any], None], tuple[str, ...]]] = {
    "even phases": (_even_phases, ("host", "half of the hosts")),
    "indirect probes": (_indirect_probes, ("loss", "in80", "bad links")),
    "hints": (_hints, ("host", "host, WAN, 20 % loss", "loss")),
    "polls": (_polls, ("receive blocked", "stop and go", "in80", "in100", "bad links", "pauses")),
    "votes": (_votes, ("receive blocked", "stop and go", "in100", "bad links")),
    "vetoes": (_vetoes, ("refused by one",)),
    "mute": (_mute, ("a quarter cut off", "egress flip")),
    "quality": (_quality, ("in80",)),
    "readmission": (_readmission, ("in80", "egress flip")),
    "soundness": (_soundness, ("blocked for long", "egress flip")),
    "triage": (_triage, ("pauses", "stop and go")),
    "kept streams": (_kept_streams, ("process", "host", "pauses")),
    "refusals": (_refusals, ("process",)),
    "attention clock": (_attention_clock, ("paused, seen by the inattentive",)),
    "successor skipping": (_successor_skipping, ("tags, hosts lost", "half of the hosts")),
    "fanout by loss": (_more_fanout, ("tags, 20 % loss", "host, 20 % loss")),
    "piggyback": (_piggyback, ("deaf in a churn",)),
    "view hash": (_view_hash, ("tags, 20 % loss", "partition 30 s", "news missed")),
}


def core(rule: str) -> Callable[..., Node] | None:
    """A way to build nodes without this rule; None for all rules."""
    if not rule:
        return None

    def make(*args: Any, **options: Any) -> Node:
        node = Node(*args, **options)
        RULES[rule][0](node)
        return node

    return make


# --- the battery: small trials, each of which needs some of the rules


def news(world: World, rng: Random, changes: int = 10) -> Figures:
    """Tags change, a second apart: how long until all have the change, and until all views are equal."""
    names, times, equal = list(world.nodes), [], []
    for turn in range(changes):
        name = rng.choice(names)
        world.set_tags(name, {"turn": str(turn)})
        start, taken = world.now, world.run_until(lambda: one_view(world), 30.0, 0.02)
        times.append(taken)
        equal.append(world.now - start)
        world.run(1.0)
    return {"all have it": times}


def hidden_losses(world: World, rng: Random, share: float = 0.25) -> Figures:
    """News while a quarter of the members has just been lost, and not been found out yet."""
    names = list(world.nodes)
    lost = rng.sample(names, round(share * len(names)))
    live = [name for name in names if name not in lost]
    for name in lost:
        world.lose_host(name)
    world.run(1.2)  # suspected, but not declared dead
    teller = rng.choice(live)
    world.set_tags(teller, {"turn": "1"})
    start = world.now

    def told() -> bool:
        cores = [world.nodes[name].core for name in live]
        return all((member := core.member(teller)) is not None and member.tags for core in cores)

    taken = world.run_until(told, 20.0, 0.005)
    return {"all have it": taken, "after": world.now - start}


def missed(world: World, rng: Random, seconds: float) -> Figures:
    """A member hears nothing for a moment, in which another's tags change."""
    deaf, teller = rng.sample(list(world.nodes), 2)
    world.set_loss(incoming={deaf: 1.0})
    world.run(0.1)
    world.set_tags(teller, {"turn": "1"})
    world.run(seconds)
    world.set_loss(incoming={deaf: 0.0})
    return {"all have it": world.run_until(lambda: one_view(world), 60.0, 0.05)}


def inattentive(world: World, rng: Random, stop: float = 2.0, go: float = 0.05) -> Figures:
    """Half of the members run for a moment every two seconds. Are others, paused for 8 s, declared dead?

    Their kernels answer, so that they are given 15 s; but the answers are old when those who sleep look.
    """
    names = list(world.nodes)
    ill = rng.sample(names, len(names) // 2)
    paused = rng.sample([name for name in names if name not in ill], 3)
    log, end = DeathLog(world, paused), world.now + 20.0

    def again(name: str) -> None:
        if world.nodes[name].running and world.now + go < end:
            world.pause(name, stop)
            world.after(stop + go, again, name)

    for name in ill:
        world.after(rng.uniform(0.0, 1.0), again, name)
    world.run(3.0)
    for name in paused:
        world.pause(name, 8.0)
    world.run(17.0)
    gone = [name for name in paused if log.deaths[name]]
    return {"paused dead": len(gone), "healthy dead": log.healthy_deaths([*ill, *paused])}


def refused(world: World, rng: Random, seconds: float = 20.0) -> Figures:
    """The host of one observer refuses packets to a member that is well: a firewall's REJECT."""
    victim = rng.choice(list(world.nodes))
    target = world.nodes[victim]
    source = world.nodes[rng.choice(world.nodes[victim].core._table.rings.observers(victim))]
    log, transmit = DeathLog(world), world.transmit

    def reject(sender: SimulatedNode, data: bytes, address: Address) -> None:
        if sender is source and address == target.address:
            world.after(0.0005, world._unreachable, sender, sender.lives, address)
        else:
            transmit(sender, data, address)

    world.transmit = reject  # type: ignore[method-assign, assignment]
    world.run(seconds)
    return {"healthy dead": log.healthy_deaths([])}


def churn(world: World, rng: Random, deaf: float = 0.5, rate: float = 5.0) -> Figures:
    """Tags change five times a second, so that no view comes to rest; one hears nothing for a while."""
    names = list(world.nodes)
    viewer = names.pop(rng.randrange(len(names)))
    end, waiting, late = world.now + 20.0, dict[str, tuple[str, float]](), list[float]()

    def change(turn: int) -> None:
        name = rng.choice(names)
        world.set_tags(name, {"turn": str(turn)})
        waiting[name] = (str(turn), world.now)
        world.after(rng.expovariate(rate), change, turn + 1)

    change(0)
    for delay, loss in ((3.0, 1.0), (3.0 + deaf, 0.0)):
        world.after(delay, partial(world.set_loss, incoming={viewer: loss}))
    while world.now < end:
        world.run(0.02)
        for name, (turn, since) in list(waiting.items()):
            member = world.nodes[viewer].core.member(name)
            if (member is not None and member.tags.get("turn") == turn) or world.now - since > 10.0:
                late.append(world.now - since)
                del waiting[name]
    return {"knows it after": late}


def blip(world: World, rng: Random, share: float = 0.25, seconds: float = 10.0) -> Figures:
    """A rack is cut off from the rest for a moment. Does it give up everybody else?"""
    names = list(world.nodes)
    rack = rng.sample(names, round(share * len(names)))
    log = DeathLog(world, rack)
    cuts = world.partition(rack)
    world.run(seconds)
    world.heal(cuts)
    world.run(15.0)
    return verdicts_on_healthy(log, rack)


def bad_links(world: World, rng: Random, seconds: float, share: float = 0.08) -> Figures:
    """A share of the pairs cannot reach each other; everybody reaches everybody through others."""
    names = list(world.nodes)
    pairs = [(one, other) for one in names for other in names if one < other and rng.random() < share]
    world.set_loss(links={link: 1.0 for one, other in pairs for link in ((one, other), (other, one))})
    return calm(world, rng, seconds)


def cells(trials: int | None, size: int = 24) -> list[Cell]:
    """The battery once with all rules, and once without each."""
    clear, start20, start30 = (Start(size, loss=loss, settle=20.0) for loss in (0.0, 0.2, 0.3))
    far20 = Start(size, wan=True, loss=0.2, settle=20.0)
    verdicts = ("healthy dead", "in healthy views", "solo")
    kept = (*verdicts, "removals", "kept out")
    blocked = partial(stalls, kind="receive", count=6, stall=4.1, rest=0.5, seconds=40.0)
    paused = partial(stalls, kind="paused", count=6, stall=2.0, rest=0.005, seconds=40.0)
    halves = partial(partition, share=0.5, seconds=30.0, one_way=False)
    long = partial(stalls, kind="receive", count=4, stall=8.2, rest=0.016, seconds=60.0)
    deaf = partial(missed, seconds=1.0)
    table: list[tuple[str, Start, Trial, tuple[str, ...], int]] = [
        ("host", clear, partial(crash, host=True), ("first suspicion", "all know"), 20),
        ("process", clear, partial(crash, host=False), ("all know",), 20),
        ("half of the hosts", clear, partial(crash, host=True, share=0.5), ("last victim",), 10),
        ("receive blocked", clear, blocked, verdicts, 3),
        ("blocked for long", clear, long, verdicts, 3),
        ("paused, seen by the inattentive", clear, inattentive, ("paused dead", "healthy dead"), 10),
        ("refused by one", start20, refused, ("healthy dead",), 20),
        ("deaf in a churn", clear, churn, ("knows it after",), 20),
        ("stop and go", clear, paused, verdicts, 3),
        ("in80", clear, partial(rapid, fault="in80"), kept, 2),
        ("in100", clear, partial(rapid, fault="in100"), kept, 2),
        ("egress flip", clear, partial(rapid, fault="egress flip"), kept, 2),
        ("bad links", clear, partial(bad_links, seconds=60.0), ("false deaths",), 3),
        ("pauses", clear, partial(pauses, seconds=300.0, per_hour=60.0), ("deaths per node-hour",), 5),
        ("tags, hosts lost", clear, hidden_losses, ("all have it",), 20),
        ("partition 30 s", clear, halves, ("views equal after", "lost"), 3),
        ("news missed", clear, deaf, ("all have it",), 5),
        ("loss", start30, partial(calm, seconds=60.0), ("false deaths", "suspicions per node-hour"), 3),
        ("tags, 20 % loss", start20, news, ("all have it",), 5),
        ("host, 20 % loss", start20, partial(crash, host=True), ("all know",), 20),
        ("host, WAN, 20 % loss", far20, partial(crash, host=True), ("all know",), 20),
        ("a quarter cut off", clear, blip, verdicts, 10),
    ]
    return [
        Cell("ablations", title, start, trial, figures, trials=trials or count, rules=rule)
        for rule in ["", *RULES]
        for title, start, trial, figures, count in table
        if not rule or title in RULES[rule][1]
    ]
