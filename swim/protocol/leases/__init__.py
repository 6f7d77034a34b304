"""Leases on names: the leader grants them, the truth is what the holders hold, and a new leader asks them.

    application -> holder -> WANT, HOLD, RELEASE -> grantor (at the leader)
                   holder <- GRANT, MOVE, REFUSE <- grantor <- balance

Parts: `books` (what a leader knows), `grantor` (what it does), `balance` (which of several that offer
themselves for a name is to have it), `holder` (what this process wants and holds), `leases` (joins them to
a node).

**One session.** All that a process wants and holds is one session of S seconds (`session_length`). Every
S/6 the holder tells the leader of it: by a digest, or by the list where the leader does not know it. What
the leader has thereby heard of is prolonged.

**Why no two processes hold one name.** Let every clock run at a rate between 1 - r and 1 + r of true time.
A holder counts a grant or a renewal for c S from when it *sent* the message that is answered, at true time
s, so until s + c S / (1 - r) at the latest. The leader counts it for S from when it *received* that
message, at v >= s, so until v + S / (1 + r) at the earliest. With c <= (1 - r) / (1 + r), 98.02 % for clocks
1 % off, the holder's end is never later; c is 97 % (`counted`). So while a holder counts on a name, its
leader's books have it, provided that

- a grant answers a *use* of a name that still waits: each use has an id that is never used again, and what
  is granted to one that waits no more is released at once, by its token;
- a release frees exactly the grant of its token (or of its use, which is over for ever then);
- every grant has a fresh token. To a use that asks again its grant is repeated as it was: same token, and
  counted from the same message;
- a message is for one process in one term of one leader: both are in the digest that seals it.

**A new leader** grants nothing, in a pause at the start of its term, but what its holders assert in that
time. With voters, what an earlier leader had granted or prolonged is over S after it sent the last round
that a majority of them granted: each of its answers says how long ago that was, its *age*, and counts for
so much less. A voter of that majority is among those that granted the new leader its term, and each of
these has said for how long it had granted none in an earlier turn: so the pause ends S after the latest of
these times. An age and such a time are measured by one clock and used by another, so they are off by up to 2r
of themselves; but they are less than S where they matter: counted from that last round, a pause ends after
98.99 % of S at the earliest, what was granted before it after 97.98 % at the latest. (Where the earlier
leader died, this is S after its death at the latest.) A grant that came too late because of its age is
declined for good: said again, it might have a lower age. Without voters the pause lasts for S from the start
of the term, and ends early as soon as all present members have told what they hold: the new leader asks them
when there is something to grant. What is released in the pause stays free, and a renewal that is older and
late does not bring it back.

**Tokens rise**: a token is that of the leader's term, and a counter.

Without voters the leader is derived from what each node believes of the others, and all this is as good as
that: in a partition each side has a leader, which grants a name of its own.
"""

from __future__ import annotations
