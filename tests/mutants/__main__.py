"""Applies each mutant in a copy of the tree, runs the tests there, and reports those that nothing notices."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.detection import DETECTION
from tests.mutants.leadership import LEADERSHIP
from tests.mutants.leases import LEASES
from tests.mutants.mutant import AnchorLost, Mutant, Package

__all__ = ["PACKAGES", "judge", "main", "sample", "tree"]

ROOT = Path(__file__).parent.parent.parent
PACKAGES = {"leadership": LEADERSHIP, "detection": DETECTION, "leases": LEASES}
TIMEOUT_S = 300.0
_PASSED, _FAILED = 0, 1


@contextmanager
def tree(root: Path = ROOT) -> Iterator[Path]:
    """A copy of the code and its tests."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        copy = Path(directory)
        for part in ("swim", "tests", "benchmarks", "pyproject.toml"):
            if not (root / part).exists():
                continue
            if (root / part).is_dir():
                shutil.copytree(root / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(root / part, copy / part)
        yield copy


def judge(copy: Path, tests: tuple[str, ...], mutant: Mutant | None = None) -> str | None:
    """What notices this mutant (the name of a test, or a time-out), or None if it survives.

    Raises `AnchorLost`, and RuntimeError when the tests cannot be run.
    """
    path, original = copy / "pyproject.toml", (copy / "pyproject.toml").read_text(encoding="utf-8")
    if mutant is not None:
        mutated = mutant.applied(copy)
        path = copy / mutant.path
        original = path.read_text(encoding="utf-8")
        _write(path, mutated)
    try:
        return _run(copy, tests)
    finally:
        _write(path, original)


def _write(path: Path, source: str) -> None:
    """And nothing that was compiled from it before is taken for it."""
    path.write_text(source, encoding="utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()


def _run(copy: Path, tests: tuple[str, ...]) -> str | None:
    command = [
        sys.executable,
        "-B",
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "--tb=line",
    ]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": ""}
    try:
        done = subprocess.run(
            [*command, *tests], cwd=copy, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"no end within {TIMEOUT_S:.0f} s"
    if done.returncode == _PASSED:
        return None
    if done.returncode != _FAILED:
        raise RuntimeError(f"the tests could not be run:\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}")
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0].removeprefix("FAILED ") if failed else "a test"


def sample(package: Package, count: int) -> list[Mutant]:
    """Evenly spread over all."""
    mutants = package.mutants
    return [mutants[index * len(mutants) // count] for index in range(min(count, len(mutants)))]


def _notice(copy: Path, package: Package, mutant: Mutant, quick: bool) -> str | None:
    """Its own tests first: nearly all are noticed by those."""
    noticed = judge(copy, mutant.tests, mutant) if mutant.tests else None
    others = tuple(test for test in package.tests if test not in mutant.tests)
    return noticed if noticed is not None or quick else judge(copy, others, mutant)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("package", choices=sorted(PACKAGES))
    parser.add_argument("--only", help="those with this text in their names")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="only the tests that are named for each mutant")
    parser.add_argument("--check", action="store_true", help="only look whether all can be applied")
    given = parser.parse_args(argv)
    package = PACKAGES[given.package]
    mutants = [each for each in package.mutants if given.only is None or given.only in each.name]
    lost = 0
    for mutant in mutants:
        try:
            mutant.applied(ROOT)
        except (AnchorLost, SyntaxError) as error:
            lost += 1
            print(f"LOST      {error}", flush=True)
    if lost or given.check:
        print(f"{lost} of {len(mutants)} mutants cannot be applied")
        return 1 if lost else 0
    return _hunt(package, mutants, given.jobs, given.quick)


def _hunt(package: Package, mutants: list[Mutant], jobs: int, quick: bool) -> int:
    began, survivors = time.monotonic(), 0
    with tree() as first:
        everything = tuple(dict.fromkeys([test for mutant in mutants for test in mutant.tests]))
        if (broken := judge(first, everything if quick else package.tests)) is not None:
            print(f"the tests fail without any mutant: {broken}")
            return 1
    copies: SimpleQueue[Path] = SimpleQueue()

    def one(mutant: Mutant) -> tuple[Mutant, str | None, float]:
        copy, start = copies.get(), time.monotonic()
        try:
            return mutant, _notice(copy, package, mutant, quick), time.monotonic() - start
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(jobs) as pool:
        contexts = [tree() for _ in range(jobs)]
        for context in contexts:
            copies.put(context.__enter__())
        try:
            for mutant, noticed, seconds in pool.map(one, mutants):
                survivors += noticed is None
                print(f"{noticed or 'SURVIVES'}  <-  {mutant.name} ({seconds:.0f} s)", flush=True)
        finally:
            for context in contexts:
                context.__exit__(None, None, None)
    print(f"{len(mutants)} mutants, {survivors} survive, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
