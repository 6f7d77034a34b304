"""`swim simulate MODULE:FUNCTION`: a world of the user's own programs, told and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

import swim
from swim.cli.root import cli
from swim.testing import World

NAMES = ["a", "b", "c"]


async def lead(term: swim.Term) -> None:
    await trio.sleep_forever()


async def program(name: str) -> None:
    async def own(lease: swim.Lease) -> None:
        await trio.sleep_forever()

    async with (
        swim.open_cluster(name, seeds=NAMES, voters=NAMES) as cluster,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(cluster.run_while_owner, "work", own)
        await cluster.run_while_leader(lead)


def scenario(world: World) -> None:
    for name in NAMES:
        world.start(name, program, name)
        world.run(0.5)
    world.run(10)
    world.partition(["a"])
    world.run(15)
    world.heal()
    world.run(5)


def wrong(world: World) -> None:
    scenario(world)
    raise ZeroDivisionError("found")


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["simulate", *arguments], prog_name="swim")


def test_it_tells_what_went_wrong_and_which_programs_had_what_when() -> None:
    result = simulate(f"{__name__}:scenario", "--seed", "3", "--json")
    told = json.loads(result.stdout)
    assert told["options"] == {"scenario": f"{__name__}:scenario", "seed": 3}
    happened = [row["what"] for row in told["happened"]]
    order = ["start a 10.0.0.1", "leader: a", "work: a", "partition a", "leader: b", "heal"]
    left = iter(happened)
    assert all(what in left for what in order), happened
    with World(3) as world:
        scenario(world)
        assert told["trace_hash"] == world.trace.digest(), "to look at it changes nothing"


def test_what_a_scenario_raises_is_told_after_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "run.png"
    result = simulate(f"{__name__}:wrong", "--seed", "3", "--plot", str(picture))
    assert result.exit_code == 1
    assert "ZeroDivisionError: found" in result.stderr
    assert "partition a" in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["tests.cli.nothing:scenario"], "there is no tests.cli.nothing:scenario"),
        ([f"{__name__}:nothing"], "has no attribute 'nothing'"),
        ([f"{__name__}:scenario", "--nodes", "3"], "--nodes is for the scenarios of swim"),
    ],
)
def test_what_cannot_be_run(arguments: list[str], error: str) -> None:
    result = simulate(*arguments)
    assert result.exit_code == 2
    assert error in result.stderr
