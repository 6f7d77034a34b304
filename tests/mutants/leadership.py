"""Mutants of who leads: the lease and its voters, the derived rule, identity, and functions of a leader."""

from __future__ import annotations

from tests.mutants.mutant import Package, mutants

__all__ = ["LEADERSHIP"]

_EACH_RULE = "tests/protocol/leadership/test_each_rule.py"
_LEASE_TESTS = (
    _EACH_RULE,
    "tests/protocol/leadership/test_ballots.py",
    "tests/protocol/leadership/test_lease.py",
    "tests/protocol/leadership/test_queue.py",
)
_VOTING_TESTS = (_EACH_RULE, "tests/protocol/leadership/test_voting.py")
_DERIVED_TESTS = (
    _EACH_RULE,
    "tests/protocol/leadership/test_rule.py",
    "tests/protocol/leadership/test_tenure.py",
)

_LEASE = mutants(
    "leadership/lease",
    _LEASE_TESTS,
    ("the 3 % margin is dropped", "sent + self._electorate.configuration.counted", "sent + self._length"),
    ("a leader forgets its own earlier term", "max(self.backed, *granted)", "max(granted)"),
    (
        "a leader does not know when an earlier one could grant last",
        "max(self.backed, *granted)",
        "self.backed",
    ),
    (
        "a lease of names counts from when the lease ends",
        "self.backed = self.ends - self._electorate.configuration.counted",
        "self.backed = self.ends",
    ),
    (
        "a voter that becomes free is not asked in the same round",
        "min([now + self._third / _REPEATS, *freed])",
        "now + self._third / _REPEATS",
    ),
    (
        "silent voters are asked as seldom as a lease is renewed",
        "most = self._third if known else self._third / _REPEATS",
        "most = self._third",
    ),
    (
        "voters that have granted it to another are asked as often as silent ones",
        "most = self._third if known else self._third / _REPEATS",
        "most = self._third / _REPEATS",
    ),
    (
        "a member that was told of a vote asks again and again",
        "self._length if known and lapsed else min(self._gap, most)",
        "min(self._gap, most)",
    ),
    (
        "voters that are held to be dead are asked as often as the others in a round",
        "if free and ballot.would < self._round and may_answer(name, self._table):",
        "if free and ballot.would < self._round:",
    ),
    (
        "voters that are held to be dead are asked in each round",
        "if self._round % 2 or may_answer(name, self._table):",
        "if True:",
    ),
    (
        "voters that are held to be dead are not asked",
        "if self._round % 2 or may_answer(name, self._table):",
        "if may_answer(name, self._table):",
    ),
    (
        "the lease is counted from the receipt of the grant",
        "sent + self._electorate.configuration.counted",
        "now + self._electorate.configuration.counted",
    ),
    (
        "a grant is counted for the latest round",
        "asked, ballot = self._sent.get(answer.round)",
        "asked, ballot = self._sent.get(self._round)",
    ),
    (
        "grants under an old token count",
        "for name, ballot in self.ballots.items() if ballot.round >= self._first}",
        "for name, ballot in self.ballots.items()}",
    ),
    (
        "a grant of an earlier token's round is current",
        "current = bool(self._token) and answer.round >= self._first",
        "current = bool(self._token)",
    ),
    (
        "a member with another id keeps its lease",
        "return id == self._id and id is not None and",
        "return id is not None and",
    ),
    (
        "a member below the floor keeps its lease",
        "(not is_minted(id) or id >= self._leadership.floor)",
        "True",
    ),
    (
        "a holder ignores a higher token",
        "if self._token and self._table.newest_token > self._token:",
        "if False:",
    ),
    (
        "a candidate ignores the higher token that a voter has granted",
        "if current and higher > self._token and (answer.led or not self._holds):",
        "if False:",
    ),
    (
        "a holder gives way to a token of which no term began",
        "(answer.led or not self._holds)",
        "True",
    ),
    ("a term is not over at its end", "if self.term is not None and now >= self.term_ends:", "if False:"),
    (
        "there is no time to clean up",
        "term_ends = self.ends - self._length * _CLEANUP",
        "term_ends = self.ends",
    ),
    (
        "a lease that has run out is prolonged",
        "if not self._holds and now > self._sent[self._first][0] + self._third:\n            return",
        "if False:\n            return",
    ),
    ("a late word of a voter counts", "or now > ballot.sent + self._third:", "or False:"),
    (
        "a token that cannot be yet is believed",
        "if message.token and not self._credible(message.token):",
        "if False:",
    ),
    (
        "any token is credible",
        "token is not None and is_minted(token) and not from_the_future(token, self._latest)",
        "True",
    ),
    (
        "a credible token is judged by a clock that was set back",
        "self._latest = max(self._latest, self._wall(now))",
        "self._latest = self._wall(now)",
    ),
    (
        "an answer of a member that is no voter counts",
        "if asked is None or ballot is None:",
        "if asked is None:",
    ),
    (
        "it asks for the lease without asking whether it would get it",
        "elif self._electorate.asked.majority(self._would_now):",
        "else:",
    ),
    (
        "the token is not above those that voters know of",
        "self._table.heed_token(self._highest)",
        "pass",
    ),
    (
        "what voters know of tokens is forgotten",
        'self._highest = max(self._highest, unpack_id(answer.token) or "")',
        "pass",
    ),
    ("an old answer changes whom this node writes to", "if answer.round >= ballot.answered:", "if True:"),
    ("an earlier grant replaces a later one", "if answer.round > ballot.round:", "if True:"),
    (
        "nothing is freed when a leader ends",
        "        self._clean_until = -math.inf\n        self._free(now)\n",
        "        self._clean_until = -math.inf\n",
    ),
    (
        "the lease is freed while functions clean up",
        "if (self._token or granted) and now >= self._clean_until:",
        "if self._token or granted:",
    ),
    (
        "the lease is not kept for functions that clean up",
        "self.closing = self.closing or (self.term is not None and self.busy)",
        "self.closing = False",
    ),
    ("a lease is kept after the last function has ended", "if self.closing and not running:", "if False:"),
    ("the token stays on show when the term is over", "        self._own.hide_token(now)\n", ""),
    (
        "a round that failed keeps what it was granted",
        "            self._free(now)\n            wait = self._rng.uniform",
        "            wait = self._rng.uniform",
    ),
    (
        "it asks again without pause",
        "wait = min(free - now + _SLACK_S, self._length if known and lapsed else min(self._gap, most))",
        "wait = 0.001",
    ),
    (
        "who is contested waits no random time",
        "wait = self._rng.uniform(0.5, 1.5) * self._contest_gap",
        "wait = self._contest_gap",
    ),
    (
        "whoever is refused waits for its round to end",
        "if not self._holds and hopeless(self.ballots, self._electorate.asked, self._table):",
        "if False:",
    ),
    (
        "a lost question is not repeated",
        "            if free and ballot.would < self._round and may_answer(name, self._table):\n",
        "            if False:\n",
    ),
    ("a stale turn is not learnt", "if self._token and ballot.stale != answer.round:", "if False:"),
    ("a refusal does not tell the floor", "if answer.reason is Refusal.FLOOR:", "if False:"),
    ("a leader that is behind is not told", "if self._leadership.unfollowed is not None:", "if False:"),
    (
        "a voter that may have been restarted is asked as the same process",
        "LeaderKind.ASK if lately else LeaderKind.TRY",
        "LeaderKind.ASK",
    ),
)

_QUEUE = mutants(
    "leadership/queue",
    ("tests/protocol/leadership/test_queue.py",),
    (
        "a leader that nobody suspects is waited for though its lease has run out",
        "if self._leadership.leader is not None and not lapsed:",
        "if self._leadership.leader is not None:",
    ),
    (
        "it is still the turn of the leader whose lease has run out",
        "elif not lapsed or leader is None or name != leader.name:",
        "else:",
    ),
    ("a vote that is free is not told to members without one", "elif record is not None:", "elif False:"),
    (
        "a vote that is free is told to the first member only",
        "if each not in self._told or each == self._electorate.asker",
        "if True",
    ),
    (
        "a vote that is free is told to the next member though the first one asks",
        "if each not in self._told or each == self._electorate.asker",
        "if each not in self._told",
    ),
    (
        "a vote that stays free is told without end",
        "if not token or self._own.shows_token or voter.moved or len(self._told) >= _PLACES:",
        "if not token or self._own.shows_token or voter.moved:",
    ),
    (
        "a voter that may be another process of its name speaks",
        "if not token or self._own.shows_token or voter.moved or len(self._told) >= _PLACES:",
        "if not token or self._own.shows_token or len(self._told) >= _PLACES:",
    ),
    (
        "a leader that is about to ask counts as silent",
        "if held or token != self._watched:",
        "if held:",
    ),
    (
        "a member that is no voter says that its vote is free",
        "if voter.name in self._electorate.configuration.names and voter.voters == self._own.voters:",
        "if voter.voters == self._own.voters:",
    ),
    (
        "a voter of another configuration says that its vote is free",
        "if voter.name in self._electorate.configuration.names and voter.voters == self._own.voters:",
        "if voter.name in self._electorate.configuration.names:",
    ),
    (
        "that a vote is free counts in later terms",
        "now < self._lapsed_until and self._lapsed == self._leadership.token",
        "now < self._lapsed_until",
    ),
    (
        "that a vote is free counts for ever",
        "now < self._lapsed_until and self._lapsed == self._leadership.token",
        "self._lapsed == self._leadership.token",
    ),
)

_VOTING = mutants(
    "leadership/voting",
    _VOTING_TESTS,
    ("a voter remembers the last token instead of the highest", "if token > self._token.text:", "if token:"),
    (
        "a voter grants to several",
        "if self.holder is not None and ask.process != self.holder.process:",
        "if False:",
    ),
    (
        "a voter that was restarted grants at once",
        "if now < self._started + configuration.promised:",
        "if False:",
    ),
    (
        "a voter does not tell of grants of an earlier turn",
        "None, -math.inf, 0, self._granted",
        "None, -math.inf, 0, self._earlier",
    ),
    (
        "a voter that was restarted knows that none was granted before",
        "self._started = self._granted = self._earlier = now",
        "self._started, self._granted, self._earlier = now, 0.0, 0.0",
    ),
    ("a voter grants to who is below the floor", "if is_minted(id) and id < floor:", "if False:"),
    (
        "a voter does not look at the turn",
        "Refusal.STALE if ask.turn != self._turn else Refusal.NONE",
        "Refusal.NONE",
    ),
    (
        "the same round asked again prolongs the grant",
        "if self.holder is None or ask.round > self._round:",
        "if True:",
    ),
    (
        "a round that was overtaken is granted",
        "if self.holder is not None and ask.round < self._round:",
        "if False:",
    ),
    (
        "a voter does not look at the configuration",
        "if ask.configuration != configuration.digest:",
        "if False:",
    ),
    (
        "a release frees a later round",
        "(holder.process == message.process and self._round <= message.round)",
        "(holder.process == message.process)",
    ),
    (
        "anybody's release frees",
        "(holder.process == message.process and self._round <= message.round)",
        "(self._round <= message.round)",
    ),
    ("a release of an earlier turn frees", "if message.turn != self._turn or not mine:", "if not mine:"),
    ("a turn does not end with what was granted in it", "self._turn = (self._turn + 1) & U32", "pass"),
    (
        "a grant is over too early",
        "self._grant(ask, asker, now + configuration.promised)",
        "self._grant(ask, asker, now + configuration.promised * 0.9)",
    ),
    (
        "a voter does not tell the token that it has granted",
        "seen = self._token if self._token.owner != ask.process else _Token()",
        "seen = _Token()",
    ),
    (
        "a token that was led with is forgotten with its release",
        'last = _Token(unpack_id(message.token) or "", message.process, led=True)',
        "last = _Token()",
    ),
    ("a voter that has moved votes", "if self.moved:", "if False:"),
    (
        "a trial question is granted",
        "kind = LeaderKind.GRANT if ask.kind is LeaderKind.ASK else LeaderKind.WOULD",
        "kind = LeaderKind.GRANT",
    ),
)

_PEOPLE = mutants(
    "leadership/post",
    ("tests/protocol/leadership/test_post.py",),
    (
        "a message that comes back to its sender counts",
        "if message.process == self.process or not message.process:",
        "if False:",
    ),
    ("a message for another counts", "if message.between == digest_people(label, *people):", "if True:"),
    (
        "a message for an earlier process counts",
        'for mine in (self.process, b"") if to_anybody else (self.process,):',
        'for mine in (self.process, b""):',
    ),
    (
        "the cluster's label is not in a message",
        "people = (label, source, process, target, other, place)",
        "people = (source, process, target, other, place)",
    ),
    (
        "the receiver's process is not in a message",
        "people = (label, source, process, target, other, place)",
        "people = (label, source, process, target, place)",
    ),
    (
        "the sender's name is not in a message",
        "people = (label, source, process, target, other, place)",
        "people = (label, process, target, other, place)",
    ),
)

_CONFIGURATION = mutants(
    "leadership/configuration",
    (*_LEASE_TESTS, *_VOTING_TESTS[1:]),
    ("a voter promises too little for clocks 1 % off", "_COUNTED = 0.99, 0.97", "_COUNTED = 0.98, 0.97"),
    ("the margin is too small for clocks 1 % off", "_COUNTED = 0.99, 0.97", "_COUNTED = 0.99, 0.9706"),
    (
        "less than a majority is enough",
        "return times[len(times) // 2]",
        "return times[(len(times) - 1) // 2]",
    ),
    (
        "a majority of one list is enough",
        "return min((_majority_until(names, until)",
        "return max((_majority_until(names, until)",
    ),
    (
        "the length of the lease is not in the configuration",
        "(*lists, self.length_ms, self.number, self.token, self.root)",
        "(*lists, self.number, self.token, self.root)",
    ),
    (
        "of two configurations with one number the token does not count",
        "return self.number, self.token",
        'return self.number, ""',
    ),
)

_ELECTORATE = mutants(
    "leadership/electorate",
    (_EACH_RULE, "tests/protocol/leadership/test_electorate.py", *_LEASE_TESTS[1:]),
    ("a change counts with the grants of the lease before", "if each.digest == step.digest}", "}"),
    (
        "boots of the holder are not compared",
        "if record.boot != holder.boot and record.address",
        "if record.address",
    ),
    (
        "a lease is free as soon as another process has its holder's name",
        "if message.round != self._question or holder is None or sender.name != holder.name:",
        "if holder is None:",
    ),
    (
        "an older configuration is taken over",
        "return theirs if related and theirs.rank > mine.rank else None",
        "return theirs if related else None",
    ),
    (
        "another cluster's configuration is taken over",
        "related = theirs.voters and mine.voters and theirs.root == mine.root",
        "related = theirs.voters and mine.voters",
    ),
    (
        "a node that joins keeps the list that it was started with",
        "        self._settled = True\n        self._take(theirs)\n",
        "        self._settled = True\n",
    ),
    (
        "a change is not granted by both lists",
        "token=token, old=old, bound=places",
        "token=token, old=(), bound=places",
    ),
    (
        "a change outlives the leader that made it",
        "        self.proposal = None\n\n    # --- comparing",
        "        pass\n\n    # --- comparing",
    ),
    (
        "a machine under a voter's name votes at another address",
        "self.voter.moved = self._name in self.configuration.names and (elsewhere or inherited)",
        "self.voter.moved = False",
    ),
)

_DERIVED = mutants(
    "leadership/rule",
    _DERIVED_TESTS,
    ("the floor is heard as a bare number", "return self._table.has_id(floor)", "return True"),
    (
        "the view hash leaves out the floor",
        "return self._table.view_hash ^ self._floor_hash",
        "return self._table.view_hash",
    ),
    (
        "a member below the floor keeps its id",
        "if below_floor(me, self.floor):",
        "if False:",
    ),
    (
        "a solo verdict raises the floor",
        "record.solo and record.id is not None and self.floor <= record.id < leader.id",
        "False",
    ),
    (
        "who founded alone raises the floor",
        "leader.id <= self.floor or self.founded_alone",
        "leader.id <= self.floor",
    ),
    (
        "pinned ids raise the floor",
        "if not is_minted(leader.id) or leader.id <= self.floor",
        "if leader.id <= self.floor",
    ),
    ("the floor falls", "        if floor > self.floor:\n", "        if floor != self.floor:\n"),
    ("fresh ids are taken without bound", "if self._fresh_ids.take(now):", "if True:"),
    (
        "a leader that stalled stays in front",
        "if self.leader is not None and self.leader.name == self._name and not self._own.pinned:",
        "if False:",
    ),
    (
        "a holder with other voters is followed",
        "if record.voters != self._own.voters and not followed:",
        "if False:",
    ),
    (
        "a holder that has been silent for long is followed",
        "        if record.state is not MemberState.SUSPECT:\n            return True\n",
        "        return True\n",
    ),
    (
        "a floor from the future is believed",
        "if is_minted(floor) and not from_the_future(floor, self._wall(now)):",
        "if is_minted(floor):",
    ),
    (
        "a floor of other voters is believed",
        "return record is not None and record.voters == self._own.voters",
        "return record is not None",
    ),
    (
        "a holder that is asked to step back by some does",
        "        if not self._own.shows_token:\n            super().step_back(now)",
        "        super().step_back(now)",
    ),
)

_CHOICE = mutants(
    "leadership/choice",
    (*_DERIVED_TESTS, "tests/cli/test_looking.py"),
    ("the holder with the lowest token is followed", "return max(holders, key=", "return min(holders, key="),
    ("a pinned id is below the floor, too", "record.id is not None and is_minted(record.id)", "record.id"),
)
_TENURE = mutants(
    "leadership/tenure",
    (_EACH_RULE, "tests/protocol/leadership/test_tenure.py"),
    (
        "any peer confirms any leader",
        "if leader is not None and leader.id is not None and follows and pack_id(leader.id) == message.id:",
        "if leader is not None:",
    ),
    ("a leader with another id is confirmed", "follows and pack_id(leader.id) == message.id", "follows"),
    ("a leader in doubt goes on", "if self.doubted and not self._in_touch(-math.inf):", "if False:"),
    (
        "a stall is no doubt",
        "if late > self._limit or (self.term is not None and now >= self.term_ends):",
        "if False:",
    ),
    ("less than half of the observed is enough", "(len(peers) + 1) // 2", "(len(peers) + 1) // 3"),
    (
        "old confirmations count",
        "self._confirmed[sender.name] = self._rounds[message.round]",
        "self._confirmed[sender.name] = now",
    ),
    (
        "confirmations of before a doubt count",
        "        self._rounds.clear()\n        self._confirmed.clear()",
        "        self._rounds.clear()",
    ),
    (
        "a confirmation that was not asked for counts",
        "elif message.kind is LeaderKind.FOLLOW and message.round in self._rounds:",
        "elif message.kind is LeaderKind.FOLLOW:",
    ),
    (
        "a leader that loses touch goes on",
        "elif now - self._losing_touch >= self._limit and not self._in_touch(now - self._limit):",
        "elif False:",
    ),
    (
        "a derived leader ignores a higher token",
        "if self._table.newest_token > self.term.token:",
        "if False:",
    ),
    ("terms begin without bound", "elif not self._starts.take(now):", "elif False:"),
    (
        "who does not lead any more keeps its term",
        "        if not self._leads():\n            self.end()\n            return",
        "        if not self._leads():\n            return",
    ),
)

_IDENTITY = (
    *mutants(
        "view/identity",
        ("tests/protocol/view/test_identity.py", "tests/protocol/membership/test_updates.py"),
        (
            "an absurdly late id is believed",
            "return is_minted(text) and id_milliseconds(text) > (wall + _FUTURE_S) * 1000",
            "return False",
        ),
        ("ids of one millisecond are the same", "| rng.getrandbits(_RANDOM_BITS)", "| 0"),
    ),
    *mutants(
        "gossip/own_record",
        (_EACH_RULE, "tests/protocol/gossip/test_own_record.py"),
        (
            "an id is not above those seen",
            "milliseconds = max(milliseconds, id_milliseconds(newest) + 1)",
            "pass",
        ),
        (
            "a token is not above those heard of",
            "token = self._mint_above(now, self._table.newest_token)",
            'token = self._mint_above(now, "")',
        ),
        ("a minted token is not remembered", "        self._table.heed_token(token)\n", ""),
    ),
    *mutants(
        "detector/suspicion",
        ("tests/protocol/detector/test_polls.py",),
        ("boots are not compared", "ack.boot != record.packed_boot", "False"),
    ),
    *mutants(
        "node",
        (_EACH_RULE, "tests/protocol/leadership/test_rule.py", "tests/protocol/test_node.py"),
        (
            "a failed node keeps its term",
            "        self.phase = phase\n        self._tenure.end()\n",
            "        self.phase = phase\n",
        ),
        (
            "a leaving node does not release",
            "        self._tenure.release(now)  # before anybody else can begin\n",
            "",
        ),
        (
            "a node that yields does not release",
            "            self._tenure.release(now)\n            self._leadership.step_back(now)",
            "            self._leadership.step_back(now)",
        ),
        (
            "a node that yields keeps its id",
            "            self._leadership.step_back(now)\n            self._settle(now)",
            "            self._settle(now)",
        ),
        (
            "a node that stalled for long stays in front",
            "            if late > _STALL_S:\n",
            "            if False:\n",
        ),
    ),
)

_FUNCTIONS = mutants(
    "swim/runtime/leading.py",
    ("tests/cluster/test_leading.py",),
    ("functions go on after their term", "            scope.cancel()\n", "            pass\n"),
    ("the end of a term is not moved", "                scope.deadline = ends\n", "                pass\n"),
    ("a function has no deadline at first", "trio.CancelScope(deadline=self._ends)", "trio.CancelScope()"),
    ("another token is not another term", " or theirs.token != before.token", ""),
    (
        "the farewell does not wait for functions",
        "        if not self._running:\n            self._flush()\n\n    def _flush",
        "        self._flush()\n\n    def _flush",
    ),
    ("a node that leaves begins a term", "None if self._suspended else self._node.term", "self._node.term"),
    (
        "a machine's sleep goes unnoticed",
        "        self._functions.notice_sleep()",
        "        pass",
    ),
    (
        "a function begins in a term that is over since the machine slept",
        "            self.notice_sleep()\n            term = self.term",
        "            term = self.term",
    ),
    (
        "a term that has passed is one",
        "self._term if trio.current_time() < self._ends else None",
        "self._term",
    ),
    ("a stepped down node never leads again", "        self._suspended -= 1", "        pass"),
)

_JOINING = mutants(
    "exchange/joining",
    ("tests/protocol/exchange/test_joining.py",),
    (
        "a seed is not asked again while a stream to it hangs",
        "return all(now - since >= patience for since in asked)",
        "return not asked",
    ),
    ("a seed that is slow is asked as often", "join_retry_interval * len(asked)", "join_retry_interval"),
)

_FOUNDING = mutants(
    "exchange/founding",
    ("tests/protocol/exchange/test_joining.py",),
    (
        "a node whose name is still another's founds a cluster beside it",
        "any_is(Outcome.UNFIT, Outcome.WAITING)",
        "any_is(Outcome.UNFIT)",
    ),
)

LEADERSHIP = Package(
    (
        *_VOTING_TESTS,
        *_LEASE_TESTS[1:],
        *_DERIVED_TESTS[1:],
        "tests/protocol/view/test_identity.py",
        "tests/protocol/test_node.py",
        "tests/protocol/exchange/test_joining.py",
        "tests/protocol/exchange/test_sync.py",
        "tests/cluster/test_leading.py",
        "tests/simulation/test_leases.py",
        "tests/explorer/test_explorer.py",
    ),
    (
        *_LEASE,
        *_QUEUE,
        *_VOTING,
        *_PEOPLE,
        *_CONFIGURATION,
        *_ELECTORATE,
        *_DERIVED,
        *_CHOICE,
        *_TENURE,
        *_IDENTITY,
        *_JOINING,
        *_FOUNDING,
        *_FUNCTIONS,
    ),
)
