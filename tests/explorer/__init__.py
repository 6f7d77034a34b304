"""Random schedules on the real core, with an attacker that repeats and reflects whatever was sent.

    python -m tests.explorer --seeds 0:1000            # every kind of schedule; exit status 1 on a finding
    python -m tests.explorer --seeds 17:18 --only weather

Whole nodes in simulated time: nothing is read of a node but what an application can read (`term`,
`term_ends`, `leader`, `phase`), so the explorer does not depend on how leadership is made.
"""
