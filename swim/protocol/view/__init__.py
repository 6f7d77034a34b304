"""What this node knows of the cluster: identities, the precedence of news, the rings, the table of members.

An *id* orders the members by when they joined; a *boot* (eight random characters) tells one process of a
name from the next; an *incarnation* is raised by the member alone, to refute. The same boot with another id
is an update; another boot under the name is another process, and the earlier one has failed.

`table` has one immutable record for each member, replaced as a whole, and the indexes that the parts need.
Its *view hash* covers what members must agree on (names, ids, incarnations, addresses, tags of the present
ones), one share for each record, so that it costs nothing to keep up to date. Dead records are kept for a
day, bounded in number: a death must not be forgotten while an old table of another node could bring its
victim back to life.
"""
