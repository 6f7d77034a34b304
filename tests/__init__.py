"""The tests. `pytest` runs all of them; HYPOTHESIS_PROFILE=explore searches further, with fresh seeds."""
