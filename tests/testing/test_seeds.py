"""A scenario in many worlds: what a failure says, and that the command in it replays the failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from swim.testing import World, for_each_seed
from swim.testing.plugin import world as world_fixture

world = world_fixture
ROOT = Path(__file__).parents[2]
SCENARIO = """
from swim.testing import World, for_each_seed

def scenario(world: World) -> None:
    chance = world.random("fate").random()
    print("a world", world.seed, chance, flush=True)
    assert chance < 0.8, f"fails for {chance}"

def test_all() -> None:
    for_each_seed(scenario, 100)

if __name__ == "__main__":
    test_all()
"""


def run(command: str, folder: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    variables |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "way", ["python test_scenario.py", "python -m test_scenario", "pytest test_scenario.py"]
)
def test_the_printed_command_replays_a_failure_in_another_process(way: str, tmp_path: Path) -> None:
    (tmp_path / "test_scenario.py").write_text(SCENARIO)
    output = run(way, tmp_path)
    seed, command = re.findall(r"seed (\d+); to replay it: (.*)", output)[-1]
    assert int(seed) > 0
    again = run(command, tmp_path)
    assert re.findall(r"a world .*", again) == re.findall(rf"a world {seed} .*", output)
    assert re.findall(r"fails for \S+", again)[-1] == re.findall(r"fails for \S+", output)[-1]


def test_who_interrupts_a_run_is_told_the_seed_that_took_too_long() -> None:
    def interrupted(world: World) -> None:
        if world.seed == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        for_each_seed(interrupted)
    assert caught.value.__notes__[0].startswith("seed 3; to replay it: SWIM_SEED=3 pytest ")


@pytest.fixture
def seed_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWIM_SEED", "0")


def test_the_fixture_has_the_seed_that_is_asked_for(seed_zero: None, world: World) -> None:
    assert world.seed == 0
