"""The node on trio: sockets, streams, clocks, and the functions of a leader around the core.

`driver` is the one place where the core is called. After every call it carries out what the node wants: it
sends datagrams, begins exchanges over TCP, hands out events, and re-arms one timer. All of a node is one
tree of tasks, in one thread: what takes long there is a stall to everything else, so packets and streams
are worked on in turns (`turns`), sockets before timers, members before strangers.

`sockets` are the UDP socket and the TCP listener, and what the kernel reports of them. `streams` are
exchanges of one message and one answer, `visits` the streams that others open, with their bounds. `kept`
are the connections that stay open between members: by their ends a dying process is known, and direct
messages go over them. `feeds` are what an application reads. `leading` mirrors a term onto trio's cancel
scopes.

Tasks of a node are protected from Ctrl-C (`trio.lowlevel.enable_ki_protection`), which is for the
application's body: struck in the middle, a node would end without a farewell.
"""
