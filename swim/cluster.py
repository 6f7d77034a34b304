"""`open_cluster` and the `Cluster` that it yields: what an application holds in its hands."""

from __future__ import annotations

import logging
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from dataclasses import fields
from threading import get_ident
from typing import TypeVar

import trio

from swim.config import Config
from swim.errors import JoinError, KeyringError
from swim.messages import Answer
from swim.protocol.base.networks import Networks
from swim.protocol.leases.grantor import LIMIT_MAX
from swim.protocol.node import Node
from swim.runtime.arguments import (
    check_function,
    check_text,
    checked_bytes,
    checked_number,
    checked_text,
    checked_texts,
)
from swim.runtime.clock import NodeClock
from swim.runtime.driver import Driver
from swim.runtime.feeds.inbox import MessageStream
from swim.runtime.feeds.subscriptions import EventStream
from swim.runtime.host import SocketHost
from swim.runtime.kept.mail import checked_topic
from swim.runtime.kept.serving import Handler
from swim.runtime.network import Transport, simulated_host
from swim.runtime.nurseries import unwrapped_nursery
from swim.runtime.running import running
from swim.runtime.settling import wait_settled
from swim.runtime.sockets.resolve import Seeds, advertised_address, require_reachable, resolve_one
from swim.runtime.voters import ask_at, change_voters
from swim.statistics import Statistics
from swim.types import Address, Explanation, Leadership, Lease, Member, MemberState, Term
from swim.wire import Codec, Keyring
from swim.wire.leases import LEASE_NAME_SIZE_MAX
from swim.wire.messages import StreamMessage, UserMessage

__all__ = ["Cluster", "open_cluster"]

_logger = logging.getLogger("swim")

_NAME_SIZE_MAX = 128  # Serf's limit

T = TypeVar("T")


@asynccontextmanager
async def open_cluster(
    name: str | None = None,
    *,
    bind: str = "0.0.0.0:7946",
    seeds: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    advertise: str | None = None,
    id: str | None = None,
    voters: Sequence[str] = (),
    electable: bool = True,
    keys: Sequence[bytes] = (),
    label: str = "",
    allowed_networks: Sequence[str] = (),
    config: Config | None = None,
    on_bound: Callable[[Address], None] | None = None,
    wall: Callable[[], float] | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[Cluster]:
    """Become a member of a cluster for as long as the body runs, then leave gracefully.

    Entering waits until this node is a member, for ever if need be. To give up after a while::

        with trio.fail_after(30) as scope:
            async with swim.open_cluster(seeds=["swim.internal"]) as cluster:
                scope.deadline = math.inf  # a member: from here on take your time
                ...

    >>> import swim, trio
    >>> async def main():
    ...     async with swim.open_cluster("a", bind="127.0.0.1:0") as cluster:  # no seeds: founds a cluster
    ...         print(cluster.name, cluster.is_leader, [member.name for member in cluster.members()])
    >>> trio.run(main)
    a True ['a']

    When the body ends, for whatever reason, the node says farewell (shielded, at most `Config.leave_linger`
    and two seconds). A single exception of the body emerges as itself.

    Args:
        name: Unique in the cluster, at most 128 bytes. By default the advertised address.
        bind: ``host:port`` or ``[IPv6]:port`` for UDP and TCP; port 0 takes any that is free for both;
            ``[::]:port`` serves IPv4 as well.
        seeds: Any members of the cluster, ``host[:port]``; names are resolved to all their addresses, again
            and again. Without seeds the node founds a cluster. A node whose own address is among its seeds
            founds one when none of the others answers.
        tags: What all members can see of this one; Serf's limit is 512 bytes in all.
        advertise: ``host[:port]`` where others reach this node, if not where it is bound.
        id: Pins the id that decides which member leads; by default it is made when the node joins.
        voters: The names of some members, the same at all nodes. A leader then exists only with a lease
            from a majority of them, so that two never overlap. Without voters it follows from the members.
        electable: Whether this node may lead.
        keys: 16, 24 or 32 bytes each. With keys all traffic is encrypted, with the first of them.
        label: Keeps clusters on one network apart.
        allowed_networks: CIDR, such as ``10.0.0.0/8``; only these may talk to us and be members.
        config: `Config.lan()` by default.
        on_bound: Called with the advertised address once bound, before the cluster is looked for.
        wall: Seconds since the epoch, for ids and for noticing wrong clocks; by default `time.time`.
        rng: For everything that is left to chance, except for nonces and keys.

    Raises:
        AddressInUse: Another process has the address.
        OSError: The address cannot be bound to, for another reason.
        JoinError: No seed resolves, the clocks differ too much, or others could not reach this node. The
            node retries by itself as long as that can help.
        NameConflict: Another live member has the name. Also later, when that is found out only then:
            the body is cancelled.
        KeyringError: A key of the wrong length, or no `cryptography` package.
        TagsError: The tags cannot be carried.
        ValueError: A name, address, network or label that is none; voters that are no list of names.
    """
    config = Config.lan() if config is None else config
    _check_types(config, {"bind": bind, "advertise": advertise, "id": id, "the label": label})
    _check_names(name, voters)
    host = simulated_host.get() or SocketHost()
    keyring = _keyring(keys, host.random_bytes)
    codec = Codec(label=label, keyring=keyring)
    networks = Networks(checked_texts("allowed networks", allowed_networks))
    known_seeds = Seeds(seeds)
    with closing(host.open_transport(*await resolve_one(bind))) as transport:
        address, seed_addresses = await _locate(transport, advertise, known_seeds)
        clock = NodeClock(host.suspended)
        node = Node(
            str(address) if name is None else name,
            address,
            config=config,
            codec=codec,
            rng=rng or random.Random(host.random_bytes(32)),
            wall=lambda now: (wall or host.wall)() + (now - clock.now()),
            tags=tags,
            pinned_id=id,
            voters=voters,
            electable=electable,
            networks=networks,
        )
        if on_bound is not None:
            on_bound(address)
        fixed = advertise is not None
        driver = Driver(node, transport, known_seeds, networks, clock, host.random_bytes, advertised=fixed)
        async with running(driver, seed_addresses):
            _logger.info("%s: a member, at %s", node.name, address)
            host.opened(cluster := Cluster(driver, keyring))
            yield cluster


class Cluster:
    """The cluster as one of its members sees it. Made by `open_cluster`.

    What is asked of it is answered from this node's view, at once. After the end of `open_cluster`'s body
    the last view remains; everything that acts raises `trio.ClosedResourceError`. It acts in the thread of
    its `trio.run` only, and elsewhere raises RuntimeError: see `trio.from_thread`.

    >>> import swim, trio
    >>> async def roles(cluster: swim.Cluster) -> list[str]:
    ...     await cluster.wait_for(lambda cluster: len(cluster.members()) == 2)
    ...     return [member.name for member in cluster.members(role="db")]
    >>> async def first(events: swim.EventStream) -> str:
    ...     return type(await anext(events)).__name__
    >>> async def main():
    ...     async with (
    ...         swim.open_cluster("a", bind="127.0.0.1:0", tags={"role": "db"}) as a,
    ...         swim.open_cluster("b", bind="127.0.0.1:0", seeds=[str(a.address)]) as b,
    ...         a.events() as events,
    ...     ):
    ...         print(await roles(a), (await b.wait_for_leader()).name, await first(events))
    ...         leadership: swim.Leadership = b.leadership
    ...         print(leadership.leader.name, leadership.term, leadership.problem)
    ...         explanation: swim.Explanation = a.explain("b")
    ...         print(explanation.observers, explanation.observed_here)
    ...
    ...         async def lead(term: swim.Term) -> str:
    ...             return f"a leads, and has a token of {len(term.token)} characters"
    ...
    ...         print(await a.run_while_leader(lead))
    ...
    ...         async def serve(lease: swim.Lease) -> str:
    ...             return f"b owns {lease.name}"
    ...
    ...         async with a.hold("invoice/42") as lease:  # a lock of the whole cluster
    ...             print((await b.owner("invoice/42")).name, "holds", *a.held())
    ...         print(await b.run_while_owner("shard/7", serve))
    >>> trio.run(main)
    ['a'] a Snapshot
    a None None
    ('a',) True
    a leads, and has a token of 26 characters
    a holds invoice/42
    b owns shard/7
    """

    def __init__(self, driver: Driver, keyring: Keyring | None) -> None:
        self._driver = driver
        self._keyring = keyring
        self._node = driver.node
        self._thread = get_ident()

    @property
    def _here(self) -> Driver:
        """For all that waits for something, or changes it: trio's tasks can only be woken where they run."""
        if get_ident() != self._thread:
            raise RuntimeError(
                "this cluster runs in another thread: use it there, by trio.from_thread.run or run_sync"
            )
        return self._driver

    def __repr__(self) -> str:
        return f"<Cluster: {self.me}, {len(self.members())} members, {self._node.phase.value}>"

    # --- views
    @property
    def name(self) -> str:
        """This node's name."""
        return self._node.name

    @property
    def address(self) -> Address:
        """The address at which others find this node."""
        return self._node.address

    @property
    def me(self) -> Member:
        """This node, as others see it."""
        return self._node.me

    @property
    def leader(self) -> Member | None:
        """The leader in this node's view; None while no member is electable."""
        return self._node.leader

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, in its own view."""
        leader = self._node.leader
        return leader is not None and leader.name == self._node.name

    @property
    def leadership(self) -> Leadership:
        """Which member leads and on what grounds, this node's term if it has one, and what is in the way."""
        return self._node.leadership(self._driver.now())

    def members(self, /, **tags: str) -> tuple[Member, ...]:
        """All present members with these tags, this node included, in the order in which they joined."""
        members = self._node.members()
        if not tags:
            return members
        return tuple(member for member in members if tags.items() <= member.tags.items())

    def available(self, /, **tags: str) -> tuple[Member, ...]:
        """As `members`, without those that are suspected: for work that should not wait for the dead.

        A member that has just died is among them until it is suspected.
        """
        return tuple(member for member in self.members(**tags) if member.state is MemberState.ALIVE)

    def member(self, name: str) -> Member | None:
        """The present member of this name; None when there is none."""
        return next((member for member in self._node.members() if member.name == name), None)

    def phi(self, member: Member | str) -> float:
        """How improbable the silence of a member is: -log10 of the probability that it is alive.

        phi accrual (Hayashibara et al. 2004), over the probes in flight. 0 while it answers, and for members
        that this node does not observe itself. From 3 on it is suspected; from 8 on this node would give
        it up. Raises KeyError as `explain` does.
        """
        return self.explain(member).phi

    def explain(self, member: Member | str) -> Explanation:
        """What this node knows of a member's health: its observers, and its accusers with their evidence.

        Raises KeyError when there is no present member of this name.
        """
        explanation = self._node.explain(_name(member), self._driver.now())
        if explanation is None:
            raise KeyError(f"{_name(member)!r} is no member: see Cluster.members()")
        return explanation

    def statistics(self) -> Statistics:
        """What this node has sent, received, seen and dropped so far, and how it fares."""
        traffic, seen = self._driver.transport.traffic, self._driver.subscriptions.seen
        core = self._node.statistics(self._driver.now())
        return Statistics(
            **{field.name: getattr(core, field.name) for field in fields(core)},
            tx_packets=traffic.tx_packets,
            tx_bytes=traffic.tx_bytes,
            rx_packets=traffic.rx_packets,
            rx_bytes=traffic.rx_bytes,
            stream_tx_bytes=traffic.stream_tx_bytes,
            stream_rx_bytes=traffic.stream_rx_bytes,
            streams=traffic.streams,
            messages=self._driver.mail.counts(),
            unacknowledged=self._driver.mail.unacknowledged,
            events=seen.events(),
            failures=dict(seen.failures),
            dropped=dict(traffic.dropped + Counter(self._node.dropped)),
        )

    # --- changes
    def events(self) -> EventStream:
        """What happens: ``async with cluster.events() as events: async for event in events: ...``.

        First a `Snapshot`, then a value for every change (see `swim.events`). A reader that falls behind by
        more than `Config.event_buffer` gets a fresh `Snapshot` in place of what it missed. The iteration
        ends when the cluster is closed.
        """
        return EventStream(self._here.subscriptions)

    def messages(self, topic: str = "") -> MessageStream:
        """What others send to this node: ``async with cluster.messages() as messages: async for ...``.

        Yields `DirectMessage`, `Broadcast` and `Lagged`. Direct messages are those of this topic, and
        broadcasts those whose name it is; without a topic, direct messages that have none, and all
        broadcasts. Whatever becomes of one topic's messages, those of others arrive.

        Direct messages that come while there is no reader wait for the first one; broadcasts do not. Of
        several streams of one topic each has all messages, and a sender waits for the slowest. The iteration
        ends when the cluster is closed. Raises ValueError for a topic of more than 128 bytes.
        """
        return MessageStream(self._here.inbox, checked_topic(topic))

    async def wait_for(self, predicate: Callable[[Cluster], bool]) -> None:
        """Wait until ``predicate(cluster)`` is true. It is asked now and after every change.

        Raises `trio.ClosedResourceError` when the cluster is closed before.
        """
        await self._here.until(lambda: predicate(self))

    async def settled(self) -> None:
        """Wait until all present members know this node's tags as they are now: say, that it takes no more
        work, before it stops to. Each is told them, and acknowledges that.

        A member that does not answer is waited for until it does or is given up; to wait for less long, use
        a cancel scope. Raises `trio.ClosedResourceError` when the cluster is closed before.
        """
        await wait_settled(self._here)

    async def wait_for_leader(self) -> Member:
        """Wait until there is a leader, as far as this node knows; returns it. This node may be it.

        Raises `trio.ClosedResourceError` when the cluster is closed before.
        """
        await self._here.until(lambda: self.leader is not None)
        assert self.leader is not None
        return self.leader

    # --- leading
    async def run_while_leader(self, function: Callable[[Term], Awaitable[T]]) -> T:
        """Run ``await function(term)`` whenever this node leads, and cancel it when it does not any more.

        Waits until this node has a term of leadership. When the term ends, or is in doubt, the function is
        cancelled as by a `trio.CancelScope`; after its clean-up, however long that takes, all begins anew:
        with the next term the function is started again. When it returns by itself it has done its work,
        and what it returned is returned here, whether or not this node still leads. What it raises is raised.

        Its cancel scope has the end of the term as its deadline, which is set ahead of time and moved on
        while all is well. So a process that was frozen goes no further than the function's next checkpoint
        when it wakes, and `trio.current_effective_deadline` tells the function how long it may rely on its
        term. A function that comes to no checkpoint cannot be cancelled: give `Term.token` to whatever it
        writes to, which should refuse a lower one.

        With voters no other node leads while the function cleans up, for a sixth of the lease in any case
        (0.5 s of 3 s), since it is cancelled so much before. While this node reaches the voters (it yields,
        leaves, or has to begin another term) it keeps the lease until the clean-up has ended. What cleans
        up for longer although the lease could not be renewed may overlap the next leader: shorten the
        clean-up, or choose a longer `Config.lease`. Without voters nothing of that is covered.

        May be called several times, also at once; each call goes its own way.

        Raises `trio.ClosedResourceError` when the cluster is closed, after the function's clean-up. A node
        that leaves gracefully says so to the others only after that.
        """
        check_function("function", function)
        return await self._here.leading.run(function)

    # --- names
    def hold(self, name: str, limit: int = 1) -> AbstractAsyncContextManager[Lease]:
        """Hold a name: a lock of the whole cluster, or with a `limit` a semaphore.

        ::

            async with cluster.hold("invoice/42") as lease:  # waits for its turn
                await charge(fencing=lease.token)

        The leader grants it, first come, first served, to at most `limit` blocks of all nodes at a time; what
        waits asks again as long as there is no leader. The block is cancelled before the lease can be
        another's: when the leader has not prolonged it (`Config.session`), or when this node leaves. Then
        `LeaseLost` comes out of it. A twelfth of the session (0.5 s of 6 s) is left for its clean-up. The
        end is the deadline of the block's scope, set ahead of time and moved on while all is well, as it is
        for `run_while_leader`. A new leader asks all holders what they hold, and interrupts none.

        With voters there are at no instant more than `limit` holders, for the same conditions as those of
        the leader's functions: clocks that run within 1 % of each other, code that passes checkpoints. And
        the tokens of one name rise. Without voters it is as good as the derived leader: in a partition
        each side has holders of its own, and so it is for a moment around a change of the leader.

        Args:
            name: 1 to 128 bytes of text. Names need not be told to anybody before.
            limit: 1 to 65,535; the same at all that use the name.

        Raises:
            LeaseLost: The block was cancelled, since the lease was over.
            LeaseRefused: The name is in use with another limit, or the leader has no room for it.
            ValueError: For a name or a limit that cannot be.
            trio.ClosedResourceError: The cluster was closed before it was granted.
        """
        return self._here.holding.lease(_checked_name(name), checked_number("limit", limit, LIMIT_MAX))

    async def run_while_owner(self, name: str, function: Callable[[Lease], Awaitable[T]]) -> T:
        """Run ``await function(lease)`` whenever this node owns the name, and cancel it when it does not.

        Of all nodes that call this with the name one owns it, whichever the leader chooses. Names of one
        group (those with the same text before the last ``/``) are spread evenly over the nodes that offer
        themselves for them, within one of each other. When a node comes, as many move as have to: the
        function is cancelled there, cleans up, and is started here. When a node leaves it hands over after
        its clean-up. When it dies its names go to others at once without voters, and after
        `Config.session` with them.

        For all else it is as `run_while_leader`: started again whenever the name is owned again; returns
        what the function returns by itself; what it raises is raised. What is promised of two owners, and of
        their tokens, is what `hold` promises.

        Raises `LeaseRefused` and ValueError as `hold` does; `trio.ClosedResourceError` when the cluster is
        closed, after the function's clean-up.
        """
        check_function("function", function)
        return await self._here.holding.run(_checked_name(name), function)

    async def run_shards(self, names: Iterable[str], function: Callable[[Lease], Awaitable[object]]) -> None:
        """`run_while_owner` for each of these names, all at once: this node's share of them runs here.

        Returns when the function has returned by itself for each of them. An exception that it raises cancels
        all others and is raised (several at once as a group).
        """

        async def one(name: str) -> None:
            with suppress(trio.ClosedResourceError):  # it is said once, below
                await self.run_while_owner(name, function)

        async with unwrapped_nursery() as nursery:
            for name in dict.fromkeys(checked_texts("names", names)):
                nursery.start_soon(one, name)
        self._here.require_open()

    async def owner(self, name: str) -> Member | None:
        """The member that holds the name now, as the leader says; None if none does. Waits for a leader.

        Of several the one that has held it for the longest. Raises ValueError for a name that cannot be, and
        `trio.ClosedResourceError` when the cluster is closed before.
        """
        return self._node.member(await self._here.holding.owner(_checked_name(name)))

    def held(self) -> tuple[str, ...]:
        """The names that this node holds or owns now, sorted."""
        return tuple(self._node.leases.holder.held(self._driver.now()))

    def granted(self) -> dict[str, tuple[Member, ...]]:
        """While this node leads: all names that are held, as far as it has heard of them, and which members
        hold each. Empty while another one leads."""
        owners, member = self._node.leases.grantor.owners(), self._node.member
        return {name: tuple(filter(None, map(member, names))) for name, names in owners.items()}

    def yield_leadership(self) -> None:
        """If this node leads: end its functions, step down, and go to the back of the queue.

        The next one takes over as soon as the functions' clean-up is done. To wait for that:
        ``await cluster.wait_for(lambda cluster: not cluster.is_leader)``. A node that is the only one that
        may lead leads again, with a new term. Raises ValueError with a pinned id.
        """
        self._here.yield_leadership()

    # --- actions
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Replace this node's tags by these. Raises `TagsError`, and then nothing has changed."""
        self._here.require_open()
        self._node.set_tags(tags, self._driver.now())
        self._driver.settle()

    def set_keys(self, keys: Sequence[bytes]) -> None:
        """Replace the keys, the first of which encrypts. Raises `KeyringError`, and then nothing has changed.

        To change the key of a running cluster: give (old, new) to every member in turn, then (new, old),
        then (new).
        """
        self._here.require_open()
        if self._keyring is None:
            raise KeyringError("this node was opened without keys, and encryption cannot be turned on later")
        self._keyring.replace(_checked_keys(keys))

    async def send(self, member: Member | str, payload: bytes, *, topic: str = "") -> None:
        """Send a message to one member, which finds it in its `messages` of this topic. At most 1 MiB.

        A name stands for the process that has it now; a `Member` for just this process (`Member.process`):
        what is sent to it never reaches one that was started after it.

        Reliable, and in order within a topic, each message once, as long as both processes live and this node
        counts the member as one. Returns when the message is accepted: at most 256 KiB may be on their way to
        one member in one topic (each message counting 64 bytes beside its payload; a larger one goes alone),
        until its application has read them, and 16 MiB of memory in all topics; otherwise this waits.
        So it cannot tell of a message that it did not arrive; for that there is `request`. When this node
        leaves, what it has sent has a second to arrive.

        Raises:
            SendError: It is not or no longer a member, is none of ours (memberlist, Serf), or no stream to it
                could be opened for `Config.pause_tolerance` and 30 seconds. Its `unacknowledged` says how
                many messages that were sent before may not have arrived.
            PayloadTooLarge: More than 1 MiB.
            ValueError: The topic has more than 128 bytes.
        """
        self._here.require_open()
        await self._driver.mail.send(_checked_member(member), topic, payload)

    async def request(self, member: Member | str, payload: bytes, *, topic: str = "") -> bytes:
        """Ask one member, and wait for its answer, which `serve` gives there. Each has at most 1 MiB.

        The request is carried out **at most once**, by the process that has the name now (or that the
        `Member` stands for), and the answer is that process's. If there is an answer it was carried out; if
        this raises, or is cancelled, it may have been, unless its handler had not begun. It waits while all
        that serve the topic are busy: bound that with a cancel scope. To cancel it cancels its handler.

        Raises:
            RequestError: The handler raised an exception, of which this tells the name and the text; or the
                topic was not served there for two seconds ("Unserved").
            SendError: As of `send`; also when the member is gone, or has given this node up, while it is
                asked.
            PayloadTooLarge: More than 1 MiB.
            ValueError: The topic has more than 128 bytes.
        """
        self._here.require_open()
        return await self._driver.mail.request(_checked_member(member), topic, payload)

    @asynccontextmanager
    async def serve(self, topic: str, handler: Handler, *, limit: int = 64) -> AsyncIterator[None]:
        """Carry out requests of this topic while the block runs: ``await handler(sender, payload)``.

        What the handler returns is the answer, at most 1 MiB; an exception that it raises is the asker's (see
        `RequestError`), and logged here. It is cancelled when the asker has cancelled the request, or is
        gone. Up to `limit` run at once, begun in the order in which they came; further ones wait, and hold up
        their askers. When the block ends those that run are cancelled, which their askers are told, and those
        that wait are for the next that serves the topic.

        Raises ValueError when this process serves the topic already, and for a bad topic or limit.
        """
        self._here.require_open()
        check_function("handler", handler)
        topic, limit = checked_topic(topic), checked_number("limit", limit, sys.maxsize)
        async with self._driver.mail.serving.serve(topic, handler, limit):
            yield

    def query(
        self, topic: str, payload: bytes, *, patience: float = 15.0
    ) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[Answer]]:
        """Ask all members at once, this one too; what it yields has their answers, as they come.

        >>> def shown(answer: swim.Answer) -> str:
        ...     return answer.problem if answer.payload is None else answer.payload.decode()
        >>> async def ask_all(cluster: swim.Cluster) -> None:
        ...     async with cluster.query("load", b"") as answers:
        ...         async for answer in answers:
        ...             print(answer.member.name, shown(answer))

        Each member answers at most once, by what serves the topic there (see `serve`). Serf agents are asked
        by a Serf query of that name, which may get lost: 1,024 bytes at most, the name and some 120 bytes
        included. The iteration ends when all have answered, or after `patience` seconds: then the others have
        a `problem`. To leave the block early cancels the requests.

        A Serf agent's query reaches what serves the topic of its name likewise.

        Raises `PayloadTooLarge`, and ValueError for a bad topic.
        """
        self._here.require_open()
        if not patience >= 0:
            raise ValueError(f"patience={patience!r}: give seconds, 0 or more")
        return self._driver.queries.ask(topic, payload, patience)

    def force_leave(self, name: str) -> None:
        """A member that has failed is not coming back: no member looks for it any more.

        Members that have failed are asked for a day whether they live. Serf agents show it as left. If its
        process lives after all, it is a member again when it finds one.

        Raises ValueError where it is a member, or has not failed (lately).
        """
        self._here.require_open()
        self._node.force_leave(name, self._driver.now())
        self._driver.settle()

    def broadcast(self, name: str, payload: bytes) -> None:
        """Tell all members, this one included: they find it in their `messages`, each once.

        Name and payload have at most 512 bytes together (Serf's limit). It goes with the gossip: it is there
        within milliseconds, in no particular order, and members that miss it are told when they next exchange
        everything with another. Serf agents see it as a user event of this name.

        Raises `PayloadTooLarge`, and ValueError for an empty name.
        """
        self._here.require_open()
        check_text("the name of a broadcast", name)
        self._node.broadcast(name, checked_bytes("a payload", payload), self._driver.now())
        self._driver.settle()

    async def join(self, seeds: Sequence[str]) -> Address:
        """Join the cluster that has any of these members (``host[:port]``): the two become one.

        All their addresses are tried at once. Returns the first that answered. Raises `JoinError` when none
        did, saying what was wrong with each; ValueError for a text that is not an address.
        """
        self._here.require_open()
        resolver = Seeds(seeds)
        found = await resolver.resolve(self._driver.transport.family)
        addresses = [address for address in found if address != self.address]
        require_reachable(self.address, addresses)
        problems = dict(resolver.problems)
        joined: list[Address] = []

        async def exchange(address: Address) -> None:
            problem = await self._driver.sync(address)
            if problem is None:
                joined.append(address)
                nursery.cancel_scope.cancel()
            else:
                problems[str(address)] = problem

        async with trio.open_nursery() as nursery:
            for address in addresses:
                nursery.start_soon(exchange, address)
        if not joined:
            self._here.require_open()
            reasons = "; ".join(f"{text}: {problem}" for text, problem in problems.items())
            raise JoinError(f"nobody to join ({reasons or 'no address but this node itself'})")
        return joined[0]

    async def set_voters(self, voters: Sequence[str]) -> None:
        """Have these members vote for the leader from now on; returns when that is so.

        For a cluster that was founded with voters. The leader carries it out, as soon as there is one: a
        majority of the voters until now, and one of the new ones, have to grant it, so that there are never
        two leaders. New ones must be members. It survives the death of the leader, or nothing is changed;
        of two changes at once one is refused. All members keep the new list, and a node that joins with
        another one goes by it. When all voters are restarted at once, the list with which they are started
        counts: so change your settings as well.

        Raises `VotersError`, which says why they were not changed. To give up, cancel: it may still happen.
        """
        self._here.require_open()
        codec = self._node.codec

        async def ask(address: Address, payload: bytes) -> StreamMessage | None:
            self._here.require_open()
            if address == self.address:
                await trio.lowlevel.checkpoint()
                return self._driver.receive_request(UserMessage(payload), self.address)
            return await ask_at(address, payload, codec, self._driver.transport.connect)

        await change_voters(ask, self.address, checked_texts("voters", voters))

    async def leave(self) -> None:
        """Leave gracefully now, before the body of `open_cluster` ends. Event streams end."""
        await trio.lowlevel.checkpoint()
        await self._here.leave()
        self._driver.stop()

    def abort(self) -> None:
        """Stop at once without a word, as if the process had been killed. For tests and drills."""
        self._here.stop()


async def _locate(
    transport: Transport, advertise: str | None, seeds: Seeds
) -> tuple[Address, tuple[Address, ...]]:
    """Where others find this node, and where it finds others. Raises `JoinError`."""
    found = await seeds.resolve(transport.family)
    if seeds.texts and not found:
        raise JoinError(f"none of the seeds resolves ({seeds.describe_problems()})")
    address = await advertised_address(advertise, transport, found)
    require_reachable(address, found)
    return address, found


def _check_types(config: Config, texts: Mapping[str, str | None]) -> None:
    if not isinstance(config, Config):
        raise TypeError(f"config is a swim.Config, such as Config.lan(), not {config!r}")
    for what, given in texts.items():
        if given is not None:
            check_text(what, given)


def _check_names(name: str | None, voters: Sequence[str]) -> None:
    for each in checked_texts("voters", voters) if name is None else (name, *checked_texts("voters", voters)):
        checked_text("the name", each, _NAME_SIZE_MAX)
    twice = sorted(voter for voter, count in Counter(voters).items() if count > 1)
    if twice:
        raise ValueError(f"a voter has one vote, but {', '.join(map(repr, twice))} is named more than once")


def _keyring(keys: Sequence[bytes], random_bytes: Callable[[int], bytes]) -> Keyring | None:
    return Keyring(_checked_keys(keys), random_bytes=random_bytes) if keys else None


def _checked_keys(keys: Sequence[bytes]) -> list[bytes]:
    if isinstance(keys, (bytes, str)):
        raise KeyringError("keys are a list of keys, not one key: [key]")
    return [checked_bytes("each of the keys", key) for key in keys]


def _checked_member(member: Member | str) -> Member | str:
    if not isinstance(member, (str, Member)):
        raise TypeError(f"a member is given as a swim.Member or its name, not {member!r}")
    return member


def _name(member: Member | str) -> str:
    member = _checked_member(member)
    return member if isinstance(member, str) else member.name


def _checked_name(name: str) -> str:
    """Of a lease."""
    return checked_text("the name of a lease", name, LEASE_NAME_SIZE_MAX)
