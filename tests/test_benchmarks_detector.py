"""The detector benchmark: that its parts work, not what it measures."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.detector import ablations, flood, report, scenarios, summary
from benchmarks.detector.__main__ import main, measure
from benchmarks.detector.accrual import Hayashibara
from benchmarks.detector.cells import Cell, Goal, Result
from benchmarks.detector.crash import crash
from benchmarks.detector.report import tables, verdicts
from benchmarks.detector.unity import one_view
from benchmarks.detector.warm import Figures, Start, build, forks, reseed
from swim.simulation import Network, World

START = Start(8, settle=10.0)
SMALL = ["--scenario", "A", "--nodes", "8", "--trials", "1", "--only", "process N=8 LAN "]


def cell(trials: int = 2, **options: Any) -> Cell:
    trial = partial(crash, host=True)
    return Cell(
        "A",
        "host",
        START,
        trial,
        ("all know",),
        (Goal("all know", "mean", 9.0, "a test"),),
        trials,
        **options,
    )


def test_the_warm_cluster_is_one() -> None:
    world = build(START, seed=1)
    assert world.converged()
    assert one_view(world)
    assert all(len(node.kept) == len(node.core.streams_to_keep(node.now())) for node in world.running())


def test_a_trial_is_its_number() -> None:
    done: list[object] = []
    first, again = (measure([cell()], 5, jobs, lambda *args: done.append(args))[0] for jobs in (1, 2))
    assert first.trials == again.trials
    assert first.trials[0]["hash"] != first.trials[1]["hash"]
    assert not first.errors()
    assert [met for _, _, met in first.verdict()] == [True]
    assert len(done) == 6


def test_a_trial_that_fails_is_told() -> None:
    def fail(world: World, rng: Random) -> Figures:
        raise LookupError("no such thing")

    trials = dict(forks(build(START, 1), [("a", fail)], jobs=1))
    result = Result(cell(), 1, [trials[0]])
    assert "no such thing" in result.errors()[0]
    assert "FAILED" in verdicts(result)[-1]


def test_what_never_happened_misses_its_goal() -> None:
    result = Result(cell(), 1, [{"all know": [1.0, 2.0]}, {"all know": None}])
    assert result.figure("all know").get("mean") == 1.5
    assert result.figure("all know").missing == 1
    assert [met for _, _, met in result.verdict()] == [False]
    assert verdicts(result) == ["MISSED, 1 never: all know mean <= 9 (a test)"]
    assert len(tables([result])) == 1


def test_what_is_missed_is_told_by_how_much_and_why_it_cannot_be_met() -> None:
    goal = Goal("all know", "mean", 1.2, "table X", because="it is another network")
    result = Result(replace(cell(), goals=(goal,)), 1, [{"all know": [1.0, 2.0]}])
    assert verdicts(result) == [
        "missed by 0.300: 1.50 +- 1, not all know mean <= 1.20 (table X); it is another network"
    ]


@pytest.mark.parametrize("rule", ["", *ablations.RULES])
def test_a_cluster_works_without_any_one_rule(rule: str) -> None:
    world = build(START, 1, ablations.core(rule))
    assert world.converged()
    figures = crash(world, reseed(world, "trial"), host=True)
    assert figures["all know"][0] is not None


@pytest.mark.parametrize("name", scenarios.TABLE)
def test_every_scenario_has_cells_with_goals(name: str) -> None:
    cells = scenarios.cells(SimpleNamespace(scenario=[name], nodes=[16, 128], trials=1, quick=False))
    assert any(one.goals for one in cells)
    assert all(goal.source for one in cells for goal in one.goals)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    assert main([*SMALL, "--json", str(path)]) == 0
    assert "A process, N=8 LAN" in capsys.readouterr().out
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["seed"] == 1
    assert {one["cell"] for one in record["results"]} == {"process"}


def test_many_records_make_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, both = (tmp_path / f"{name}.json" for name in ("one", "two", "both"))
    for seed, path in ((1, one), (2, two)):
        assert main([*SMALL, "--seed", str(seed), "--json", str(path)]) == 0
    capsys.readouterr()
    assert summary.main([str(one), str(two), "--json", str(both)]) == 0
    told = capsys.readouterr().out
    assert "A process, N=8 LAN: " in told
    assert "[2 trials" in told
    assert "met: healthy dead sum <= 0" in told
    assert told.count("$ python -m benchmarks.detector --scenario A") == 2
    assert summary.main([str(both)]) == 0
    assert capsys.readouterr().out == told, "what was merged can be merged again"
    with pytest.raises(SystemExit, match="the same seed"):
        summary.main([str(one), str(both)])


def test_what_never_happened_stays_so_in_a_record() -> None:
    result = Result(cell(), 1, [{"all know": [1.0, 2.0]}, {"all know": None}, {"error": "Oh"}])
    again = report.load(json.loads(json.dumps(report.plain(result))))
    assert verdicts(again) == verdicts(result)
    assert report.plain(again) == report.plain(result)


def test_news_reaches_everybody_along_the_rings() -> None:
    reach = flood.spread(flood.ring_targets(200, 4), 200, Random(1), Network.lan(), 0.0)
    assert reach["missed"] == 0
    assert reach["t100"] < 0.05


def test_hayashibara_and_akka() -> None:
    plain, akka = Hayashibara(), Hayashibara(deviation_min=0.1, pause=3.0)
    for beat in range(100):
        for estimator in (plain, akka):
            estimator.heartbeat(beat + 0.01 * (beat % 3))
    assert plain.phi(99.5) < 1 < 8 < plain.phi(100.5)
    assert plain.phi(99.0 + plain.patience(8.0)) == pytest.approx(8.0, abs=0.1)
    assert akka.phi(101.0) < 1
    assert akka.patience(8.0) == pytest.approx(4.56, abs=0.02)
