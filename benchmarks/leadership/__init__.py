"""Who leads, for how long, and how soon another one does: real processes, see `__main__`."""
