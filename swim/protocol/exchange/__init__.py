"""What goes beyond single packets: newcomers, whole states, and members that were lost.

`joining` makes a node a member. It *looks* at its seeds first, without telling of itself, so that it can
make an id above all that exist. `seeds` keeps what each seed has said to it. Only a node that is itself one
of the seeds may found a cluster; of those that start together only the one with the lowest address does
(`founding`).

`sync` exchanges whole states over TCP (memberlist's push/pull): with a random member now and then, and at
once where the view hashes that pings carry have differed for longer than news travels. What the floods
missed is repaired so.

`search` pings members that were given up, by name, once a second: parts of a cluster that were cut off from
each other are one again as soon as packets pass both ways. `reunion` does the same for seeds, by which
clusters that were founded apart become one. `attempts` keeps both from calling an address for ever because
a stranger named it.

`strangers` lets news of unknown senders wait until these have answered a ping.
"""
