"""Connections between members that are kept open: how a death is noticed, and what applications say to each
other.

Each member opens its own stream to those to which it has something to say (`opener`), and accepts those of
others (`acceptor`). `stream` is what both ends have in common, `streams` are all of a node. What goes over
one is in `swim.wire.kept`.

**Records** are messages, requests and answers (`swim.wire.records`). `sending` keeps them until the other
application has taken them, and writes what is left again on the next stream; `receiving` ignores what came
before. A record belongs to a **lane**: messages of one topic, requests of one topic, or the answers. Each
lane has a window of its own at both ends, so nothing waits for the reader of something else, and all share
one numbering and one stream. `mail` is both together. Many are sent and read without a checkpoint for
each (`swim.runtime.feeds.pace`), up to four frames are written at once, and records are
acknowledged together.

**Requests** (`calls`, `serving`) are taken when their handler begins, so those that wait hold up their
askers. An answer comes back on the other one's stream, in a lane that nothing can fill. It names the call,
eight bytes which only the process that was asked has been told: that of anybody else is ignored.

That a request is carried out at most once rests on what the serving process remembers of the asker, and it
forgets that when it gives the asker up. Were the asker then believed to be alive again, a request that is
written again would be carried out again, and one whose answer was lost would wait for ever. So each HELLO
of an acceptor says under which `memory` it remembers the opener; when that is another than before, all
calls to it end with an error, and nothing of them is written again. A process that is back after it was
given up is hung up on once, so that it hears of that.
"""
