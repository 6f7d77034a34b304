"""The world: machines, the network between them, and on each machine a program of the user's own.

See the package's docstring for an example.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

from swim.cluster import Cluster
from swim.protocol.node import Phase
from swim.runtime.network import simulated_host
from swim.simulation.barriers import Barriers, listed
from swim.simulation.checks import check_duration, check_positive, check_share
from swim.simulation.course import Course
from swim.simulation.network import Cut, Fabric, Network
from swim.simulation.schedule import Clock
from swim.simulation.trace import Trace
from swim.simulation.views import agree
from swim.testing.chance import Chance
from swim.testing.host import NoSockets, Resolver, SimulatedHost
from swim.testing.kernel import Machine
from swim.testing.medium import Medium, Slowness
from swim.testing.process import Process, WorldError
from swim.types import Member

__all__ = ["World"]

T = TypeVar("T")

_EPOCH = 1_700_000_000.0
_NETWORKS = 126
"""Addresses begin with one of 1 to 126; a machine that moves takes the next."""

_logger = logging.getLogger("swim.testing")


class World(Course, Barriers):
    """Programs that use swim, each on a machine of its own, in virtual time. All follows from `seed`.

    A context manager: at its end all programs are cancelled and their threads end.

    `drift` and `skew` bound how far the machines' clocks are off: their rate, and their wall time in seconds.
    `patience` is for how many seconds of real time a program may run without waiting for anything.

    All durations are seconds, all losses shares from 0 to 1. Methods raise ValueError for what is out of
    range, and KeyError for names that are not in the world.
    """

    def __init__(
        self,
        seed: int,
        *,
        network: Network | None = None,
        drift: float = 0.0001,
        skew: float = 0.02,
        patience: float = 60.0,
        replay: str | None = None,
    ) -> None:
        network = network or Network.lan()
        check_share("drift", drift)
        check_duration("skew", skew)
        check_positive("patience", patience)
        options: dict[str, object] = {"seed": seed, "network": network, "drift": drift, "skew": skew}
        super().__init__(seed, Trace(whole_packets=True, keep_events=False), options, replay)
        self.fabric = Fabric(network, self.random("network"), self.random("geography"))
        self.medium = Medium(self.fabric, self.schedule, self.trace)
        self._drift = drift
        self._skew = skew
        self._patience = patience
        self._clocks = self.random("clocks")
        self._chance = Chance(seed, lambda process: process.clock.wall(process.clock.local(self.now)))
        self._names: dict[str, tuple[str, ...]] = {}
        self._programs: dict[str, _Program] = {}
        self._processes: list[Process] = []
        """All that there ever were; their threads last until the world is closed."""
        self._running = False
        self._closed = False

    # --- time
    def run(self, seconds: float) -> None:
        """Let time pass. Raises `WorldError` when a program does what it cannot do in a world."""
        if self._closed:
            raise WorldError("this world is closed")
        if self._running:
            raise WorldError(
                "the world runs already: a program waits by trio.sleep, an action by world.after"
            )
        self._running = True
        try:
            with self._chance.ruling():
                super().run(seconds)
        finally:
            self._running = False

    def run_until_converged(self, limit: float, step: float = 0.05) -> float:
        """Let time pass until all clusters that are open see each other and follow one leader; seconds taken.

        The leader may be nobody, with voters.
        """
        taken = self.run_until(self.converged, limit, step)
        if taken is None:
            self.fail(f"not converged after {limit} s:\n{self.describe()}")
        return taken

    # --- programs
    def start(self, name: str, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start ``await function(*args)``, a program of its own, on a machine of this name.

        The name is also a host name: others find the program at it.
        """
        program = self._programs.get(name)
        if program is None:
            program = self._programs[name] = _Program(self._machine(name))
        elif program.process is not None and program.process.running:
            raise ValueError(f"{name} runs already: restart it, or give the other program a name of its own")
        program.function, program.args = function, args
        self._boot(program)

    def restart(self, name: str, *, new_address: bool = False) -> None:
        """Start the same program afresh; one that still runs is killed before.

        With `new_address` it comes up on another machine, and the old one is gone without a word. Called by
        the program itself, it ends in this very line.
        """
        program = self._program(name)
        if program.process is not None and program.process.running:
            if program.process.calls:
                self.after(0.0, lambda: self.restart(name, new_address=new_address))
            (self.lose_host if new_address else self.crash)(name)
        if new_address:
            self._relocate(program.machine)
        self._boot(program)

    def error(self, name: str) -> BaseException | None:
        """With what the program has ended, if with an exception.

        An error that nobody asks for is raised when the world is closed.
        """
        program = self._program(name)
        program.errors_seen = True
        return program.process.error if program.process is not None else None

    def result(self, name: str) -> Any:
        """What the program has returned. Raises the error with which it ended.

        Raises LookupError when it has not ended, or was killed; the text says which.
        """
        error = self.error(name)
        if error is not None:
            raise error
        process = self._program(name).process
        if process is not None and process.running:
            raise LookupError(
                f"{name} still runs at {self.now:.3f} s: let time pass until it has ended, as by "
                f"world.run_until(lambda: not world.running({name!r}), limit=60)"
            )
        if process is None or not process.returned:
            raise LookupError(f"{name} was killed, and so has returned nothing")
        return process.result

    def running(self, name: str) -> bool:
        """Whether the program runs; it may stand still, or be cut off."""
        process = self._program(name).process
        return process is not None and process.running

    def paused(self, name: str) -> bool:
        """Whether the program runs, but stands still: see `pause`."""
        process = self._program(name).process
        return process is not None and process.running and process.paused

    def call(self, name: str, function: Callable[[], T]) -> T:
        """Call a function inside the program, between two of its steps, and return what it returns.

        For what needs trio's clock, such as ``world.call("a", world.cluster("a").statistics)``. Raises
        LookupError when the program does not run.
        """
        process = self._program(name).process
        if process is None:
            raise LookupError(f"{name} does not run")
        if self._running:
            return process.call(function)
        with self._chance.ruling():
            return process.call(function)

    # --- looking
    @property
    def names(self) -> list[str]:
        """Those of all programs that were ever started."""
        return list(self._programs)

    def leads(self, name: str) -> bool:
        """Whether functions that this program runs while it leads may run now."""
        cluster, now = self._present_cluster(name)
        return cluster is not None and cluster._node.term is not None and now < cluster._node.term_ends

    def leases(self, name: str) -> list[str]:
        """The names that this program holds or owns now, sorted."""
        cluster, now = self._present_cluster(name)
        return [] if cluster is None else cluster._node.leases.holder.held(now)

    def _present_cluster(self, name: str) -> tuple[Cluster | None, float]:
        """The latest of a program that runs, and the time on its machine's clock."""
        program = self._program(name)
        present = program.clusters[-1] if program.clusters and self.running(name) else None
        return present, program.machine.clock.local(self.now)

    def clusters(self, name: str) -> list[Cluster]:
        """Those that the present program of this name has opened, in that order."""
        return list(self._program(name).clusters)

    def cluster(self, name: str) -> Cluster:
        """The one that it has opened last. Raises LookupError when there is none."""
        clusters = self._program(name).clusters
        if not clusters:
            raise LookupError(f"{name} has opened no cluster yet")
        return clusters[-1]

    def leader(self, name: str) -> str | None:
        """Whom this program's cluster follows."""
        leader = self.cluster(name).leader
        return leader.name if leader else None

    def view(self, name: str) -> dict[str, Member]:
        """The present members, as this program's cluster sees them."""
        return {member.name: member for member in self.cluster(name).members()}

    def converged(self) -> bool:
        """All running programs are members of a cluster, see exactly each other, and follow one leader."""
        running = [program for program in self._programs.values() if self.running(program.machine.name)]
        if not all(program.clusters for program in running):
            return False
        nodes = [program.clusters[-1]._node for program in running]
        return all(node.phase is Phase.MEMBER for node in nodes) and agree(nodes)

    def describe(self) -> str:
        """Every program on a line, for people."""
        return "\n".join(self._describe(name) for name in self._programs)

    def _describe(self, name: str) -> str:
        program = self._programs[name]
        process = program.process
        if process is None or not process.running:
            return f"{name}: does not run {process.error if process and process.error else ''}".rstrip()
        if not program.clusters:
            return f"{name}: no cluster yet"
        members = " ".join(member.name for member in program.clusters[-1].members())
        return f"{name}: leader {self.leader(name)}; {members}"

    def knows(self, name: str) -> bool:
        """Whether there is a program of this name."""
        return name in self._programs

    # --- names
    def address(self, name: str) -> str:
        """Where the machine of this name is."""
        return self._program(name).machine.address

    def set_name(self, host: str, *names: str) -> None:
        """From now on this host name stands for the machines of these names, or for none."""
        self._check_names(names)
        self.note(f"name {host}: {', '.join(names)}")
        self._names[host] = names

    def _look_up(self, host: str) -> Sequence[str]:
        names = self._names.get(host, (host,))
        return [self._programs[name].machine.address for name in names if name in self._programs]

    # --- faults
    def crash(self, name: str) -> None:
        """The program is killed: not a line of it runs any more. Its kernel closes its sockets.

        Called by the program itself, it ends in this very line.
        """
        program = self._program(name)
        self.note(f"crash {name}")
        program.machine.close_sockets()
        if program.process is not None:
            program.process.crash()

    def lose_host(self, name: str) -> None:
        """The whole machine is gone: nothing answers, the kernel neither."""
        program = self._program(name)
        self.note(f"lose host of {name}")
        program.machine.lose()
        if program.process is not None:
            program.process.crash()

    def pause(self, name: str, seconds: float) -> None:
        """The whole program stands still, as under SIGSTOP, while its kernel goes on."""
        check_duration("seconds", seconds)
        process = self._program(name).process
        self.note(f"pause {name} for {seconds:.3g} s")
        if process is not None and process.running:
            process.pause(seconds)

    def set_clock_rate(self, name: str, rate: float) -> None:
        """From now on this machine's clock gains `rate` seconds in one second."""
        check_positive("rate", rate)
        program = self._program(name)
        self.note(f"clock rate {name} {rate:.6g}")
        program.machine.clock.set_rate(rate, self.now)
        if program.process is not None:
            program.process.clock_changed()

    def shift_wall(self, name: str, seconds: float) -> None:
        """Somebody sets this machine's wall clock, forward or back; its other clock does not notice."""
        self.note(f"shift wall clock of {name} by {seconds:.3g} s")
        self._program(name).machine.clock.shift_wall(seconds)

    def move(self, name: str) -> None:
        """The machine has another address from now on, and the program runs on."""
        machine = self._program(name).machine
        self._relocate(machine)
        self.note(f"move {name} to {machine.address}")

    def slow(
        self,
        *groups: Collection[str],
        delay: float = 0.0,
        bandwidth: float | None = None,
        one_way: bool = False,
    ) -> list[Slowness]:
        """Between the groups packets take `delay` longer, one way; a link passes `bandwidth` bytes a second.

        Groups are as in `partition`; without any, it is so everywhere.
        """
        self._check_groups(groups)
        check_duration("delay", delay)
        if bandwidth is not None:
            check_positive("bandwidth", bandwidth)
        self.note(f"slow {' | '.join(map(listed, groups))} by {delay:.3g} s, {bandwidth} B/s")
        cuts = self.fabric.cut(groups, one_way)
        self.fabric.cuts = self.fabric.cuts[: -len(cuts)]
        slow = [Slowness(cut, delay, bandwidth) for cut in cuts]
        self.medium.slow += slow
        return slow

    def heal(self, cuts: Collection[Cut] | Collection[Slowness] | None = None) -> None:
        """End these cuts, or all; also what was made slow."""
        gone = None if cuts is None else list(cuts)
        super().heal(None if gone is None else [cut for cut in gone if isinstance(cut, Cut)])
        self.medium.slow = [slow for slow in self.medium.slow if gone is not None and slow not in gone]

    def reset_streams(self, *names: str) -> None:
        """Something on the way forgets all connections of these, or of all, and resets both ends of them."""
        self._check_names(names)
        self.note(f"reset streams of {listed(names) if names else 'all'}")
        for program in self._programs.values():
            for endpoint in list(program.machine.endpoints):
                other = endpoint.other
                about = {program.machine.name, other.machine.name if other is not None else ""}
                if not names or about.intersection(names):
                    endpoint.receive_reset()

    def forge_refusal(self, about: str, *told: str) -> None:
        """Somebody who sees what these send makes them believe that it was refused there."""
        self._check_names([about, *told])
        self.note(f"forge a refusal of {about} for {listed(told)}")
        for name in told:
            self._programs[name].machine.believe_refusal(self._programs[about].machine)

    # --- the end
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except Exception as error:
            if exc_value is None:
                raise
            exc_value.add_note(f"besides, when the world was closed: {error!r}")

    def close(self) -> None:
        """End all programs and their threads. Nothing that they do then reaches anybody, nor any log.

        Raises the error of a program that ended with one for which nobody has asked (see `error`), and
        `WorldError` for a program that could not be ended.
        """
        if self._closed:
            return
        self._closed = True
        for program in self._programs.values():
            program.machine.lose()
        problems: list[str] = []
        with self._chance.ruling(), _silence():
            for process in self._processes:
                problem = process.end()
                if problem is not None:
                    problems.append(f"{process.name}: {problem}")
        for program in self._programs.values():
            error = program.process.error if program.process is not None else None
            if error is not None and not program.errors_seen:
                error.add_note(self.report())
                raise error
        if problems:
            raise WorldError("\n".join([*problems, self.report()]))

    # --- building blocks
    def _program(self, name: str) -> _Program:
        if name not in self._programs:
            known = listed(self._programs) if self._programs else "none: start it first"
            raise KeyError(f"there is no program {name!r} in this world; its programs are {known}")
        return self._programs[name]

    def _machine(self, name: str) -> Machine:
        number = len(self._programs) + 1
        chance = self._clocks
        offset, skew = chance.uniform(0.0, 100_000.0), chance.uniform(-self._skew, self._skew)
        clock = Clock(offset, 1.0 + chance.uniform(-self._drift, self._drift), _EPOCH + skew)
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        self.fabric.place(name)
        return Machine(name, number, address, clock, self.medium)

    def _relocate(self, machine: Machine) -> None:
        first, rest = machine.address.split(".", 1)
        machine.move(f"{int(first) % _NETWORKS + 1}.{rest}")

    def _boot(self, program: _Program) -> None:
        machine = program.machine
        machine.lost = False
        program.lives += 1
        program.errors_seen = False
        host = SimulatedHost(machine, self.random(f"bytes {machine.name} {program.lives}"))
        program.clusters = host.clusters
        function, args = program.function, program.args

        async def body() -> object:
            simulated_host.set(host)
            trio.socket.set_custom_hostname_resolver(Resolver(self._look_up))
            trio.socket.set_custom_socket_factory(NoSockets(machine.name))
            return await function(*args)

        def ended() -> None:
            error = process.error
            self.note(f"{machine.name} ended{f' with {error!r}' if error is not None else ''}")
            if error is not None:
                error.add_note(f"with this the program {machine.name} has ended, at {self.now:.3f} s")
                _logger.error("%s ended with an exception", machine.name, exc_info=error)
            machine.close_sockets()

        self.note(f"start {machine.name} {machine.address}")
        process = Process(machine.name, machine.clock, self.schedule, body, ended, self._patience)
        machine.process = program.process = process
        self._processes.append(process)


class _Program:
    """What runs on one machine, again and again."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.function: Callable[..., Awaitable[object]] = trio.sleep_forever
        self.args: tuple[object, ...] = ()
        self.process: Process | None = None
        self.clusters: list[Cluster] = []
        self.lives = 0
        self.errors_seen = False


@contextmanager
def _silence() -> Iterator[None]:
    """No log until the end of the block."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
