"""Leases on names: unit tests of their parts, and random schedules that look for two holders of one name.

python -m tests.leases --seeds 0:1000               # holder and grantor alone, leaders by decree
python -m tests.leases --seeds 0:100 --whole        # whole nodes in simulated time
"""
