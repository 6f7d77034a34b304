"""The heart of the chat: how all members come to show the same lines in the same order.

No sockets, no clock, no trio: it is told who is there (`see`), what was typed (`say`), what others sent
(`receive`), and now and then that time passes (`tick`). It answers with messages to send (`outgoing`) and
lines to show (`news`). Messages may be lost; those from one member to another arrive in order.

The leader numbers the lines (`Say`) and sends them to all (`Append`); everybody confirms what is in his log
(`Ack`). **A line is accepted, and shown, when all present members have it.** So whoever survives has it.

A new leader begins an epoch: it asks all members what they have (`Collect`, `Report`). That binds them: they
refuse whoever led before (`Stale`), who cannot have anything accepted any more. It takes over the most recent
log (`Fetch`, `Copy`), gives it to everybody (`Copy`), and numbers on. That log has every accepted line, since
some of those who confirmed it were asked. Lines that it lacks are sent again by those who have them; a log
never takes a line twice.

Only if the members were partitioned (for one side, nobody of the other was present) can lines have been
accepted that the newer leader's log lacks. They are sent again, too, marked as said *aside*: so each side is
shown what the other said meanwhile, and every line once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from examples.chat_cluster.lines import Epoch, Line, Log
from examples.chat_cluster.messages import Ack, Append, Collect, Copy, Fetch, Message, Report, Say, Stale

__all__ = ["Shown", "Transcript"]

_BATCH = 100
"""A member has at most so many lines on their way to the leader."""
_WINDOW = 500
"""The leader numbers at most so many lines before they are accepted; less than anybody's history."""


class Shown(NamedTuple):
    """A line to show. It has its number, and so it is accepted."""

    number: int
    line: Line
    when: Literal["", "earlier", "meanwhile"] = ""
    """Before this member came; or on the other side of a partition."""


@dataclass
class Follower:
    """What the leader knows of another member's log."""

    has: int | None = None
    """It has confirmed all up to this number; None: it does not have this epoch's log yet."""
    sent: int | None = None
    told: int = -1
    """Up to where it was told that lines are accepted."""


@dataclass
class Term:
    """What a leader knows of the others in its epoch."""

    epoch: Epoch
    asked: list[str] = field(default_factory=list)
    reports: dict[str, tuple[Epoch, int]] = field(default_factory=dict)
    source: str = ""
    """Whose log is being fetched."""
    followers: dict[str, Follower] | None = None
    """None while the reports are collected."""


class Transcript:
    """One member's part in it. Members are known by texts that are never used again, not by nicknames."""

    def __init__(self, me: str) -> None:
        self.me = me
        self.shown = 0
        """All up to this number is accepted, as far as known here, and was handed out by `news`."""
        self.log = Log()
        self.pending: list[Line] = []
        """Lines of this member, and of a lost log, that have no number yet."""
        self._others: tuple[str, ...] = ()
        self._leads = False
        self._promised = Epoch()
        self._term: Term | None = None
        self._said = 0
        self._in_flight: Line | None = None
        self._replies: list[tuple[str, Message]] = []
        self._news: list[Shown] = []
        self._seen: dict[str, int] = {}  # how far each author was shown: nothing is shown twice
        self._highest = 0  # number on the screen; a lower one comes from the other side
        self._adopted: tuple[int, Literal["", "earlier", "meanwhile"]] = (0, "")

    # --- what happens
    def see(self, members: list[str], leader: str | None) -> None:
        """The present members and their leader, as this member sees them now."""
        self._others = tuple(sorted(member for member in members if member != self.me))
        self._leads = leader == self.me
        if not self._leads:
            self._term = None
        elif self._term is None:
            self._begin_term()
        self._work()

    def say(self, text: str) -> Line:
        """A line of this member's own."""
        self._said += 1
        line = Line(self.me, self._said, text)
        self.pending.append(line)
        self._work()
        return line

    def tick(self) -> None:
        """Time passes: what was not answered is sent again."""
        self._in_flight = None
        if self._term is None:
            if self._leads:
                self._begin_term()
        else:
            self._term.asked.clear()
            for follower in (self._term.followers or {}).values():
                follower.sent, follower.told = follower.has, -1
        self._work()

    def receive(self, sender: str, message: Message) -> None:
        """A message of another member."""
        match message:
            case Report() | Ack() | Say():
                self._hear(sender, message)
            case Stale(epoch):
                self._promise(epoch)
            case _ if message.epoch < self._promised:
                self._replies.append((sender, Stale(self._promised)))
            case _:
                self._promise(message.epoch)
                self._obey(sender, message)
        self._work()

    # --- what comes of it
    def outgoing(self) -> list[tuple[str, Message]]:
        """Messages to send, with their receivers."""
        messages, self._replies = self._replies, []
        if self._term is not None:
            for member in self._others:
                messages.extend((member, message) for message in self._tell(self._term, member))
        elif self.log.epoch == self._promised and self._in_flight is None and self.pending:
            batch = tuple(self.pending[:_BATCH])
            self._in_flight = batch[-1]
            messages.append((self._promised.leader, Say(self._promised, batch)))
        return messages

    def news(self) -> list[Shown]:
        """Lines to show."""
        news, self._news = self._news, []
        return news

    def accepted(self) -> list[Shown]:
        """Those that are remembered, under their present numbers."""
        lines = enumerate(self.log.after(0), self.log.base + 1)
        return [Shown(number, line) for number, line in lines if number <= self.shown]

    @property
    def unaccepted(self) -> int:
        """How many of this member's own lines are not accepted yet."""
        return self._said - self._seen.get(self.me, 0)

    # --- as a follower
    def _promise(self, epoch: Epoch) -> None:
        """Obey nobody who began earlier; and lead no longer, in an epoch that has passed."""
        if epoch > self._promised:
            self._promised = epoch
            self._term = None
            self._in_flight = None

    def _obey(self, sender: str, message: Collect | Fetch | Copy | Append) -> None:
        epoch = message.epoch
        match message:
            case Collect():
                self._replies.append((sender, Report(epoch, self.log.epoch, self.log.end)))
            case Fetch():
                self._replies.append((sender, Copy.of(epoch, self.log, self.shown)))
            case Copy():
                if (message.log_epoch, message.end) > (self.log.epoch, self.log.end):
                    self._adopt(message.log())
                self._accept(message.accepted)
            case Append(_, start, lines, accepted) if self.log.epoch == epoch and start <= self.log.end:
                for line in lines[self.log.end - start :]:
                    self.log.append(line)
                self._accept(accepted)
        if isinstance(message, Copy | Append) and self.log.epoch == epoch and self._term is None:
            self._replies.append((sender, Ack(epoch, self.log.end, self.shown)))

    def _adopt(self, log: Log) -> None:
        """Another log takes the place of this one. What it lacks of this one is to be said again."""
        old, self.log = self.log, log
        numbered = list(enumerate(old.after(0), old.base + 1))
        lost = [
            line._replace(aside=line.aside or number <= self.shown)
            for number, line in numbered
            if line not in log
        ]
        self.pending = lost + [line for line in self.pending if line not in old]
        split = any(not log.agrees(number, line) for number, line in numbered if number <= self.shown)
        if split:
            self._adopted = (log.end, "meanwhile")
        elif self.shown >= self._adopted[0]:
            self._adopted = (log.end, "" if old.end else "earlier")
        self.shown = log.base

    def _accept(self, number: int) -> None:
        """All members have the lines up to this one: show them."""
        adopted, when = self._adopted
        while self.shown < min(number, self.log.end):
            self.shown += 1
            line = self.log[self.shown]
            if line.n > self._seen.get(line.author, 0):
                self._seen[line.author] = line.n
                aside = line.aside or self.shown <= self._highest
                self._highest = max(self._highest, self.shown)
                told = "meanwhile" if aside else when if self.shown <= adopted else ""
                self._news.append(Shown(self.shown, line, told))
        self.log.forget()

    # --- as the leader
    def _begin_term(self) -> None:
        self._promised = Epoch(self._promised.number + 1, self.me)
        self._term = Term(self._promised)

    def _hear(self, sender: str, message: Report | Ack | Say) -> None:
        if self._term is None or message.epoch != self._term.epoch:
            return
        match message:
            case Report(_, log_epoch, end):
                self._term.reports[sender] = (log_epoch, end)
            case Ack(_, end, told):
                follower = (self._term.followers or {}).get(sender)
                if follower is not None:
                    follower.has = max(follower.has or 0, end)
                    follower.told = max(follower.told, told)
            case Say(_, lines):
                last = {line.author: line.n for line in self.pending}
                self.pending += [
                    line for line in lines if line not in self.log and line.n > last.get(line.author, 0)
                ]

    def _work(self) -> None:
        """Go on as far as what is known allows."""
        term = self._term
        if term is not None and term.followers is None:
            self._collect(term)
        if term is not None and term.followers is not None:
            room = max(0, _WINDOW - (self.log.end - self.shown))
            for line in self.pending[:room]:
                if line not in self.log:
                    self.log.append(line)
            self._accept(self._had_by_all(term.followers))
        self.pending = [line for line in self.pending if line not in self.log]
        if self._in_flight is not None and self._in_flight in self.log:
            self._in_flight = None

    def _collect(self, term: Term) -> None:
        """When all have said what they have: is this node's log the most recent one? Then number on."""
        if any(member not in term.reports for member in self._others):
            return
        best, source = (self.log.epoch, self.log.end), ""
        for member in self._others:
            if term.reports[member] > best:
                best, source = term.reports[member], member
        if source != term.source:
            term.source = source
            term.asked = [member for member in term.asked if member != source]
        if not source:
            self.log.epoch = term.epoch
            term.followers = {}

    def _had_by_all(self, followers: dict[str, Follower]) -> int:
        number = self.log.end
        for member in self._others:
            number = min(number, followers.setdefault(member, Follower()).has or 0)
        return number

    def _tell(self, term: Term, member: str) -> list[Message]:
        """What the member has to be told now."""
        if term.followers is None:
            if member in term.asked or (member in term.reports and member != term.source):
                return []
            term.asked.append(member)
            return [Fetch(term.epoch) if member == term.source else Collect(term.epoch)]
        follower = term.followers.setdefault(member, Follower())
        if follower.sent is None or follower.sent < self.log.base:
            message: Message = Copy.of(term.epoch, self.log, self.shown)
        elif follower.sent < self.log.end or follower.told < self.shown:
            message = Append(term.epoch, follower.sent, tuple(self.log.after(follower.sent)), self.shown)
        else:
            return []
        follower.sent, follower.told = self.log.end, self.shown
        return [message]
