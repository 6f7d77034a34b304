"""What a node thinks of one member that it observes: one state, and how evidence changes it.

`TRANSITIONS` is all of it; the diagram in the README.md of the core is drawn from it. Evidence that is not
listed for a state leaves it as it is.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["SUSPECTED", "TRANSITIONS", "Evidence", "State"]


class State(Enum):
    """Of one observed member, at one observer."""

    ANSWERING = "answering"
    """Its last ping was answered."""
    ASKED = "asked"
    """A ping is on its way."""
    DOUBTED = "doubted"
    """It is probed again and again: by UDP, through others, over the kept stream, and at its kernel."""
    SUSPECTED = "suspected"
    """phi is 3 or more, or its process is gone: the other observers are told."""
    POLLED = "polled"
    """phi is 8 or more, or its process is gone: the other observers are asked."""
    STREAM_ONLY = "stream-only"
    """It answers over the kept stream, and not by UDP: packets for it go both ways."""
    STREAM_ASKED = "stream-asked"
    """The same, and a ping is on its way."""
    GIVEN_UP = "given-up"
    """The verdict."""


SUSPECTED = State.SUSPECTED, State.POLLED, State.GIVEN_UP


class Evidence(Enum):
    """What is learnt of one observed member."""

    PINGED = "pinged"
    """Its turn has come."""
    ACKED = "ack"
    """Of a ping by UDP, or of one that another member sent for this node."""
    STREAM_ACKED = "ack over the stream"
    UDP_SILENT = "only the stream answers"
    """So many pings by UDP were lost meanwhile that it is not by chance."""
    OVERDUE = "overdue"
    """No ack in time, neither way."""
    ACCUSED = "hint or poll"
    """Another observer hears nothing from it."""
    SUCCEEDED = "another process of its name joins"
    """Elsewhere: see `Suspicion.succeeded`."""
    STREAM_ENDED = "stream ended"
    """As a process ends that dies: unasked."""
    REFUSED = "refused"
    """By the kernel of its host, or by a firewall: which of the two it was is not known."""
    KERNEL_ANSWERED = "kernel answers"
    IMPROBABLE = "phi 3"
    CONVINCING = "phi 8"
    PROVEN = "ended and refused"
    """The stream ended, and what was sent to the process after that was refused."""
    VETOED = "veto"
    TOO_FEW = "too few agree"
    AGREED = "agreed"
    LOSSY = "most is lost"
    """Several observers find that most packets to it, or of its answers, get lost."""
    REPLACED = "another process"
    """It was another process of that name that answered."""


_S, _E = State, Evidence
_OPEN = (_S.DOUBTED, _S.SUSPECTED, _S.POLLED)

TRANSITIONS: dict[tuple[State, Evidence], State] = {
    (_S.ANSWERING, _E.PINGED): _S.ASKED,
    (_S.STREAM_ONLY, _E.PINGED): _S.STREAM_ASKED,
    (_S.ASKED, _E.ACKED): _S.ANSWERING,
    (_S.STREAM_ASKED, _E.STREAM_ACKED): _S.STREAM_ONLY,
    **{
        (state, evidence): _S.DOUBTED
        for state in (_S.ANSWERING, _S.ASKED, _S.STREAM_ONLY, _S.STREAM_ASKED)
        for evidence in (_E.OVERDUE, _E.ACCUSED, _E.STREAM_ENDED)
        if evidence is not _E.OVERDUE or state in (_S.ASKED, _S.STREAM_ASKED)
    },
    **{(state, _E.ACKED): _S.ANSWERING for state in (*_OPEN, _S.STREAM_ONLY, _S.STREAM_ASKED)},
    **{(state, _E.UDP_SILENT): _S.STREAM_ONLY for state in (_S.ANSWERING, _S.ASKED, *_OPEN)},
    (_S.SUSPECTED, _E.STREAM_ACKED): _S.DOUBTED,
    (_S.POLLED, _E.STREAM_ACKED): _S.DOUBTED,
    (_S.DOUBTED, _E.IMPROBABLE): _S.SUSPECTED,
    (_S.DOUBTED, _E.PROVEN): _S.POLLED,
    (_S.SUSPECTED, _E.CONVINCING): _S.POLLED,
    (_S.SUSPECTED, _E.PROVEN): _S.POLLED,
    (_S.POLLED, _E.VETOED): _S.SUSPECTED,
    (_S.POLLED, _E.TOO_FEW): _S.SUSPECTED,
    (_S.POLLED, _E.AGREED): _S.GIVEN_UP,
    **{
        (state, evidence): _S.GIVEN_UP
        for state in _S
        if state is not _S.GIVEN_UP
        for evidence in (_E.LOSSY, _E.REPLACED)
    },
}
