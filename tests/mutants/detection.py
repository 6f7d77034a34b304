"""Mutants of who is alive: silence, evidence, polls and their votes, and what closes a case."""

# ruff: noqa: E501 - an anchor is as long as the code that it stands for

from __future__ import annotations

from tests.mutants.mutant import Package, mutants

__all__ = ["DETECTION"]

_SUSPICION_TESTS = ("tests/protocol/detector/test_suspicion.py",)
_PROBING_TESTS = ("tests/protocol/detector/test_probing.py",)
_NOTICE = ("tests/protocol/detector/test_polls.py",)

_SUSPICION = mutants(
    "detector/suspicion",
    _NOTICE + _SUSPICION_TESTS,
    (
        "silence is never dated back",
        "case.since = min(case.since, max(self._attention(now) - message.age_ms / 1000, watch.heard))",
        "pass",
    ),
    (
        "silence is dated back to before it was heard here",
        "max(self._attention(now) - message.age_ms / 1000, watch.heard)",
        "self._attention(now) - message.age_ms / 1000",
    ),
    ("boots are not compared", "ack.boot != record.packed_boot", "False"),
    (
        "who hears a member does not veto",
        "        if recently and not watch.suspected and not poll.certain:\n            self._polls.answer(asker, poll, ObserverKind.VETO)\n            return\n",
        "",
    ),
    (
        "who hears a member agrees",
        "        if recently and not watch.suspected and not poll.certain:\n            self._polls.answer(asker, poll, ObserverKind.VETO)",
        "        if recently and not watch.suspected and not poll.certain:\n            self._polls.answer(asker, poll, ObserverKind.AGREE)",
    ),
    (
        "who is polled and then hears the member does not veto",
        "            self._reply(watch.case, ObserverKind.VETO)\n",
        "            watch.case.askers.clear()\n",
    ),
    (
        "who is polled and then is convinced does not agree",
        "            self._reply(case, ObserverKind.AGREE)\n",
        "            case.askers.clear()\n",
    ),
    (
        "members that were made up make an observer doubt itself",
        "for watch in watches if watch.ever_heard] or watches",
        "for watch in watches]",
    ),
    (
        "observers that were made up are waited for",
        "self._long(case, now) or not (watch.ever_heard or self._most_silent()),",
        "self._long(case, now),",
    ),
    (
        "a node that nobody has answered yet takes all others for made up",
        "self._long(case, now) or not (watch.ever_heard or self._most_silent()),",
        "self._long(case, now) or not watch.ever_heard,",
    ),
    (
        "members of whose names others ask to be let in are waited for",
        "return case.succeeded or (self._after_long(now) and case.round >= _AFTER_LONG_ROUNDS)",
        "return self._after_long(now) and case.round >= _AFTER_LONG_ROUNDS",
    ),
    (
        "members of whose names others ask to be let in are given up at once",
        "if watch.case is None or self._phi(name, watch, now) < PHI_DEAD:",
        "if watch.case is None or (self._phi(name, watch, now) < PHI_DEAD and not watch.case.succeeded):",
    ),
    ("a mute observer judges", "return self._long(watch.case, now) or not self._mute()", "return True"),
    (
        "a paused process is waited for no longer than a host",
        "            return self._config.pause_tolerance\n        return self._config.silence_tolerance",
        "            return self._config.silence_tolerance\n        return self._config.silence_tolerance",
    ),
    (
        "a kernel that was never heard is held against the member",
        "(1.0 if watch.kernel_known else _UNTRIAGED)",
        "1.0",
    ),
    (
        "the kernel's word of long ago counts",
        "if self._attention(now) - case.kernel_answered < KERNEL_FRESH_S:",
        "if case.kernel_answered > -math.inf:",
    ),
    (
        "nobody is told of a suspicion",
        "self._polls.hint(record, case.silence(self._attention(now)), case.hinted)",
        "pass",
    ),
    (
        "an observer that is told does not look",
        '        case.accusers.setdefault(accuser, "hint")\n        if fresh:\n',
        '        case.accusers.setdefault(accuser, "hint")\n        if False:\n',
    ),
    (
        "nobody else is asked to ping a silent one",
        "            probes += [self._probes.probe_through(record, helper, now) for helper in helpers]\n",
        "",
    ),
    (
        "who fell silent with all others is judged by himself",
        "if self._after_long(now) and (deserted := self._links.deserted()) is not None:",
        "if False:",
    ),
    (
        "a case stays open after an ack",
        "        self._close(name, watch)\n        self._membership.recover(name, now)",
        "        self._membership.recover(name, now)",
    ),
    (
        "a recovery is not told",
        "        self._close(name, watch)\n        self._membership.recover(name, now)",
        "        self._close(name, watch)",
    ),
    (
        "whoever observes a member no more suspects it for ever",
        "        if suspected:\n            self._membership.let_go(name, now)\n",
        "",
    ),
    (
        "a stream that ends is not looked into",
        "            watch.ended = self._attention(now)\n            self._look_at(name, Evidence.STREAM_ENDED, now)",
        "            watch.ended = self._attention(now)",
    ),
    (
        "a death is judged while the fault may be this node's own",
        "sound=case.succeeded or self._links.sound(now),",
        "sound=True,",
    ),
    (
        "an observer that its members talk to doubts itself though others take their places",
        "sound=case.succeeded or self._links.sound(now),",
        "sound=self._links.sound(now),",
    ),
    (
        "a member at a bad link is given up by its losses",
        "direct = max(usual, watch.loss.share)",
        "direct = LossEstimate().share",
    ),
)

_BLAME = mutants(
    "detector/suspicion",
    ("tests/protocol/detector/test_evidence.py",),
    (
        "UDP is said to be blocked although it works again",
        "watch is not None and watch.stream_only:",
        "watch is not None:",
    ),
)

_LOSSES = mutants(
    "detector/losses",
    ("tests/protocol/detector/test_losses.py", *_SUSPICION_TESTS),
    ("what was lost before an answer is forgotten", "        watch.loss.add(True)\n", ""),
    ("a ping after a case that is answered over the stream arrived", 'if probe.way == "udp":', "if True:"),
    ("pings after a case do not count", "watch.loss.add(ping in missing)", "pass"),
    (
        "pings after a case that are lost do not count",
        "watch.loss.add(ping in missing)",
        "watch.loss.add(False)",
    ),
    (
        "loss that all have is one member's fault",
        "watch.loss.remarkable(self._others_loss(record.name))",
        "watch.loss.remarkable(0.0)",
    ),
    (
        "a link that loses most is asked no more often than another",
        "if mostly and watch.loss.unlike(self._others_loss(record.name)):",
        "if False:",
    ),
    (
        "a link that loses a few is asked again and again",
        "if mostly and watch.loss.unlike(self._others_loss(record.name)):",
        "if watch.loss.unlike(self._others_loss(record.name)):",
    ),
    (
        "links are asked again and again where all lose as much",
        "if mostly and watch.loss.unlike(self._others_loss(record.name)):",
        "if mostly:",
    ),
    (
        "after a case two pings are sent to any member",
        "count = 2 if watch.loss.stands_out(self._others_loss(record.name)) else 1",
        "count = 2",
    ),
    (
        "a link that stands out is asked as little as another",
        "count = 2 if watch.loss.stands_out(self._others_loss(record.name)) else 1",
        "count = 1",
    ),
    (
        "something is asked where others lose as much",
        "watch.loss.unlike(others) or others > _MUCH",
        "True",
    ),
    (
        "nothing is asked where all lose much, and this node does not learn of its own links",
        " or others > _MUCH",
        "",
    ),
    (
        "pings that may all fall into one outage follow each other",
        "later = now + self._config.silence_tolerance",
        "later = now",
    ),
)

_OWN_LOSSES = mutants(
    "detector/suspicion",
    ("tests/protocol/detector/test_losses.py", *_SUSPICION_TESTS),
    (
        "what was lost to a member that another one reaches is this node's own link's fault",
        "single = by_udp and lost == 1",
        "single = lost == 1",
    ),
    (
        "what was lost to a member that answers over its stream is this node's own link's fault",
        "if single and not streamed:",
        "if single:",
    ),
    (
        "a link on which only the stream answered for a while has lost nothing",
        "if streamed and case is None:",
        "if False:",
    ),
    (
        "what was lost in a case is as improbable in the next",
        "watch.loss.average_in(lost - 1)",
        "pass",
    ),
    (
        "a pause makes losses probable",
        "if case.silence(self._attention(now)) < self._config.silence_tolerance / 2:",
        "if True:",
    ),
    (
        "two are asked for help at once",
        "min(case.round, self._config.indirect_probes)",
        "self._config.indirect_probes",
    ),
    (
        "what UDP loses where it is blocked is the member's quality",
        "or (streamed and not by_udp):",
        "or False:",
    ),
)

_LATE = mutants(
    "detector/watch",
    ("tests/protocol/detector/test_losses.py",),
    (
        "what is late in a stream is taken for lost",
        'if probe.way != "stream" and attention',
        "if attention",
    ),
)

_WATCH = mutants(
    "detector/watch",
    _NOTICE + _SUSPICION_TESTS,
    (
        "one refusal is enough",
        "return self.ended is not None and self.refused > self.ended",
        "return self.refused > -math.inf",
    ),
    (
        "a stream that ended is enough",
        "return self.ended is not None and self.refused > self.ended",
        "return self.ended is not None",
    ),
    (
        "a refusal from before the stream ended is enough",
        "self.refused > self.ended",
        "self.refused > -math.inf",
    ),
    (
        "silence counts from the last sign over a stream no more",
        "return attention - max(self.since, self.alive)",
        "return attention - self.since",
    ),
    (
        "a poll ends with the first that agrees",
        "all(name in self.agreed for name in self.awaited)",
        "any(name in self.agreed for name in self.awaited)",
    ),
)

_STATES = mutants(
    "detector/states",
    _NOTICE + _SUSPICION_TESTS,
    ("a member that was vetoed stays polled", "    (_S.POLLED, _E.VETOED): _S.SUSPECTED,\n", ""),
    ("one that too few find dead is not polled again", "    (_S.POLLED, _E.TOO_FEW): _S.SUSPECTED,\n", ""),
)

_VERDICTS = mutants(
    "detector/polls",
    _NOTICE + _SUSPICION_TESTS,
    ("vetoes are ignored", "            poll.vetoed = True\n", "            pass\n"),
    (
        "one vote is enough",
        "return 1 if observers < 2 else min(_VOTES_MAX, max(2, math.ceil(observers / 2)))",
        "return 1",
    ),
    (
        "all observers must agree",
        "return 1 if observers < 2 else min(_VOTES_MAX, max(2, math.ceil(observers / 2)))",
        "return observers",
    ),
    (
        "a vote of another poll counts",
        "if poll is not None and poll.round == message.round), None)",
        "if poll is not None), None)",
    ),
    (
        "a vote of one that was not asked counts",
        "if watch is None or poll is None or voter not in poll.asked:",
        "if watch is None or poll is None:",
    ),
    ("too few that agree are enough", "if poll.certain or len(poll.agreed) + 1 >= needed:", "if True:"),
    ("a verdict reached alone is passed on", "alone = needed == 1 and not poll.certain", "alone = False"),
    (
        "a verdict of one of two is passed on",
        "self.conclude(record, watch, _reason(certain), now, solo=not certain)",
        "self.conclude(record, watch, _reason(certain), now)",
    ),
    (
        "observers that died with it are waited for",
        "        if not poll.excuses_silent:\n            return self.needed(len(poll.asked) + 1)\n",
        "        return self.needed(len(poll.asked) + 1)\n",
    ),
    (
        "observers that do not answer are never counted",
        "        if not poll.excuses_silent:\n            return self.needed(len(poll.asked) + 1)\n",
        "",
    ),
    (
        "a verdict meets the process that took the place",
        "        if record.boot != watch.boot:\n            return",
        "        if False:\n            return",
    ),
    (
        "an answered poll goes on",
        '            watch.poll = None\n            self._timers.cancel(("poll", name))',
        "            pass",
    ),
    (
        "one voice about loss is enough",
        "max(_LOSSY_VOTES_MIN, min(_LOSSY_VOTES_MAX, len(poll.asked) + 1))",
        "1",
    ),
    (
        "observers that find nothing lost are waited for",
        "elif _enough_find_losses(poll):",
        "elif poll.complete:",
    ),
    (
        "who finds nothing lost agrees that most is",
        "if self._attention(now) - watch.lossy < _LOSSY_WINDOW_S:",
        "if True:",
    ),
    (
        "an observer agrees that most is lost although it is not any more",
        "watch is None or watch.loss.lately < _LOSSY_STILL",
        "watch is None",
    ),
    ("the others are told of a silence again and again", "        told.update(dict.fromkeys(fresh))\n", ""),
)

_FRESHNESS = mutants(
    "detector/freshness",
    _NOTICE + _SUSPICION_TESTS,
    (
        "a message that is repeated counts again",
        "elif not self._of(author).take(message.count):",
        "elif False:",
    ),
    (
        "a message for an earlier process counts",
        "elif message.to != self._own.boot.encode():",
        "elif False:",
    ),
    (
        "a message of an earlier process counts",
        "elif author.name == self._name or message.boot != author.packed_boot:",
        "elif author.name == self._name:",
    ),
    (
        "a message that comes back to its author counts",
        "elif author.name == self._name or message.boot",
        "elif message.boot",
    ),
    ("an old ping shows that its sender lives", "fresh = 0 < heard.pings < ping.count", "fresh = True"),
)

_ACCRUAL = mutants(
    "detector/accrual",
    ("tests/protocol/detector/test_accrual.py",),
    (
        "phi weighs the more probable explanation only",
        "smaller - math.log10(1 + 10 ** (smaller - larger))",
        "larger",
    ),
    (
        "silence before now counts",
        "math.log10(1 + max(0.0, silence) / _PAUSE_SCALE)",
        "math.log10(1 + abs(silence) / _PAUSE_SCALE)",
    ),
    ("an ack is waited for too short", "self.mean + max(4 * self.variation, self.mean / 4)", "self.mean"),
)

_LOSS = mutants(
    "base/loss",
    ("tests/protocol/detector/test_accrual.py",),
    ("few probes are remarkable", "if len(self._recent) >= _RECENT_MIN else 0.0", "if True else 0.0"),
    (
        "losses are remarkable whatever the others have",
        "return self.recently >= _REMARKABLE and self.unlike(usual)",
        "return self.recently >= _REMARKABLE",
    ),
)

_PROBING = mutants(
    "detector/probing",
    (*_NOTICE, *_PROBING_TESTS, "tests/protocol/detector/test_losses.py"),
    ("an ack counts twice", "                self._probes.forget([probe])\n", "                pass\n"),
    (
        "the last breath of a process counts",
        "if watch.ended is not None and probe.sent <= watch.ended:",
        "if False:",
    ),
    ("a ping for another is answered", 'if ping.node not in ("", self._name):', "if False:"),
    (
        "anybody makes this node ping anything",
        "if target is None or target.name != request.node:",
        "if target is None:",
    ),
    (
        "what is asked by UDP and over the stream is asked twice",
        "relay.seq == request.seq and relay.requester == requester",
        "False",
    ),
    (
        "what came over the stream is answered by UDP, too",
        '"stream" if streamed else None',
        "None",
    ),
    (
        "what a stream took to repeat a ping is taken for the round trip",
        'if probe.way == "udp" or watch.stream_only:',
        "if True:",
    ),
    (
        "an ack shows no boot",
        "                boot=self._own.boot.encode(),\n",
        '                boot=b"",\n',
    ),
    (
        "observers do not take turns",
        "wait_ms=0 if sender is None else self._wait_ms(sender.name, now),",
        "wait_ms=0,",
    ),
)

_PROBES = mutants(
    "detector/probes",
    _PROBING_TESTS,
    (
        "numbers of pings can be guessed",
        "seq = self._rng.getrandbits(32)",
        "seq = len(self._flights) + self.pings",
    ),
)

_CONTESTS = mutants(
    "membership/contests",
    ("tests/protocol/membership/test_updates.py",),
    (
        "one that does not answer by UDP is not called over TCP",
        '            self._timers.set(("contest", claim), now + rtt_max / _TRIES, partial(self._call, question))\n',
        "",
    ),
    (
        "a member moves by anybody's word",
        "return old.present or (old.boot == new.boot and new.own)",
        "return old.present and old.boot != new.boot",
    ),
)

_UPDATES = mutants(
    "membership/updates",
    ("tests/protocol/membership/test_updates.py",),
    ("a rival is told by UDP only", "self._exchange(claim, at)", "pass"),
)

_NEWCOMERS = mutants(
    "membership/newcomers",
    ("tests/protocol/membership/test_newcomers.py",),
    ("members that never answered cost no belief", "self._believed.fine(_DISAPPOINTED, now)", "pass"),
)

_PUSHED = mutants(
    "membership/updates",
    ("tests/protocol/membership/test_newcomers.py",),
    (
        "a state that nobody asked for is believed",
        "(not pushed and self.newcomers.believed(now))",
        "self.newcomers.believed(now)",
    ),
)

_SENDERS = mutants(
    "exchange/sync",
    ("tests/protocol/membership/test_newcomers.py",),
    ("who joins is not believed either", "pushed and node.name != sender", "pushed"),
    ("what was asked for is not believed either", "theirs, bool(host), joined", "theirs, True, joined"),
)

_TABLE = mutants(
    "view/table",
    ("tests/protocol/view/test_table.py",),
    ("the dead that never answered have all the room", "self._dead_max // _UNMET_SHARE", "self._dead_max"),
    ("an age goes into what is kept", '"entry" if self.present else "_ageless"', '"entry"'),
)

_HEARSAY = mutants(
    "membership/hearsay",
    ("tests/protocol/membership/test_updates.py",),
    ("a refusal is believed beside any word", "is not None and question.gone:", "is not None:"),
    (
        "one is asked again for each that says that it is dead",
        "self._open.get(record.name) or self._put(",
        "self._put(",
    ),
    ("a refusal is waited out", "is not None and question.gone:", "is not None and not question.gone:"),
)

_MADE_UP = mutants(
    "membership/hearsay",
    ("tests/simulation/test_scenarios.py::test_a_made_up_death_of_the_leader_is_believed_by_nobody",),
    (
        "a death is believed at once by those that never pinged the member",
        "if self._doubts(record):",
        "if self._doubts(record) or not self._table.met(record):",
    ),
)

_LOST = mutants(
    "membership/hearsay",
    ("tests/protocol/exchange/test_search.py",),
    ("one that is said to live is not asked", "if not record.solo or now -", "if True or now -"),
    ("one that is said to live is asked at each word", "-math.inf) < _LOOK_AGAIN_S", "-math.inf) < 0.0"),
    ("another process stands for one that is said to live", "if ack.boot == record.packed_boot:", "if True:"),
)

_LINKS = mutants(
    "membership/links",
    ("tests/protocol/membership/test_links.py",),
    ("one that the others have given up judges them alone", "own = self._given_up or", "own ="),
    (
        "deaths that were made up count as outages",
        "if self._long_silence(now) or now - self._silence_ended < _OVER_S:",
        "if True:",
    ),
    ("an outage is forgotten at once", "now - self._outages[0] < _LATELY_S", "now - self._outages[0] < 1.0"),
    ("an outage is never forgotten", "now - self._outages[0] < _LATELY_S", "True"),
    (
        "one that is cut off again and again gives up all others each time",
        "(_PATIENCE if alone and again",
        "(1.0 if alone and again",
    ),
    ("it never does any more", "(_PATIENCE if alone and again", "(1e9 if alone and again"),
    (
        "a silence of its own makes the next one shorter",
        "return at < self._given_up_at",
        "return False and at < self._given_up_at",
    ),
)

_READMISSION = mutants(
    "membership/readmission",
    ("tests/simulation/test_back.py",),
    ("deaths that were made up count as cuts", "if cut_off > last and now", "if now"),
)

DETECTION = Package(
    (
        *_SUSPICION_TESTS,
        *_PROBING_TESTS,
        "tests/protocol/detector/test_accrual.py",
        "tests/protocol/detector/test_losses.py",
        "tests/protocol/exchange/test_search.py",
        "tests/protocol/membership/test_links.py",
        "tests/protocol/membership/test_updates.py",
    ),
    (
        *_SUSPICION,
        *_BLAME,
        *_LOSSES,
        *_OWN_LOSSES,
        *_LATE,
        *_WATCH,
        *_STATES,
        *_VERDICTS,
        *_FRESHNESS,
        *_ACCRUAL,
        *_LOSS,
        *_PROBING,
        *_PROBES,
        *_CONTESTS,
        *_UPDATES,
        *_NEWCOMERS,
        *_PUSHED,
        *_SENDERS,
        *_TABLE,
        *_HEARSAY,
        *_LOST,
        *_MADE_UP,
        *_LINKS,
        *_READMISSION,
    ),
)
