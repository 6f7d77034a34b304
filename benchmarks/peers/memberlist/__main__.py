"""Build the memberlist program and print its path, or why it cannot be built."""

from __future__ import annotations

import sys

from benchmarks.peers import Absent
from benchmarks.peers.memberlist import build

program = build()
print(program)
sys.exit(isinstance(program, Absent))
