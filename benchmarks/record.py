"""What was measured, on what, and from which seed: one JSON file a run, under `benchmarks/results/`.

parser = record.parser("overhead", __doc__)        # --seed, --json and --quick, as all benchmarks have them
args = record.parse(parser, argv)
...
record.write(args, results=[...])
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "check_known", "machine", "parse", "parser", "swim_version", "write"]

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("trio", "msgpack")


def parser(name: str, description: str | None, *, seed: int | None = None) -> argparse.ArgumentParser:
    """The options that all benchmarks share. Without a `seed` each run takes a fresh one, and says it."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.set_defaults(benchmark=name)
    made.add_argument("--seed", type=int, default=seed, help="the same seed makes the same choices")
    made.add_argument("--quick", action="store_true", help="a small run; its record goes to results/quick/")
    made.add_argument("--json", type=Path, help=f"the record; by default benchmarks/results/{name}.json")
    return made


def parse(made: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, with a seed, where the record goes, and the command that measures the same again."""
    words = sys.argv[1:] if argv is None else list(argv)
    args = made.parse_args(words)
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(2**32)
        words = [*words, "--seed", str(args.seed)]
    if args.json is None:
        args.json = (RESULTS / "quick" if args.quick else RESULTS) / f"{args.benchmark}.json"
    args.command = shlex.join(["python", "-m", f"benchmarks.{args.benchmark}", *words])
    return args


def check_known(made: argparse.ArgumentParser, what: str, asked: Iterable[str], known: Sequence[str]) -> None:
    """End with an error if one of the names that are asked for is not known."""
    if unknown := [name for name in asked if name not in known]:
        made.error(f"there is no {what} {unknown[0]!r}; there are: {', '.join(known)}")


def machine() -> dict[str, Any]:
    """What the figures are measured on."""
    model = "unknown"
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_average": os.getloadavg(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def swim_version(checkout: Path = RESULTS.parent) -> str:
    """The commit where there is one: the version number stays the same for weeks."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        described = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return "unknown"
    return described.stdout.strip() or "unknown"


def write(
    args: argparse.Namespace,
    *,
    results: Any,
    versions: Mapping[str, str] | None = None,
    skipped: Sequence[str] = (),
    **more: Any,
) -> Path:
    """Everything that was measured, and how to measure it again. May be called again as results come in.

    `versions` are those of the peers; `skipped` says what was left out, why, and the command that installs
    it; `more` becomes further fields.
    """
    known = {"swim": swim_version()} | {name: metadata.version(name) for name in PACKAGES}
    content = {
        "command": args.command,
        "seed": args.seed,
        "machine": machine(),
        "versions": known | dict(versions or {}),
        "skipped": list(skipped),
        **more,
        "results": results,
    }
    path: Path = args.json
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
