"""What all parts of a node share: settings and chance, timers, what is to be sent, limits, networks."""
