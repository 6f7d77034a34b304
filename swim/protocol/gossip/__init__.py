"""How news spreads: of members, of this node itself, and of its applications.

News is *flooded*: a node that sees it for the first time passes it on along the first rings. On a ring
every member has exactly one predecessor, so all are reached; with random targets of the same cost each
member is missed with a probability of e^-f (f: the targets of each). Measured in simulation with 10,000
members: rings with f = 4 reach all in 45 ms, random targets with f = 6 still miss 0.2 %, gossip on a timer
of 200 ms needs 1.3 s. Where packets get lost more rings are used, and behind a suspected successor the next
ones get the news too. What a flood misses rides on pings and acks for a while, and the view hash that pings
carry finds what even that has missed (`exchange.sync`).

`own_record` owns this node's own record: no other node raises its incarnation.
"""
