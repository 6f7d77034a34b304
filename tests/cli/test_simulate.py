"""`swim simulate`: what it prints, and that a seed is a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from swim.cli.root import cli
from swim.cli.simulate import SCENARIOS


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["simulate", *arguments], prog_name="swim")


def measured(*arguments: str) -> dict[str, Any]:
    result = simulate(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    figures: dict[str, Any] = json.loads(result.stdout)
    return figures


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_ends_with_one_view(scenario: str) -> None:
    figures = measured(scenario, "--nodes", "5", "--seconds", "20", "--seed", "1", "--fast")
    assert figures["one_view_after_s"] is not None
    assert any(row["fault"] for row in figures["happened"])


def test_a_seed_is_a_run() -> None:
    arguments = ("crash", "--nodes", "4", "--seconds", "10", "--loss", "0.05", "--wan")
    first, again = measured(*arguments, "--seed", "7"), measured(*arguments, "--seed", "7")
    assert first == again
    assert first["trace_hash"] != measured(*arguments, "--seed", "8")["trace_hash"]


def test_the_table_tells_how_to_run_it_again() -> None:
    result = simulate("host-loss", "--nodes", "4", "--seconds", "10", "--seed", "3")
    assert result.exit_code == 0
    assert result.stdout.startswith("swim simulate host-loss --nodes 4 --seconds 10.0 --seed 3\n")
    assert "n0 failed" in result.stdout
    assert "silence" in result.stdout
    assert "trace hash " in result.stdout


def test_a_seed_that_was_not_given_is_told() -> None:
    figures = measured("pause", "--nodes", "2", "--seconds", "5")
    seed = str(figures["options"]["seed"])
    assert measured("pause", "--nodes", "2", "--seconds", "5", "--seed", seed) == figures


def test_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "timeline.png"
    result = simulate("crash", "--nodes", "3", "--seconds", "5", "--seed", "1", "--plot", str(picture))
    assert result.exit_code == 0, result.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = simulate("crash", "--plot", "timeline.png")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "trio-swim[bench]" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(("flood",), "flood"), (("crash", "--nodes", "1"), "--nodes"), (("crash", "--loss", "2"), "--loss")],
)
def test_bad_options(arguments: tuple[str, ...], complaint: str) -> None:
    result = simulate(*arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
