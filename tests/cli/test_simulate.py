"""`swim simulate`: what it prints, and that a seed is a run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.text import Text

from swim.cli.root import cli
from swim.cli.simulate import SCENARIOS
from swim.cli.timeline import RecordedWorld, Sample, Timeline, draw_views


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
    [
        (("flood",), "flood"),
        (("crash", "--nodes", "1"), "--nodes"),
        (("crash", "--loss", "2"), "--loss"),
        (("crash", "--loss", "nan"), "--loss"),
        (("crash", "--seconds", "nan"), "--seconds"),
        (("crash", "--seconds", "inf"), "--seconds"),
    ],
)
def test_bad_options(arguments: tuple[str, ...], complaint: str) -> None:
    result = simulate(*arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


@pytest.mark.parametrize(
    ("path", "complaint"),
    [("no/such/x.png", "no/such"), ("x.xyz", ".png"), ("noext", ".png"), (".", "directory")],
)
def test_a_picture_that_cannot_be_drawn_is_refused_before_the_run(
    path: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("swim.cli.simulate._run", None)
    result = simulate("crash", "--plot", path)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_picture_that_cannot_be_written_loses_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    where = tmp_path / "sub"
    where.mkdir()
    (where / "x.png").mkdir()
    picture = where / "y.png"
    picture.symlink_to(where / "x.png" / "none" / "y.png")
    result = simulate("crash", "--nodes", "2", "--seconds", "2", "--seed", "1", "--plot", str(picture))
    assert result.exit_code == 1
    assert "trace hash " in result.stdout
    assert "--plot: " in result.stderr


def test_a_line_of_a_picture_is_seen_behind_another_that_is_at_the_same_place() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    world = RecordedWorld(1)
    timeline = Timeline(world)
    timeline.samples = [Sample(float(n), {"a": ("a", 1)}) for n in range(3)]
    draw_views(figure.subplots(), timeline)
    widths = [line.get_linewidth() for line in figure.axes[0].get_lines()]
    assert len(widths) == 3
    assert widths == sorted(set(widths), reverse=True)


def test_the_seed_nought_is_a_seed() -> None:
    result = simulate("pause", "--nodes", "2", "--seconds", "2", "--seed", "0")
    assert result.stdout.startswith("swim simulate pause --nodes 2 --seconds 2.0 --seed 0\n")


def test_a_node_that_comes_back_takes_one_line_to_hear_of_all_others() -> None:
    rows = measured("crash", "--nodes", "20", "--seconds", "10", "--seed", "1", "--fast")["happened"]
    told = [row["what"] for row in rows if not row["fault"]]
    assert "n0 hears of 19 members" in told
    assert [what for what in told if what.endswith(" joined")] == ["n0 joined"]


def test_the_help_says_what_the_scenarios_do() -> None:
    text = simulate("--help").stdout
    for name, (_, said) in SCENARIOS.items():
        assert re.search(rf"^ *{name} +{re.escape(said)}$", text, re.MULTILINE)
    assert "[OPTIONS] SCENARIO\n" in text


def test_on_a_terminal_the_table_has_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def widest() -> int:
        result = simulate("host-loss", "--nodes", "4", "--seconds", "10", "--seed", "3")
        table = Text.from_ansi(result.stdout.partition("\n")[2].partition("one view")[0]).plain
        return max(map(len, table.splitlines()))

    monkeypatch.setenv("COLUMNS", "80")
    assert widest() > 80
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    assert widest() <= 80
