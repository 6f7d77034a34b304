"""What users give a world is checked at once: else their test would pass and have tested nothing."""

from __future__ import annotations

import math

__all__ = ["check_duration", "check_positive", "check_share"]


def check_share(what: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{what}: a share is between 0 and 1, not {value!r}")


def check_duration(what: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{what} must be finite and not negative, not {value!r}")


def check_positive(what: str, value: float) -> None:
    if not 0.0 < value < math.inf:
        raise ValueError(f"{what} must be finite and greater than 0, not {value!r}")
