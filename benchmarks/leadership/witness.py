"""`swim`, but a voter also says on standard error until when it has granted the lease, whenever it does.

    python -m benchmarks.leadership.witness agent --json --voters a,b,c ..

So that the benchmark knows when the lease of a leader that was killed had run out.
"""

from __future__ import annotations

import json
import sys
import time

from swim.cli import main
from swim.protocol.leadership.configuration import Configuration
from swim.protocol.leadership.voting import Voter
from swim.protocol.view.table import Record
from swim.wire.messages import LeaderKind, LeaderMessage

__all__ = ["MARK", "grants"]

MARK = "granted "


def watch() -> None:
    """From now on every grant is told."""
    answer = Voter.answer

    def told(
        self: Voter, ask: LeaderMessage, asker: Record, configuration: Configuration, floor: str, now: float
    ) -> LeaderMessage | None:
        given = answer(self, ask, asker, configuration, floor, now)
        if given is not None and given.kind is LeaderKind.GRANT:
            read = time.monotonic()
            line = json.dumps({"t": read, "until": read + (self.until - now)})
            print(MARK + line, file=sys.stderr, flush=True)
        return given

    Voter.answer = told  # type: ignore[method-assign]


def grants(complaints: list[str]) -> list[tuple[float, float]]:
    """What a voter has told: when it granted, and until when."""
    told = [json.loads(line.removeprefix(MARK)) for line in complaints if line.startswith(MARK)]
    return [(line["t"], line["until"]) for line in told]


if __name__ == "__main__":
    watch()
    main()
