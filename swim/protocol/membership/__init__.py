"""Which nodes are members: news is applied, newcomers and rivals have to answer, and how this node returns.

`updates` has the rules on receipt. News of *one* process is compared by incarnation (`view.precedence`); of
two processes under one name the one with the later id is the successor, and the earlier is asked whether it
lives before its name or address is given away, and one that is said to have moved has to answer where it is
said to be (`contests`): by UDP (`asking`), or over TCP (`base.calling`). An accused member refutes at once,
and only it can undo its death.

What a node says of *itself* is believed; what others say of members that this node does not know has to be
answered for when it comes unasked in a whole state, or when there is a crowd of it (`newcomers`): a cluster
that meets this one answers, made-up members do not. What others say of the death of a member that this node
has nothing against is asked of that member first (`hearsay`). `naming` settles which of two live processes
keeps a name, `links` whether it is this node that is ill, `readmission` when a node that was given up is a
member again. The return is decided by the node itself, since it alone knows its links.
"""
