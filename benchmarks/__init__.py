"""Measurements, each with its seed, and the peers to compare with. Not part of the installed library."""
