"""The records of many runs as one: trials of the same cell from other seeds are put together.

    python -m benchmarks.detector.summary RECORD.json ... [--json MERGED.json] > summary.txt

Prints each cell with its figures and with what they are compared with; `--json` writes the same as a record,
which can be merged again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.detector import report
from benchmarks.detector.cells import Result

__all__ = ["main", "merge"]

HEAD = """Each cell: mean / p99 / worst of all trials, times in s; below, each figure of the prototype beside
it (benchmarks/detector/bounds.py). Made from records; what is not here was not run."""


def runs_of(record: dict[str, Any], told: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs that a cell's trials come from."""
    if "runs" in told:
        return list(told["runs"])
    swim, date = record["versions"]["swim"], record["machine"]["date"]
    run = {"command": record["command"], "seed": told["seed"], "swim": swim, "date": date}
    return [run | {"trials": told["trials"], "hash": told["hash"]}]


def merge(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells of all records, in order, each once. The same trials twice are refused."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for record in records:
        for told in record["results"]:
            key = tuple(json.dumps(told[name]) for name in ("scenario", "cell", "options", "rules"))
            told = told | {"runs": runs_of(record, told)}
            found[key] = _sum(found[key], told) if key in found else told
    return [found[key] for key in sorted(found, key=lambda key: _order(found[key]))]


def _order(told: dict[str, Any]) -> tuple[Any, ...]:
    options = told["options"]
    return told["scenario"], options["nodes"], options["wan"], options["loss"], told["cell"], told["rules"]


def _sum(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    runs = one["runs"] + other["runs"]
    if len({run["seed"] for run in runs}) < len(runs):
        raise SystemExit(f"two runs of {one['scenario']} {one['cell']}, {one['start']} have the same seed")
    left, right = report.load(one), report.load(other)
    both = Result(left.cell, left.seed, left.trials + right.trials, left.seconds + right.seconds)
    both.megabytes = max(left.megabytes, right.megabytes)
    return report.plain(both) | {"hash": one["hash"], "runs": runs}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detector.summary", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    records = [json.loads(path.read_text(encoding="utf-8")) for path in args.records]
    cells, tables = merge(records), [table for record in records for table in record.get("tables", ())]
    if args.json:
        lines = ",\n".join(json.dumps(cell) for cell in cells)
        text = f'{{"results": [\n{lines}\n], "tables": {json.dumps(tables)}}}\n'
        args.json.write_text(text, encoding="utf-8")
    show(cells, tables)
    return 0


def show(cells: list[dict[str, Any]], tables: list[Any]) -> None:
    results = [report.load(told) for told in cells]
    judged = [met for result in results for _, _, met in result.verdict()]
    trials = sum(len(result.trials) for result in results)
    print(f"{HEAD}\n{len(cells)} cells, {trials} trials; {sum(judged)} of {len(judged)} comparisons met.")
    for scenario, group in groupby(zip(cells, results, strict=True), key=lambda pair: pair[0]["scenario"]):
        print(f"\n{scenario}")
        runs: dict[str, str] = {}
        for told, result in group:
            runs |= {run["command"]: f"{run['swim']}, {run['date']}" for run in told["runs"]}
            print(f"  {report.line(result)}, {result.megabytes} MB")
            for text in report.verdicts(result):
                print(f"      {text}")
        for command, swim in runs.items():
            print(f"  $ {command}  # {swim}")
    for table in tables:
        print()
        if isinstance(table, list):
            print("\n".join(table))
            continue
        print(table["title"])
        for row in table["rows"]:
            print("  " + "; ".join(f"{name} {' '.join(text.split())}" for name, text in row.items() if text))


if __name__ == "__main__":
    sys.exit(main())
