"""What the benchmarks share: records that can be repeated, pictures, and the one command for all."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from benchmarks import core, pictures, readme, record, show, simulated, tradeoff, work_queue
from benchmarks.__main__ import ALL, Outcome, main, summary


def test_a_record_says_how_to_measure_again(tmp_path: Path) -> None:
    parser = record.parser("sample", "A sample.")
    args = record.parse(parser, ["--json", str(tmp_path / "sample.json")])
    path = record.write(args, results=[1.5], skipped=["x is skipped"], versions={"peer": "1"})
    content = json.loads(path.read_text(encoding="utf-8"))
    assert shlex.split(content["command"])[-2:] == ["--seed", str(args.seed)]
    assert content["results"] == [1.5]
    assert content["skipped"] == ["x is skipped"]
    assert {"swim", "trio", "msgpack", "peer"} <= content["versions"].keys()
    assert {"cpu", "cores", "system", "python", "load_average", "date"} <= content["machine"].keys()


def test_a_quick_run_never_replaces_a_record() -> None:
    parsed = [record.parse(record.parser("sample", ""), words) for words in ([], ["--quick"])]
    assert [args.json.relative_to(record.RESULTS) for args in parsed] == [
        Path("sample.json"),
        Path("quick/sample.json"),
    ]


@pytest.mark.parametrize(
    ("values", "text"),
    [([], "never"), ([0.0123], "0.012"), ([1.0, 2.0, 300.0], "2.00 (1.00-300)"), ([float("inf")], "never")],
)
def test_the_middle_and_the_ends(values: list[float], text: str) -> None:
    assert show.middle(values) == text


def test_a_queue_that_is_not_there_is_skipped_with_the_reason() -> None:
    assert work_queue.why_not("swim", "/bin/false") is None
    for name in ("dask", "celery"):
        assert re.match(
            rf"{name} is skipped: .*; install it with: pip install",
            str(work_queue.why_not(name, "/bin/false")),
        )


def test_a_picture_is_two_files_without_a_background(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "curve.json"
    with pictures.picture(path, "A curve", x="members", y="seconds", log="x") as axes:
        pictures.line(axes, [1, 10, 100], [1.0, None, 3.0], "one")
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert pictures.INK in path.with_suffix(".svg").read_text(encoding="utf-8")


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#0d1117"])
@pytest.mark.parametrize("colour", [pictures.INK, *pictures.COLOURS])
def test_colours_are_seen_on_light_and_dark_pages(colour: str, page: str) -> None:
    assert contrast(colour, page) >= 3.0  # WCAG 2.1, 1.4.11: graphics


def test_every_benchmark_is_a_command_of_its_own() -> None:
    folder = record.RESULTS.parent
    for benchmark in ALL:
        path = benchmark.name.replace(".", "/")
        command = folder / f"{path}.py", folder / path / "__main__.py"
        assert any(path.exists() for path in command), benchmark.name


@pytest.mark.long
def test_what_a_message_costs(tmp_path: Path) -> None:
    path = tmp_path / "core.json"
    words = ["--quick", "--nodes", "3", "--rounds", "1", "--json", str(path)]
    assert core.main(words) == 0
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert {one["part"] for one in results} == {"codec", "core", "node", "memory", "simulation", "import"}
    assert all(value > 0 for one in results for value in one.values() if isinstance(value, float))
    answered = next(one for one in results if one["part"] == "node")
    assert answered["answered"] > 100
    # Of 10,000 members, where about 890 were measured: fewer share the caches of the process.
    each = core.memory_result(10_000)["bytes a member"]
    assert isinstance(each, float)
    assert each <= 900


def test_the_price_of_being_quick(tmp_path: Path) -> None:
    path = tmp_path / "tradeoff.json"
    assert tradeoff.main(["--quick", "--hours", "1", "--json", str(path)]) == 0
    curves = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert set(curves) == set(tradeoff.DEFAULTS)
    for points in curves.values():
        assert [one["detection"] for one in points] == sorted(one["detection"] for one in points)
        assert [one["false"] for one in points] == sorted((one["false"] for one in points), reverse=True)


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["speed"])
    assert f"there are: {', '.join(benchmark.name for benchmark in ALL)}" in capsys.readouterr().err


@pytest.mark.long
def test_news_in_simulation_reaches_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "simulated.json"
    assert simulated.main(["--nodes", "5", "--trials", "1", "--quick", "--json", str(path)]) == 0
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert {one["scenario"] for one in results} == set(simulated.SCENARIOS)
    assert all(one["half"] <= one["all"] < 60 for one in results)
    assert "host is lost" in capsys.readouterr().out


def test_the_figures_on_the_pages_are_those_of_the_records() -> None:
    assert readme.main(["--check"]) == 0, "run python -m benchmarks.readme"
    shown = between_marks(readme.FIGURES)
    assert "| --- |" in shown
    records = [json.loads(path.read_text(encoding="utf-8")) for path in record.RESULTS.glob("*.json")]
    commands = set(map(readme.command_of, records))
    told = re.findall(r"^`(python -m benchmarks[^`]*)`: ", shown, re.MULTILINE)
    assert told
    assert [command for command in told if command not in commands] == []


def test_the_readme_has_six_figures_with_commands_that_exist() -> None:
    commands = re.findall(r"^  `python -m benchmarks\.(\w+)", between_marks(readme.README), re.MULTILINE)
    assert len(commands) == 6
    assert set(commands) <= {benchmark.name for benchmark in ALL}


def between_marks(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition(readme.BEGIN)[2].partition(readme.END)[0]


def test_the_summary_names_records_failures_and_what_a_quick_run_leaves_out() -> None:
    by_name = {benchmark.name: benchmark for benchmark in ALL}
    path = record.RESULTS / "quick" / "faults.json"
    outcomes = [Outcome(by_name["faults"], 0, 41.6, path, []), Outcome(by_name["core"], 1, 0.4, None, [])]
    assert list(summary(outcomes, quick=True)) == [
        ("faults", "42", "benchmarks/results/quick/faults.json", "all but one firewall and one death"),
        ("core", "0", "failed, exit status 1", ""),
    ]
    assert [len(row) for row in summary(outcomes, quick=False)] == [3, 3]
