"""Your own trio program in a deterministic world: real `Cluster` objects, under crash, pause and partition.

The programs are run as they are. Each is a real `trio.run` on a machine of its own; only time, the network
and host names are the world's. They call `swim.open_cluster` as ever:

    >>> import swim, trio
    >>> from swim.testing import World
    >>> async def serve(name):
    ...     async with swim.open_cluster(name, seeds=["a", "b"]) as cluster:
    ...         async def lead(term):
    ...             print(name, "leads")
    ...             await trio.sleep_forever()
    ...         await cluster.run_while_leader(lead)

    >>> with World(seed=7) as world:
    ...     for name in ("a", "b", "c"):
    ...         world.start(name, serve, name)
    ...         world.run(1)
    ...     taken = world.run_until_converged(limit=30)
    ...     world.crash("a")  # or: pause, lose_host, partition, set_loss, slow, restart, ...
    ...     world.run(20)
    ...     print(sorted(world.view("b")), world.leader("c"))
    a leads
    b leads
    ['b', 'c'] b

Virtual time passes only in `run` and `run_until`, and only while every program waits: sixty seconds of five
idle nodes take one second. The same seed is the same run, to the byte (`world.trace.digest()` tells), on the
same Python and trio.

- A *crash* stops a program between two of its checkpoints: no `finally` and no farewell, as for a process
  that is killed. Its clean-up is run when the world is closed, where nobody hears it.
- A *pause* stops all its tasks for as long as you say, while the world goes on.
- Names of programs are host names (`set_name` makes more); each machine has its own ports and addresses.
- An error with which a program ends is for `world.error(name)`; if you do not ask, the world's end raises it.
- Log records have the program's name as `threadName`, and the virtual time as their time.

`for_each_seed(scenario, 50)` runs a scenario in fifty worlds; a failure names its seed and the command that
replays it. `inflict(world, random_faults(..))` lets things go wrong; `swim.testing.strategies` draws faults
by hypothesis, which shrinks them. With ``pytest_plugins = ["swim.testing.plugin"]`` tests have the fixture
`world`.

What a program in a world must not do:

- Wait by other means than trio's. `time.sleep` stops the world, and takes no virtual time. What runs for
  `patience` seconds without waiting is a `WorldError` that says where it is.
- Use sockets, pipes or child processes of its own: `WorldError`. Receive signals: trio's RuntimeError, since
  only the main thread can. Functions that trio runs in threads are waited for; they take no virtual time, and
  of several at one instant it is not determined which ends first. Nothing waits for threads of its own.
- Read the system's clock or its randomness (`time`, `uuid4`, `os.urandom`), or depend on the order of a set
  of strings, if runs are to be the same. `trio.current_time` and `random` are the world's,
  each machine with a beginning of its own: across programs compare `World.now`.
- Swallow `trio.Cancelled`, or shield itself for ever: closing the world raises `WorldError`.
"""

from swim.testing.process import WorldError
from swim.testing.schedules import Fault, inflict, random_faults
from swim.testing.seeds import for_each_seed
from swim.testing.world import World

__all__ = ["Fault", "World", "WorldError", "for_each_seed", "inflict", "random_faults"]
