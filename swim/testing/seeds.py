"""One scenario in many worlds, each with a seed of its own; and the one command that replays a failure."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable
from typing import Any

from swim.testing.world import World

__all__ = ["for_each_seed", "seed_to_replay"]

_VARIABLE = "SWIM_SEED"


def for_each_seed(
    scenario: Callable[[World], object], seeds: int | Iterable[int] = 50, **options: Any
) -> None:
    """Call ``scenario(world)`` with a world of each seed; `options` are those of `World`.

    What a scenario raises is raised, and says which seed it was and how to replay it: the environment
    variable SWIM_SEED makes it the only one.
    """
    chosen = seed_to_replay()
    each = range(seeds) if isinstance(seeds, int) else seeds
    for seed in each if chosen is None else [chosen]:
        replay = f"{_VARIABLE}={seed} {_command()}"
        try:
            with World(seed, replay=replay, **options) as world:
                scenario(world)
        except BaseException as error:  # also when somebody waits no longer
            error.add_note(f"seed {seed}; to replay it: {replay}")
            raise


def seed_to_replay() -> int | None:
    """The seed that the environment names."""
    text = os.environ.get(_VARIABLE)
    return None if text is None else int(text)


def _command() -> str:
    test = os.environ.get("PYTEST_CURRENT_TEST")
    if test is not None:
        return f"pytest {shlex.quote(test.rpartition(' ')[0])}"
    return shlex.join([os.path.basename(sys.executable), *sys.orig_argv[1:]])
