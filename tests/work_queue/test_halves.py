"""The two halves of the work queue in thousands of seeded schedules of deaths, restarts, new leaders, stale
leaders, false verdicts, losses, repetitions and any order of delivery: each task's result exactly once.

    python -m tests.work_queue.test_halves 10000    # so many seeds
"""

from __future__ import annotations

import random
import sys
from collections import Counter, deque
from dataclasses import dataclass, field

import pytest

from examples.work_queue import ledger as ledger_module
from examples.work_queue import worker as worker_module
from examples.work_queue.ledger import Ledger
from examples.work_queue.messages import Job, Made, Message, Ready, Recall, Tasks, decode, encode
from examples.work_queue.worker import Errand, Worker
from swim import Address, Member

SEEDS = 240
JOB = Job("job", "primes", ("1000",), "/tmp/report", 0.0)
STEPS_MAX = 20_000
BATCH_MAX = 4
SHARE_MAX = 10


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_batches(monkeypatch)


def use_small_batches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_module, "SHARE_MAX", SHARE_MAX)
    for module in (ledger_module, worker_module):
        patch.setattr(module, "BATCH_MAX", BATCH_MAX)


@dataclass
class Node:
    """One process."""

    me: Member
    worker: Worker = field(default_factory=Worker)
    ledger: Ledger | None = None
    sees: dict[str, Node] = field(default_factory=dict)
    """As the leader: the workers that it has been told of."""
    blind: bool = False
    """As a worker: whether it takes all leaders for dead."""
    sending: tuple[Errand, Made | Ready] | None = None
    working: tuple[str, list[str]] | None = None

    @property
    def name(self) -> str:
        return self.me.name


class World:
    def __init__(self, seed: int, nodes: int, tasks: int) -> None:
        self.rng = random.Random(seed)
        self.names = [f"w{number}" for number in range(nodes)]
        self.started = 0
        self.nodes = {name: self.start(name) for name in self.names}
        self.tasks = [f"t{number}" for number in range(tasks)]
        self.terms = 0
        self.wires: dict[tuple[int, int], tuple[Node, Node, deque[bytes]]] = {}
        self.worked: Counter[str] = Counter()
        self.new_leader()

    def start(self, name: str) -> Node:
        self.started += 1
        return Node(Member(name, Address("127.0.0.1", 1), id=f"{self.started:09}"))

    def alive(self, node: Node) -> bool:
        return self.nodes.get(node.name) is node

    def leaders(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.ledger is not None]

    # --- faults
    def new_leader(self) -> None:
        """Somebody leads; a leader before it may still believe that it does."""
        node = self.rng.choice(list(self.nodes.values()))
        self.terms += 1
        node.worker.learn(JOB)
        node.ledger = Ledger(f"{self.terms:09}", JOB, self.tasks)
        node.sees = {}

    def kill(self) -> None:
        if len(self.nodes) > 1:
            del self.nodes[self.rng.choice(list(self.nodes))]
            lost = [key for key, (sender, _, _) in self.wires.items() if not self.alive(sender)]
            for key in lost:
                if self.rng.random() < 0.5:
                    del self.wires[key]

    def start_again(self) -> None:
        for name in self.names:
            if name not in self.nodes:
                self.nodes[name] = self.start(name)
                return

    def end_stale(self) -> None:
        newest = max((node.ledger.token for node in self.leaders() if node.ledger), default="")
        for node in self.leaders():
            if node.ledger is not None and node.ledger.token < newest:
                node.ledger = None

    def lose_sight(self) -> None:
        """A live worker is given up for dead."""
        for node in self.leaders():
            if node.ledger is not None and node.sees:
                name = self.rng.choice(list(node.sees))
                node.ledger.gone(name)
                del node.sees[name]

    def lose_letters(self) -> None:
        """What was on its way is lost. Its sender hears of it, its receiver does not."""
        if self.wires:
            sender, receiver, letters = self.rng.choice(list(self.wires.values()))
            letters.clear()
            if sender.ledger is not None and sender.sees.pop(receiver.name, None) is not None:
                sender.ledger.gone(receiver.name)
            if sender.worker.errand is not None and sender.worker.errand.leader is receiver.me:
                sender.worker.errand = None

    def lose_leaders(self) -> None:
        """A worker gives all leaders up for dead, or finds that they are not."""
        node = self.rng.choice(list(self.nodes.values()))
        node.blind = not node.blind

    # --- what goes on
    def look(self) -> None:
        """Leaders take note of who has come and gone."""
        for node in self.leaders():
            assert node.ledger is not None
            for name, other in list(node.sees.items()):
                if not self.alive(other):
                    node.ledger.gone(name)
                    del node.sees[name]
            for name, other in self.nodes.items():
                if name not in node.sees:
                    node.ledger.joined(name)
                    node.sees[name] = other
        for node in self.nodes.values():
            node.worker.see([] if node.blind else [other.me for other in self.nodes.values()])

    def send(self, sender: Node, receiver: Node, message: Message) -> None:
        wire = self.wires.setdefault((id(sender), id(receiver)), (sender, receiver, deque()))
        wire[2].append(encode(message))

    def lead(self, node: Node) -> None:
        if node.ledger is not None and node.sees:
            name = self.rng.choice(list(node.sees))
            if (letter := node.ledger.letter_for(name)) is not None:
                self.send(node, node.sees[name], letter)

    def tell(self, node: Node) -> None:
        """Begin to send a letter, or be done with it."""
        if node.sending is not None:
            errand, letter = node.sending
            errand.told(letter)
            node.sending = None
        elif (errand := node.worker.errand) is not None and (letter := errand.letter()) is not None:
            leader = self.nodes.get(errand.leader.name)
            if leader is not None and leader.me.id == errand.leader.id:
                self.send(node, leader, letter)
                node.sending = errand, letter

    def work(self, node: Node) -> None:
        """Begin with some tasks, or be done with them."""
        if node.working is not None:
            job, tasks = node.working
            node.worker.made(job, {task: f"{task}'s" for task in tasks})
            node.working = None
        elif (errand := node.worker.errand) is not None and errand.todo:
            tasks = list(errand.todo)[: self.rng.randint(1, 5)]
            self.worked.update(tasks)
            node.working = errand.recall.job.id, tasks

    def deliver(self, twice: float) -> None:
        keys = [key for key, (_, receiver, wire) in self.wires.items() if wire and self.alive(receiver)]
        if not keys:
            return
        sender, node, wire = self.wires[self.rng.choice(keys)]
        message = decode(wire[0])
        if self.rng.random() >= twice:
            wire.popleft()
        match message:
            case Recall():
                node.worker.recall(sender.me, message)
            case Tasks():
                node.worker.take(message)
            case Made(job, results) if node.ledger is not None:
                node.ledger.made(sender.name, job, results)
            case Ready(token, job) if node.ledger is not None:
                node.ledger.ready(sender.name, token, job)

    def step(self, twice: float = 0.0) -> None:
        node = self.rng.choice(list(self.nodes.values()))
        self.rng.choice([self.look, lambda: self.deliver(twice), lambda: self.deliver(twice)])()
        self.rng.choice([self.lead, self.tell, self.work])(node)

    # --- runs
    def storm(self, steps: int) -> None:
        faults = [self.new_leader, self.kill, self.start_again, self.end_stale]
        faults += [self.lose_sight, self.lose_leaders, self.lose_letters]
        for _ in range(steps):
            if self.rng.random() < 0.03:
                self.rng.choice(faults)()
            else:
                self.step(twice=0.1)

    def calm(self) -> Ledger:
        """No more faults: the newest leader, or a new one, brings the job to its end."""
        self.end_stale()
        for node in self.nodes.values():
            node.blind = False
        if not self.leaders():
            self.new_leader()
        for _ in range(STEPS_MAX):
            (leader,) = self.leaders()
            assert leader.ledger is not None
            if leader.ledger.done:
                return leader.ledger
            self.step()
        raise AssertionError("the job does not end")


def check(ledger: Ledger, world: World) -> None:
    report = list(ledger.report())
    assert [task for task, _ in report] == world.tasks
    assert all(result == f"{task}'s" for task, result in report)
    assert sum(ledger.makers.values()) == len(world.tasks)


def random_world(seed: int) -> World:
    rng = random.Random(seed)
    return World(seed, nodes=rng.randint(1, 6), tasks=rng.choice([0, 1, 5, 30, 60, 100]))


def run(seed: int) -> World:
    world = random_world(seed)
    try:
        world.storm(world.rng.randint(0, 600))
        check(world.calm(), world)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    return world


@pytest.mark.parametrize("part", range(4))
def test_each_result_exactly_once_whatever_happens(part: int) -> None:
    worlds = [run(seed) for seed in range(part, SEEDS, 4)]
    assert sum(world.terms for world in worlds) > 2 * len(worlds)  # there were new leaders


def test_without_faults_nothing_is_done_twice() -> None:
    for seed in range(30):
        world = random_world(seed)
        check(world.calm(), world)
        assert set(world.worked.values()) <= {1}


def test_a_new_leader_goes_on_where_the_old_one_was() -> None:
    """Only what was under way is done again: at most what fits into the shares of all workers."""
    for seed in range(30):
        world = World(seed, nodes=5, tasks=200)
        while sum(world.worked.values()) < 100:
            world.step()
        (leader,) = world.leaders()
        leader.ledger = None
        world.new_leader()
        check(world.calm(), world)
        assert sum(world.worked.values()) - 200 <= 5 * SHARE_MAX


def test_a_worker_that_starts_again_is_handed_tasks() -> None:
    world = World(1, nodes=3, tasks=100)
    (leader,) = world.leaders()
    while sum(world.worked.values()) < 30:
        world.step()
    name = next(name for name in world.names if name != leader.name)
    world.nodes[name] = again = world.start(name)
    while again.working is None:
        world.step()
    check(world.calm(), world)


OLD = Member("old", Address("127.0.0.1", 1), id="01")
NEW = Member("new", Address("127.0.0.1", 2), id="02")


class TestWorker:
    def recall(self, token: str) -> Recall:
        return Recall(token, JOB)

    def test_does_not_listen_to_a_leader_of_the_past(self) -> None:
        worker = Worker()
        worker.recall(NEW, self.recall("2"))
        worker.recall(OLD, self.recall("1"))
        worker.take(Tasks("1", ["t"]))
        assert worker.errand is not None
        assert (worker.errand.leader, worker.errand.todo) == (NEW, {})

    def test_goes_back_to_a_leader_that_returns(self) -> None:
        worker = Worker()
        worker.recall(OLD, self.recall("1"))
        worker.recall(NEW, self.recall("2"))
        for members, leader in ([OLD], OLD), ([], None), ([OLD, NEW], NEW):
            worker.see(members)
            assert (worker.errand.leader if worker.errand else None) == leader

    def test_tells_the_next_leader_what_it_made_for_the_last(self) -> None:
        worker = Worker()
        worker.recall(OLD, self.recall("1"))
        worker.made(JOB.id, {"t": 1})
        assert worker.errand is not None
        worker.errand.told(Made(JOB.id, {"t": 1}))
        worker.recall(NEW, self.recall("2"))
        assert worker.errand.letter() == Made(JOB.id, {"t": 1})

    def test_forgets_a_job_when_it_is_finished(self) -> None:
        worker = Worker()
        worker.recall(OLD, self.recall("1"))
        worker.made(JOB.id, {"t": 1})
        worker.finish(JOB.id, "done")
        assert (worker.jobs, worker.errand) == ({}, None)
        worker.learn(JOB)  # somebody has not heard of it yet
        worker.recall(NEW, self.recall("2"))
        worker.made(JOB.id, {"u": 1})
        assert (worker.jobs, worker.errand) == ({}, None)

    def test_remembers_the_last_jobs(self) -> None:
        worker = Worker()
        for number in range(300):
            worker.finish(str(number), "done")
        assert list(worker.finished) == [str(number) for number in range(200, 300)]


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", b"\x01", encode(Ready("t", "j"))[:-1], b"\x93\xa4Made\x01\x02"]
)
def test_what_is_no_message(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"msgpack|message"):
        decode(payload)


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        use_small_batches(patch)
        for seed in range(int(sys.argv[1])):
            run(seed)
