"""The node on trio: sockets, streams, clocks, and the functions of a leader around the core."""
