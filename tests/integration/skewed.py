"""`swim` on a machine whose clock is wrong: python -m tests.integration.skewed SECONDS agent ..."""

from __future__ import annotations

import sys
import time


def main() -> None:
    right, offset = time.time, float(sys.argv.pop(1))
    time.time = lambda: right() + offset  # before anything else has a chance to import it

    from swim.cli import main as swim

    swim()


if __name__ == "__main__":
    main()
