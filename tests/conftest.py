"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# The same examples on every run, however slow the machine: a failure in CI is a failure at home.
settings.register_profile("steady", derandomize=True, deadline=None, database=None, print_blob=True)
# HYPOTHESIS_PROFILE=explore: new examples every time, and many more of them.
settings.register_profile("explore", deadline=None, max_examples=5_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
