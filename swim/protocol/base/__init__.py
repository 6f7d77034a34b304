"""What all parts of a node share: settings and chance, timers, what is to be sent, limits, networks.

A part sees its surroundings through the `Context` only: the configuration, one generator of random numbers,
the table, the timers (many inside, one deadline outside) and the outbox (all that a driver drains after
each call).
"""
