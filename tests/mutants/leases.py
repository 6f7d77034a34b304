"""Mutants of the leases on names: holder, grantor, balance, what joins them, and functions of owners."""

from __future__ import annotations

from tests.mutants.mutant import Package, mutants

__all__ = ["LEASES"]

_HOLDER_TESTS = ("tests/protocol/leases/test_holder.py",)
_GRANTOR_TESTS = ("tests/protocol/leases/test_grantor.py",)

_HOLDER = mutants(
    "leases/holder",
    _HOLDER_TESTS,
    ("the margin of a lease is dropped", "self._counted = counted(session)", "self._counted = session"),
    (
        "a grant that is not waited for is accepted",
        "if state is None or not waits or over or entry.token <= state.declined:",
        "if state is None or over or entry.token <= state.declined:",
    ),
    (
        "a grant whose time is over is accepted",
        "if state is None or not waits or over or entry.token <= state.declined:",
        "if state is None or not waits or entry.token <= state.declined:",
    ),
    (
        "a grant that came too late is accepted when it is said again",
        "if state is None or not waits or over or entry.token <= state.declined:",
        "if state is None or not waits or over:",
    ),
    (
        "the age of the leader's own lease is no matter",
        "        age = message.age_ms / 1000",
        "        age = 0.0",
    ),
    (
        "a grant counts from its receipt",
        "        assert told is not None\n        self._count(state, told.sent - age, now)",
        "        assert told is not None\n        self._count(state, now - age, now)",
    ),
    (
        "a renewal counts from its receipt",
        "            if token and not state.gone:\n                self._count(state, told.sent - age, now)",
        "            if token and not state.gone:\n                self._count(state, now - age, now)",
    ),
    (
        "what is refused is prolonged by the same answer",
        "            if token and not state.gone:",
        "            if token:",
    ),
    ("a late answer shortens a lease", "        if until <= state.until:\n            return\n", ""),
    (
        "what was granted for nothing is not released",
        "            self._unwanted.append(LeaseEntry(LeaseKind.RELEASE, entry.id, token=entry.token))\n",
        "",
    ),
    (
        "what the last leader answers still counts",
        "        self.term = term\n        self._told.clear()\n",
        "        self.term = term\n",
    ),
    (
        "a renewal that is not answered is not repeated",
        "self._renew = now + self._renew_gap if self.states",
        "self._renew = now + self._session / _RENEWALS if self.states",
    ),
    (
        "a digest covers what the leader has not answered",
        "        known = [state for state in states if state.id < first]",
        "        known = states",
    ),
    (
        "a holder says that it has told all before it has",
        "        self._reporting = True\n        if self._all_known():",
        "        self._reporting = True\n        if True:",
    ),
)

_GRANTOR = mutants(
    "leases/grantor",
    _GRANTOR_TESTS,
    (
        "no pause at the start of a term",
        "        self.paused_until = earlier + self._session",
        "        self.paused_until = -math.inf",
    ),
    ("the same token is granted twice", "            self._counter += 1", "            self._counter = 1"),
    (
        "a release without its token frees",
        "if use is not None and (not entry.token or use.token == entry.token):",
        "if use is not None:",
    ),
    (
        "a repeated grant is renewed",
        "        elif use.token:\n            self._say_granted(use)",
        "        elif use.token:\n            use.number = answer.number\n            self._say_granted(use)",
    ),
    (
        "a grant counts from now",
        "self.books.grant(use, token, use.heard + self._session)",
        "self.books.grant(use, token, now + self._session)",
    ),
    (
        "a late question counts as the latest",
        "        if number >= use.number:\n            use.number, use.heard = number, now",
        "        use.number, use.heard = number, now",
    ),
    (
        "one that is not there any more is granted a name",
        "(use for use in uses.waiting.values() if now - use.heard < self._fresh)",
        "iter(uses.waiting.values())",
    ),
    (
        "what is not held is asserted after the pause",
        "if self.paused and earlier and self._objection",
        "if earlier and self._objection",
    ),
    (
        "what was released is brought back",
        "            self._released[entry.token] = None",
        "            pass",
    ),
    (
        "a token of this term is believed",
        "earlier = entry.token[:-_COUNTER_SIZE] != self.term and entry.token",
        "earlier = entry.token",
    ),
    (
        "what is released in the pause is granted",
        "while not self.paused and (uses",
        "while (uses",
    ),
    (
        "more are believed than may be",
        "if use is None and (uses is None or self._free(uses)):",
        "if use is None:",
    ),
    ("an unknown digest renews", "        elif message.digest:\n            answer.unknown = True", ""),
    (
        "a digest renews what is beyond its bound",
        "            if use.id > bound:\n                continue\n",
        "",
    ),
    (
        "another limit is not refused",
        "if uses is not None and (uses.limit, uses.owned) != (entry.number, entry.owned):",
        "if False:",
    ),
    (
        "one process may have all names",
        "if len(session.uses) >= max(1, self._names_max // 4):",
        "if False:",
    ),
    (
        "names have no limit",
        "full = uses is None and len(self.books.names) >= self._names_max",
        "full = False",
    ),
    (
        "a session of another length is no matter",
        "foreign = message.session_ms != round(self._session * 1000)",
        "foreign = False",
    ),
    (
        "in the pause nobody owns what is not heard of",
        "        if holder is None and self.paused:",
        "        if False:",
    ),
)

_BALANCE = mutants(
    "leases/balance",
    _GRANTOR_TESTS,
    ("an uneven spread stays", "counts[poor.process] + 2:", "counts[poor.process] + 3:"),
    (
        "the first that waits owns it",
        "return min(waiting, key=lambda use: use.session.owns(group), default=None)",
        "return next(iter(waiting), None)",
    ),
    ("newcomers are not let settle", "SETTLE_S = 1.0", "SETTLE_S = 0.0"),
    ("names move to one that is not heard", " and each.heard > since", ""),
    ("all moves at once", "        return None\n    offering", "        pass\n    offering"),
)

_JOINED = mutants(
    "leases/leases",
    ("tests/protocol/leases/test_leases.py",),
    (
        "without voters a death frees nothing",
        "        if self._derived and self.grantor.term:\n            self._forget_ended(now)",
        "",
    ),
    (
        "a leader grants after its term",
        "        term = self._tenure.term if now < self._tenure.term_ends else None",
        "        term = self._tenure.term",
    ),
    (
        "the pause is counted from the beginning of the term, whatever the voters say",
        "self.grantor.begin(packed, min(now, self._tenure.earlier))",
        "self.grantor.begin(packed, now)",
    ),
    (
        "a holder does not learn the age of the leader's own lease",
        "return math.ceil(1000 * max(0.0, now - self._tenure.backed))",
        "return 0",
    ),
    (
        "what is for another process is heard",
        "if message.between != self._between(message, sender.name, self._name, target):",
        "if False:",
    ),
    (
        "anybody is the leader",
        "elif message.term != self.holder.term or sender.name != self._leader:",
        "elif message.term != self.holder.term:",
    ),
    (
        "another term is this one",
        "if not message.term or message.term != self.grantor.term or len(message.numbers) != 1:",
        "if len(message.numbers) != 1:",
    ),
)

_FUNCTIONS = mutants(
    "swim/runtime/holding.py",
    ("tests/cluster/test_holding.py",),
    (
        "a block goes on without its lease",
        "            self.scope.cancel()",
        "            pass",
    ),
    (
        "a lost lease is not told",
        "                if scope.cancelled_caught:",
        "                if False:",
    ),
    (
        "a name is not released",
        "        if not self._closed:\n            self._node.leases.release(use.id, self._clock.now())",
        "        if not self._closed:\n            pass",
    ),
    (
        "the end of a lease is not moved",
        "            use.scope.deadline = self._clock.deadline(use.ends)",
        "            pass",
    ),
)

LEASES = Package(
    (
        *_HOLDER_TESTS,
        *_GRANTOR_TESTS,
        "tests/protocol/leases/test_leases.py",
        "tests/leases/test_model.py",
        "tests/cluster/test_holding.py",
    ),
    (*_HOLDER, *_GRANTOR, *_BALANCE, *_JOINED, *_FUNCTIONS),
)
