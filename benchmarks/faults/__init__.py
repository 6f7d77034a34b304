"""What a cluster makes of the faults that networks have; see `__main__`."""
