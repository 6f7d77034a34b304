"""Programs in interpreters that hash text differently."""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["printed"]


def printed(program: str, seeds: tuple[str, ...]) -> set[str]:
    """What the program prints with each of these seeds (PYTHONHASHSEED)."""
    return {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in seeds
    }
