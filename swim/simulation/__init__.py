"""A deterministic world to test clusters in, and what applications make of them."""

from swim.simulation.network import Burst, Network
from swim.simulation.trace import Record
from swim.simulation.world import World

__all__ = ["Burst", "Network", "Record", "World"]
