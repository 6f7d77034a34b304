"""The kinds of schedules: each is a cluster, what is done to it, and what must hold then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from swim.config import Config
from swim.protocol.leadership.changing import read_state, request_for
from swim.simulation import Network, SimulatedNode
from swim.types import Address
from swim.wire.messages import UserMessage
from tests.explorer.arena import Arena, Storm
from tests.explorer.functions import play
from tests.explorer.oracle import Finding

__all__ = ["KINDS", "Outcome", "run"]

_STORM_LEASES, _STORM_MIN_S, _GAP_S = 4.0, 6.0, 0.4
_SIZES = (3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9)
_LEASES = (1.0, 1.0, 3.0)


@dataclass(slots=True)
class Outcome:
    """What one seed came to. Times in seconds of true time."""

    kind: str
    seed: int
    lease: float
    terms: int
    calm_after: float | None = None
    """From the end of the last fault until one leader acted that all members followed, and that stayed."""
    joined_after: float = 0.0
    """And until all nodes were members."""


Kind = Callable[[int, Random], tuple[Arena | None, float | None]]
KINDS: dict[str, tuple[int, Kind]] = {}


def kind(share: int) -> Callable[[Kind], Kind]:
    """Of all seeds so many parts are of this kind."""

    def enter(schedule: Kind) -> Kind:
        KINDS[schedule.__name__.removeprefix("_")] = share, schedule
        return schedule

    return enter


def run(seed: int, only: str | None = None) -> Outcome:
    """One schedule. Raises `Finding`, or whatever breaks, with the seed and what replays it."""
    name = only or Random(f"explorer:{seed}").choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
    arena: Arena | None = None
    try:
        arena, calm_after = KINDS[name][1](seed, Random(f"{name}:{seed}"))
    except AssertionError as error:
        if not any("replay:" in note for note in getattr(error, "__notes__", [])):
            error.add_note(f"replay: python -m tests.explorer --seeds {seed}:{seed + 1} --only {name}")
        raise
    if arena is None:
        return Outcome(name, seed, 0.0, 0)
    terms = len(arena.oracle.terms)
    return Outcome(name, seed, arena.config.lease, terms, calm_after, arena.joined_after)


def names(count: int, first: int = 0) -> tuple[str, ...]:
    return tuple(f"n{i}" for i in range(first, first + count))


def weather(rng: Random) -> Network:
    bad: dict[str, Any] = {
        "loss": rng.choice([0.0, 0.0, 0.02, 0.1]),
        "duplicate": rng.choice([0.0, 0.05, 0.3]),
        "delay_max": rng.choice([0.02, 0.5, 5.0]),
        "sigma": rng.choice([1.0, 2.5]),
    }
    return Network.wan(**bad) if rng.random() < 0.2 else Network.lan(**bad)


def turn(arena: Arena, rng: Random) -> None:
    """The weather of a storm."""
    arena.fabric.network = weather(rng)
    arena.fabric.loss, arena.fabric.duplicate = arena.fabric.network.loss, arena.fabric.network.duplicate
    arena.slow = rng.choice([0.0, 0.0, 0.02, 0.2])


def storm(arena: Arena, rng: Random, share: float = 1.0) -> float:
    """A storm, and the calm after it."""
    turn(arena, rng)
    Storm(arena).run(share * max(_STORM_MIN_S, _STORM_LEASES * arena.config.lease), _GAP_S)
    return arena.calm_down()


def cluster(seed: int, rng: Random, kind: str, *, with_voters: bool = True) -> Arena:
    """Three to nine nodes, three to five of them voters; some may not lead, and some have a pinned id."""
    count = rng.choice(_SIZES)
    voters = names(min(count, rng.randint(3, 5))) if with_voters else ()
    arena = Arena(seed, kind, lease=rng.choice(_LEASES), voters=voters, skew=rng.choice([0.02, 0.5]))
    turn(arena, rng)
    electable = [rng.random() > 0.1 for _ in range(count)]
    for i, name in enumerate(names(count)):
        pinned = f"p{rng.randrange(1_000)}" if rng.random() < 0.04 else None
        may_lead = electable[i] or not any(electable)
        arena.start([name], gap=rng.uniform(0.0, 0.3), electable=may_lead, pinned_id=pinned)
    return arena


def others(arena: Arena, *without: str) -> list[str]:
    return [name for name in arena.nodes if name not in without]


# --- storms


@kind(40)
def _weather(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """Anything at any time."""
    arena = cluster(seed, rng, "weather")
    arena.run(rng.uniform(0.0, 2 * arena.config.lease))
    return arena, storm(arena, rng)


@kind(10)
def _derived(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """The same without voters: two may lead at once in a storm, but not after it."""
    arena = cluster(seed, rng, "derived", with_voters=False)
    arena.run(rng.uniform(0.0, 2.0))
    turn(arena, rng)
    Storm(arena).run(_STORM_MIN_S, _GAP_S)
    return arena, arena.calm_down(300.0)


# --- attacks on a leader that is cut off


@kind(4)
def _reflected(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """A leader is cut off; what it sends comes back to it from those that it was meant for."""
    arena = Arena(seed, "reflected", lease=rng.choice(_LEASES), voters=names(rng.choice([3, 5])))
    arena.start(arena.voters)
    leader = arena.require_leader()
    arena.attacker.reflect([leader.address], copies=rng.randint(1, 3))
    arena.partition([leader.name])
    arena.run(rng.uniform(2.0, 6.0) * arena.config.lease)
    arena.clear()
    return arena, arena.calm_down()


@kind(4)
def _multiplied(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """Five voters are split 2 : 3; what a friend says is said again from other addresses."""
    arena = Arena(seed, "multiplied", lease=rng.choice(_LEASES), voters=names(5))
    arena.start(arena.voters)
    leader = arena.require_leader()
    friend = rng.choice(others(arena, leader.name))
    arena.attacker.multiply([leader.address], copies=4)
    if rng.random() < 0.5:
        arena.attacker.multiply([arena.nodes[friend].address], copies=4)
    arena.partition([leader.name, friend], others(arena, leader.name, friend))
    arena.run(rng.uniform(2.0, 6.0) * arena.config.lease)
    arena.clear()
    return arena, arena.calm_down()


@kind(3)
def _last_question(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """The leader is killed, and what it said last is repeated: somebody else leads within three leases."""
    arena = Arena(seed, "last_question", lease=rng.choice(_LEASES), voters=names(rng.choice([3, 5])))
    arena.start(arena.voters)
    leader = arena.require_leader()
    said = [each for each in arena.attacker.kept if each.source == leader.address and not each.stream]
    latest = [each for each in said if each.at > arena.now - arena.config.lease]
    arena.crash(leader.name)
    comes_back = rng.random() < 0.5
    if comes_back:
        arena.restart(leader.name, seeds=others(arena, leader.name))
    for packet in latest:
        for number in range(200):
            arena.attacker.send(packet, packet.source, packet.target, number * arena.config.lease / 10)
    return arena, arena.calm_down(3 * arena.config.lease + arena.config.silence_tolerance)


# --- trio


@kind(10)
def _functions(seed: int, rng: Random) -> tuple[None, None]:
    """What an application does with `run_while_leader`, on trio."""
    play(seed)
    return None, None


# --- who returns interrupts nobody


_RETURNS: dict[str, Callable[[Arena, list[str], float, Random], object]] = {
    "cut off": lambda arena, who, seconds, rng: arena.after(seconds, arena.heal, arena.partition(who)),
    "cut off one way": lambda arena, who, seconds, rng: arena.after(
        seconds, arena.heal, arena.partition(who, one_way=True)
    ),
    "deaf": lambda arena, who, seconds, rng: [arena.block_receive(name, seconds) for name in who],  # type: ignore[func-returns-value]
    "mute": lambda arena, who, seconds, rng: [arena.block_send(name, seconds) for name in who],  # type: ignore[func-returns-value]
    "paused": lambda arena, who, seconds, rng: [arena.pause(name, seconds) for name in who],  # type: ignore[func-returns-value]
    "asleep": lambda arena, who, seconds, rng: [arena.sleep(name, seconds) for name in who],  # type: ignore[func-returns-value]
    "restarted": lambda arena, who, seconds, rng: [_restart_after(arena, name, seconds, rng) for name in who],  # type: ignore[func-returns-value]
    "lossy": lambda arena, who, seconds, rng: _lose_for(arena, who, seconds, rng),
}


def _restart_after(arena: Arena, name: str, seconds: float, rng: Random) -> None:
    arena.crash(name)
    arena.after(
        seconds, lambda: arena.restart(name, seeds=others(arena, name), new_address=rng.random() < 0.3)
    )


def _lose_for(arena: Arena, who: list[str], seconds: float, rng: Random) -> None:
    share = rng.uniform(0.3, 0.9)
    arena.set_loss(incoming=dict.fromkeys(who, share), outgoing=dict.fromkeys(who, share))
    none = dict.fromkeys(who, 0.0)
    arena.after(seconds, lambda: arena.set_loss(incoming=none, outgoing=none))


def _return(
    arena: Arena, rng: Random, victims: Callable[[SimulatedNode], list[str]]
) -> tuple[Arena, float | None]:
    leader = arena.require_leader()
    who, how = victims(leader), rng.choice(list(_RETURNS))
    seconds = 2.5 * (60 / 2.5) ** rng.random()
    before = len(arena.oracle.terms)
    arena.note(f"{', '.join(who)}: {how} for {seconds:.1f} s, while {leader.name} leads")
    _RETURNS[how](arena, who, seconds, rng)
    arena.run(seconds + 20.0)
    begun = [name for _, name, _ in arena.oracle.terms[before:]]
    if begun and not _led_alone(arena, who, leader.name, begun):
        raise Finding("interrupted", f"{leader.name} by {', '.join(who)}, {how} for {seconds:.1f} s: {begun}")
    return arena, arena.calm_down(0.0 if how != "restarted" else 60.0)


def _led_alone(arena: Arena, who: list[str], leader: str, begun: list[str]) -> bool:
    """Without voters: one that believed itself alone led its own side, under a higher token.

    What it wrote under that is to be surpassed: the leader begins one term more, and only one.
    """
    return not arena.voters and begun == [*who, leader]


@kind(12)
def _returning(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """A minority of the voters is away, each in some way, and comes back: the leader's term goes on."""
    voters = names(rng.choice([3, 5]))
    more = names(rng.choice([0, 0, 2]), first=len(voters))
    arena = Arena(seed, "returning", lease=rng.choice(_LEASES), voters=voters)
    arena.start([*voters, *more])
    return _return(
        arena,
        rng,
        lambda leader: (
            rng.sample(
                [name for name in voters if name != leader.name], rng.randint(1, (len(voters) - 1) // 2)
            )
            + [name for name in more if name != leader.name and rng.random() < 0.3]
        ),
    )


@kind(4)
def _returning_derived(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """Without voters a member that was away costs the leader's functions nothing, unless it led alone."""
    arena = Arena(seed, "returning_derived", lease=3.0, voters=())
    arena.start(names(rng.choice([3, 4, 5, 7])))
    return _return(arena, rng, lambda leader: [rng.choice(others(arena, leader.name))])


# --- lists of voters that change by restarting, and other configurations


def _restart_all(arena: Arena, rng: Random, order: list[str], **options: Any) -> None:
    """One after the other, each with these options."""
    for name in order:
        arena.nodes[name].options.update(options)
        arena.restart(name, seeds=others(arena, name))
        arena.run(rng.choice([0.1, 0.5, 1.0, 2.0, 4.0, 8.0]) * rng.uniform(0.5, 1.5))


@kind(6)
def _rolling(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """The list is changed by restarting the nodes one after the other, with or without a partition."""
    count = rng.choice([3, 3, 5])
    old = names(count)
    lease = rng.choice(_LEASES)
    arena = Arena(seed, "rolling", lease=lease, voters=old)
    everybody = names(count + rng.randint(1, 2))
    arena.start(everybody)
    arena.require_leader()
    kept = rng.sample(old, count - 1)
    new = tuple(sorted([*kept, *rng.sample(everybody[count:], 1)]))
    arena.note(f"voters from {old} to {new}")
    arena.voters = new
    partitioned = rng.random() < 0.3
    if partitioned:
        arena.partition(rng.sample(everybody, rng.randint(1, len(everybody) - 1)))
    _restart_all(arena, rng, rng.sample(everybody, len(everybody)), voters=new)
    arena.clear()
    if partitioned:  # a node that was restarted alone has founded a cluster by its own list, and is told so
        arena.run(20.0)
        return arena, None
    return arena, arena.calm_down()


@kind(3)
def _shorter(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """The lease is made shorter, or longer, by restarting the nodes one after the other."""
    old, new = rng.choice([(10.0, 1.0), (30.0, 3.0), (3.0, 1.0), (1.0, 3.0)])
    arena = Arena(seed, "shorter", lease=old, voters=names(rng.choice([3, 5])))
    arena.start(arena.voters)
    leader = arena.require_leader(5 * old)
    if rng.random() < 0.7:
        arena.partition([leader.name])
    order = rng.sample(arena.voters, len(arena.voters))
    if rng.random() < 0.7:
        order.remove(leader.name)
    _restart_all(arena, rng, order, config=Config.lan(lease=new))
    arena.run(old)
    arena.clear()
    if leader.name not in order:
        _restart_all(arena, rng, [leader.name], config=Config.lan(lease=new))
    arena.config = Config.lan(lease=max(old, new))
    return arena, arena.calm_down()


@kind(3)
def _replaced(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """A voter that cannot be reached is replaced by a new machine under its name, while a partition lasts."""
    count = rng.choice([3, 5])
    arena = Arena(seed, "replaced", lease=rng.choice(_LEASES), voters=names(count))
    arena.start(arena.voters)
    leader = arena.require_leader()
    side = [leader.name, *rng.sample(others(arena, leader.name), count // 2)]
    rest = others(arena, *side)
    arena.partition(side, rest)
    arena.run(rng.uniform(0.0, 3.0) * arena.config.lease)
    twin = rng.choice(side[1:])
    new = arena.add_node(twin, rest, alias=f"new-{twin}", voters=arena.voters)
    arena.fabric.cuts += arena.partition([*side], [new.name])
    arena.run(rng.uniform(2.0, 8.0) * arena.config.lease + 5.0)
    return arena, None


@kind(4)
def _stray(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """A member with another list of voters, or another lease, joins: the healthy leader does not notice."""
    arena = Arena(seed, "stray", lease=rng.choice(_LEASES), voters=names(rng.choice([3, 5])))
    arena.start([*arena.voters, *names(rng.choice([0, 2]), first=5)])
    leader = arena.require_leader()
    stray = rng.choice(["stray", "n9"])
    arena.oracle.strangers.add(stray)
    term, before = leader.core.term, len(arena.oracle.terms)
    listed = rng.choice([(stray,), (*arena.voters, stray), (*arena.voters[1:], stray), arena.voters[:1]])
    given: dict[str, Any] = {"voters": listed} if rng.random() < 0.8 else {"config": Config.lan(lease=2.0)}
    arena.note(f"{stray} joins with {given}")
    arena.start([stray], **given)
    arena.run(15.0)
    begun = len(arena.oracle.terms) - before
    if leader.core.term != term:
        raise Finding("interrupted", f"{leader.name} by {stray}, {begun} terms began in 15 s")
    if begun > 5:
        raise Finding("storm of terms", f"{begun} terms began in 15 s at {stray}")
    return arena, arena.calm_down(0.0)


def _ask_for_voters(node: SimulatedNode, request: bytes) -> dict[str, Any]:
    """As `Cluster.set_voters` does it."""
    answer = node.core.answer(UserMessage(request), Address("192.0.2.1", 1), node.now())
    node.flush()
    state = read_state(answer.payload) if isinstance(answer, UserMessage) else None
    assert state is not None
    return state


def _set_voters(arena: Arena, voters: tuple[str, ...], pass_time: Callable[[], None]) -> None:
    """Ask whoever leads, until all is done."""
    began = arena.now
    while arena.now < began + 10 * arena.config.lease + 10.0:
        for leader in arena.acting()[:1]:
            state = _ask_for_voters(leader, request_for())
            if state["me"] and tuple(state["v"]) == voters and not state["o"]:
                return
            if state["me"] and not state["o"]:
                _ask_for_voters(leader, request_for(voters, state["c"], state["t"]))
        pass_time()
    raise Finding("not set", f"the voters are not {voters}:\n{arena.describe()}")


@kind(3)
def _set_anew(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """Five voters are replaced by new machines, one by one, by `set_voters`; each old one is stopped.

    No gap is longer than a lease and half a second, and no node is restarted. The host of an old voter may be
    lost instead, also that of the leader.
    """
    arena = Arena(seed, "set_anew", lease=rng.choice(_LEASES), voters=names(5))
    arena.start(arena.voters)
    arena.require_leader()
    acted = arena.now

    def pass_time() -> None:
        nonlocal acted
        arena.run(0.02)
        if arena.acting():
            acted = arena.now
        elif arena.now - acted > arena.config.lease + 0.5:
            raise Finding("gap", f"nobody has acted for {arena.now - acted:.2f} s")

    for old in rng.sample(arena.voters, 5):
        new = f"m{old}"
        arena.add_node(new, rng.sample([node.name for node in arena.running()], 2), voters=names(5))
        until = arena.now + rng.uniform(0.5, 3.0)
        while arena.now < until:
            pass_time()
        arena.voters = tuple(new if name == old else name for name in arena.voters)
        _set_voters(arena, arena.voters, pass_time)
        rng.choice([arena.leave, arena.crash, arena.lose_host])(old)
        until = arena.now + 2 * arena.config.lease + rng.uniform(0.5, 3.0)
        while arena.now < until:
            pass_time()
    return arena, arena.calm_down()


@kind(3)
def _lists_differ(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """The voters are restarted with a new list, workers of lower id not: somebody leads, and all follow."""
    old, new = names(3), names(3, first=1)
    arena = Arena(seed, "lists_differ", lease=rng.choice(_LEASES), voters=old)
    workers = [f"w{i}" for i in range(rng.randint(2, 6))]
    arena.start(workers)
    arena.start(names(4))
    arena.require_leader()
    arena.voters = new
    _restart_all(arena, rng, list(new), voters=new)
    return arena, arena.calm_down()


# --- cuts after which nobody led, or not all followed


@kind(4)
def _dedicated(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """Voters that may not lead, and workers: one is cut off, the others lead and end, the cut heals."""
    arena = Arena(seed, "dedicated", lease=rng.choice(_LEASES), voters=names(3))
    arena.start(arena.voters, electable=False)
    workers = [f"w{i}" for i in range(rng.choice([2, 2, 3]))]
    arena.start(workers)
    leader = arena.require_leader()
    away = leader.name if rng.random() < 0.7 else rng.choice(workers)
    cuts = arena.partition([away])
    arena.run(rng.uniform(2.0, 10.0))
    for name in workers:
        if name != away and rng.random() < 0.8:
            arena.leave(name) if rng.random() < 0.3 else arena.crash(name)
    arena.run(rng.uniform(0.0, 3.0))
    arena.heal(cuts)
    if not arena.nodes[away].running:
        arena.restart(away)
    return arena, arena.calm_down()


@kind(4)
def _ended_meanwhile(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """The leader is cut off, the next one leads and is restarted, then the cut heals: all follow one."""
    arena = Arena(seed, "ended_meanwhile", lease=rng.choice(_LEASES), voters=names(rng.choice([3, 3, 4, 5])))
    arena.start(arena.voters)
    first = arena.require_leader()
    cuts = arena.partition([first.name])
    arena.run_until(lambda: any(node is not first for node in arena.acting()), 20.0)
    arena.run(rng.uniform(0.0, 3.0))
    second = next((node for node in arena.acting() if node is not first), None)
    if second is not None:
        arena.crash(second.name)
        arena.run(rng.choice([0.0, 0.0, 1.0, 5.0]) * rng.random())
        arena.restart(second.name, seeds=others(arena, second.name, first.name))
        arena.run(rng.uniform(0.0, 1.0))
    arena.heal(cuts)
    return arena, arena.calm_down()


@kind(3)
def _hears_no_voter(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """The first in the queue, no voter, does not hear the voters: the next one acts before long."""
    arena = Arena(seed, "hears_no_voter", lease=rng.choice(_LEASES), voters=names(3))
    arena.start(["w0", "w1", *names(3)] if rng.random() < 0.7 else ["w0", *names(3)])
    leader = arena.require_leader()
    arena.partition(arena.voters, ["w0"], one_way=True)
    if leader.name != "w0":
        arena.yield_leadership(leader.name)
    limit = 10 * arena.config.lease + 20.0
    if arena.run_until(lambda: any(node.name != "w0" for node in arena.acting()), limit) is None:
        raise Finding("no leader", f"for {limit:.0f} s while w0 hears no voter")
    arena.clear()
    return arena, arena.calm_down()


# --- former lives


@kind(3)
def _former_life(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """All of a cluster's packets are sent again after all were restarted: no old broadcast is news."""
    arena = Arena(
        seed, "former_life", lease=rng.choice(_LEASES), voters=names(3) if rng.random() < 0.7 else ()
    )
    everybody = names(rng.choice([3, 4, 5]))
    arena.start(everybody)
    arena.require_leader()
    for number in range(3):
        arena.broadcast(rng.choice(everybody), "old", b"%d" % number)
    arena.start(["gone"])
    arena.run(3.0)
    arena.leave("gone")
    arena.run(rng.uniform(1.0, 5.0))
    former = list(arena.attacker.kept)
    for name in everybody:
        arena.crash(name)
    arena.run(rng.choice([5.0, 600.0, 86_400.0]))
    told = len(arena.messages)
    for name in everybody:
        arena.set_clock(name)
        arena.restart(name)
        arena.run(rng.uniform(0.0, 0.5))
    for packet in former:
        arena.attacker.send(packet, packet.source, packet.target, rng.uniform(0.0, 10.0))
    arena.run(15.0)
    if len(arena.messages) > told:
        raise Finding("old broadcast", f"{arena.messages[-1]}")
    if any(member.name == "gone" for node in arena.running() for member in node.core.members()):
        raise Finding("old member", "one that had left is a member again")
    return arena, arena.calm_down()


@kind(2)
def _waiting(seed: int, rng: Random) -> tuple[Arena, float | None]:
    """A node waits for its seeds, and is told an old cluster's packets: it founds nothing."""
    voters = names(rng.choice([1, 3])) if rng.random() < 0.5 else ()
    arena = Arena(seed, "waiting", lease=rng.choice(_LEASES), voters=voters)
    arena.start(names(3))
    arena.run(5.0)
    former = list(arena.attacker.kept)
    for name in names(3):
        arena.crash(name)
    arena.run(rng.choice([10.0, 86_400.0]))
    before = len(arena.oracle.terms)
    arena.set_clock("n2")
    arena.restart("n2", seeds=["n0"])
    victim = arena.nodes["n2"].address
    for packet in former:
        arena.attacker.send(packet, packet.source, victim, rng.uniform(0.0, 20.0))
    arena.run(25.0)
    if len(arena.oracle.terms) > before or arena.nodes["n2"].core.phase.value != "joining":
        raise Finding("founded", "a node that waits for its seeds led, or founded a cluster")
    return arena, None
