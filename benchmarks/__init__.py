"""Measurements, each with its seed, and the peers that they compare with. Not part of the installed library."""
