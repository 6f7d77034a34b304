"""A deterministic world to try clusters in, and what applications make of them.

Virtual time, so an hour takes seconds; the real protocol core, on a network and on hosts that fail as
you tell them to; and one seed, from which everything follows: the same seed is the same run, to the bit.

    >>> from swim.simulation import World
    >>> world = World(seed=1)
    >>> world.grow(5)
    ['n0', 'n1', 'n2', 'n3', 'n4']
    >>> taken = world.run_until_converged(limit=10.0)
    >>> world.leader("n4")
    'n0'

An application hears of changes as it would from `Cluster.events`, here with the node as well:

    >>> from swim import LeaderChanged
    >>> def note(node, event):
    ...     if isinstance(event, LeaderChanged) and event.leader.name == node.name:
    ...         print(node.name, "leads")
    >>> world.watchers.append(note)
    >>> world.lose_host("n0")
    >>> world.run(10.0)
    n1 leads
    >>> world.restart("n0", seeds=["n3"])
    >>> world.run(10.0)
    >>> world.leader("n0"), [member.name for member in world.nodes["n0"].core.members()]
    ('n1', ['n1', 'n2', 'n3', 'n4', 'n0'])

`world.broadcast` is a node's verb, and `world.messages` are the `Broadcast`s that came. Programs that use the
rest of swim, its messages, functions and leases, are run as they are by `swim.testing.World`.

Faults are methods of the world: `crash`, `lose_host`, `pause`, `block_receive`, `block_send`, `partition`,
`heal`, `set_loss`, `set_clock_rate`, `restart`, `leave`, `move`; and those of firewalls and routers:
`block`, `reject`, `reject_between`, `set_size_max`, `reset_streams`, `forge_refusal`. `Network` is the
weather, `Chaos` all of it at random, `Firewalls` only what is no member's death. `world.trace.digest()` is
equal for two runs in which the same happened. The world also checks the library's invariants; a violation
is an AssertionError that tells the seed and what happened last.
"""

from swim.simulation.chaos import Chaos
from swim.simulation.firewalls import Firewalls
from swim.simulation.host import SimulatedNode
from swim.simulation.network import Burst, Network
from swim.simulation.trace import Record
from swim.simulation.world import World

__all__ = ["Burst", "Chaos", "Firewalls", "Network", "Record", "SimulatedNode", "World"]
