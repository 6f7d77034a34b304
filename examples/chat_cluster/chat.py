"""One member of the chat: the cluster tells who is there, the transcript what to show, people what to say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import trio

import swim
from examples.chat_cluster.messages import Message, Whisper, decode, encode
from examples.chat_cluster.terminal import Terminal
from examples.chat_cluster.transcript import Shown, Transcript
from swim.text import printable

__all__ = ["TAG", "Chat"]

TAG = "chat"
"""The tag by which members of the chat know each other. Its value is new for every process."""
_TICK = 0.5
_LINE_MAX = 500
"""Bytes; longer ones are said in pieces."""
_QUEUE_MAX = 100
"""Messages on their way to one member. More are dropped: what matters is sent again."""
_UNACCEPTED_MAX = 1_000
"""So many lines of one's own may wait; then no more are read."""
_PATIENCE = 10.0
"""Seconds that who leaves waits for his last lines to be accepted."""
_HELP = """\
What you type is said to all. Besides:
/who              everybody, and how they are
/leader           who numbers the lines
/msg NAME TEXT    to one member only
/tag KEY=VALUE    say something about yourself
/log              the transcript once more
/leave            or Ctrl-D"""
_BEGIN = {"earlier": "before you came", "meanwhile": "meanwhile, on the other side"}
_END = {"earlier": "since you came", "meanwhile": "together again"}


class Chat:
    """From joining to leaving. `run` returns when the person leaves."""

    def __init__(self, cluster: swim.Cluster, terminal: Terminal) -> None:
        self._cluster = cluster
        self._terminal = terminal
        self._transcript = Transcript(peer(cluster.me))
        self._posts: dict[str, trio.MemorySendChannel[Message]] = {}
        self._gone: dict[str, str] = {}
        self._when = ""
        self._settled = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Take part until the person leaves, and what was said last is accepted."""
        self._note(f"you are {self._cluster.name}, at {self._cluster.address}; /help helps")
        async with (
            self._cluster.messages() as messages,
            self._cluster.events() as events,
            trio.open_nursery() as self._nursery,
        ):
            self._nursery.start_soon(self._follow, events)
            self._nursery.start_soon(self._listen, messages)
            self._nursery.start_soon(self._tick)
            await self._obey_person()
            with trio.move_on_after(_PATIENCE):
                await self._until_unaccepted(0)
            if waiting := self._transcript.unaccepted:
                self._note(f"the last {waiting} lines of yours were not accepted")
            self._nursery.cancel_scope.cancel()

    # --- the person
    async def _obey_person(self) -> None:
        """Everything that is typed, until the person leaves."""
        while (line := await self._terminal.read()) is not None and line.split() != ["/leave"]:
            if line.startswith("/"):
                command, _, rest = line.partition(" ")
                await self._obey(command, rest.strip())
            elif line.strip():
                for piece in pieces(line.rstrip()):
                    self._transcript.say(piece)
                self._settle()
                await self._until_unaccepted(_UNACCEPTED_MAX)

    async def _obey(self, command: str, rest: str) -> None:
        match command:
            case "/help":
                for line in _HELP.splitlines():
                    self._terminal.print(line)
            case "/who":
                self._who()
            case "/leader":
                leader = self._cluster.leader
                self._note(f"{leader.name} leads, and numbers the lines" if leader else "nobody leads")
            case "/msg":
                name, _, text = rest.partition(" ")
                await self._whisper(name, text.strip())
            case "/tag":
                self._tag(rest)
            case "/log":
                for shown in self._transcript.accepted():
                    self._say(shown)
            case _:
                self._note(f"there is no {command}: see /help")

    async def _whisper(self, name: str, text: str) -> None:
        member = self._cluster.member(name)
        if not text or member is None:
            self._note(f"there is no {name} here: see /who" if text else "say it so: /msg NAME TEXT")
            return
        try:
            for piece in pieces(text):
                await self._cluster.send(member, encode(Whisper(piece)))
            self._print(f"[to {name}] {text}", 3)
        except swim.SwimError as error:
            self._note(str(error))

    def _tag(self, text: str) -> None:
        key, equals, value = text.partition("=")
        if not equals or key in ("", TAG):
            self._note("say it so: /tag KEY=VALUE, or /tag KEY= to take it back")
            return
        me = self._cluster.me
        tags = {TAG: me.tags[TAG], **dict(public(me)), key: value}
        try:
            self._cluster.set_tags({key: value for key, value in tags.items() if value})
        except swim.TagsError as error:
            self._note(str(error))

    def _who(self) -> None:
        for member in self._cluster.members():
            state = "suspected" if member.state is swim.MemberState.SUSPECT else "joined"
            leads = "leads" if member == self._cluster.leader else ""
            tags = " ".join(f"{key}={value}" for key, value in public(member))
            self._roster(member.name, state, leads, tags)
        for name, how in self._gone.items():
            self._roster(name, how, "", "")

    def _roster(self, name: str, state: str, leads: str, tags: str) -> None:
        nick = self._terminal.nick(name) + " " * (20 - len(name))
        self._terminal.print(f"  {nick} {self._terminal.style(f'{state:<10} {leads:<6} {tags}'.rstrip())}")

    # --- the others
    async def _follow(self, events: swim.EventStream) -> None:
        async for event in events:
            match event:
                case swim.Snapshot(members):
                    self._note("here: " + ", ".join(member.name for member in members))
                case swim.MemberJoined(member):
                    self._gone.pop(member.name, None)
                    self._note(f"{member.name} joined")
                case swim.MemberSuspected(member):
                    self._note(f"{member.name} does not answer")
                case swim.MemberRecovered(member):
                    self._note(f"{member.name} answers again")
                case swim.MemberFailed(member, reason):
                    self._gone[member.name] = f"gone ({reason})"
                    self._note(f"{member.name} is gone ({reason})")
                case swim.MemberLeft(member):
                    self._gone[member.name] = "gone (left)"
                    self._note(f"{member.name} left")
                case swim.LeaderChanged(leader) if leader:
                    self._note(f"{leader.name} leads")
            leader = self._cluster.leader
            present = [peer(member) for member in self._cluster.members() if TAG in member.tags]
            self._transcript.see(present, peer(leader) if leader else None)
            for name in [name for name in self._posts if name not in present]:
                self._posts.pop(name).close()
            self._settle()

    async def _listen(self, messages: swim.MessageStream) -> None:
        async for received in messages:
            if not isinstance(received, swim.DirectMessage) or TAG not in received.sender.tags:
                continue
            try:
                message = decode(received.payload)
            except ValueError:
                continue  # not of the chat
            if isinstance(message, Whisper):
                self._terminal.print(
                    self._terminal.style(f"[{received.sender.name} to you] {message.text}", 3)
                )
            else:
                self._transcript.receive(peer(received.sender), message)
                self._settle()

    async def _tick(self) -> None:
        while True:
            self._transcript.tick()
            self._settle()
            waiting = f" ({self._transcript.unaccepted} waiting)" if self._transcript.unaccepted else ""
            self._terminal.set_prompt(f"{self._cluster.name}{waiting}> ")
            await trio.sleep(_TICK)

    async def _post(self, member: str, messages: trio.MemoryReceiveChannel[Message]) -> None:
        """Send to one member what is for it, at its pace."""
        async for message in messages:
            with suppress(swim.SendError):  # what is lost is sent again, unless the member is gone
                await self._cluster.send(member.rpartition("/")[0], encode(message))

    def _settle(self) -> None:
        """Send and show what comes of whatever has happened."""
        for member, message in self._transcript.outgoing():
            if member not in self._posts:
                self._posts[member], messages = trio.open_memory_channel[Message](_QUEUE_MAX)
                self._nursery.start_soon(self._post, member, messages)
            with suppress(trio.WouldBlock):  # likewise
                self._posts[member].send_nowait(message)
        for shown in self._transcript.news():
            self._show(shown)
        self._settled.unpark_all()

    async def _until_unaccepted(self, most: int) -> None:
        while self._transcript.unaccepted > most:
            await self._settled.park()

    # --- the screen
    def _show(self, shown: Shown) -> None:
        if shown.when != self._when:
            self._note(_BEGIN.get(shown.when) or _END[self._when])
            self._when = shown.when
        self._say(shown)

    def _say(self, shown: Shown) -> None:
        number = self._terminal.style(f"{shown.number:>4}", 2)
        nick = self._terminal.nick(shown.line.author.rpartition("/")[0])
        self._terminal.print(f"{number} {nick}: {printable(shown.line.text)}")

    def _note(self, text: str) -> None:
        self._print(f"   * {text}", 2)

    def _print(self, text: str, *style: int) -> None:
        self._terminal.print(self._terminal.style(text, *style))


def peer(member: swim.Member) -> str:
    """As the transcript knows it: another process under the same name is somebody else."""
    return f"{member.name}/{member.tags.get(TAG, '')}"


def public(member: swim.Member) -> Iterator[tuple[str, str]]:
    """The tags that people have set."""
    for key, value in member.tags.items():
        if key != TAG and not key.startswith("_"):
            yield key, value


def pieces(text: str) -> Iterator[str]:
    """At most `_LINE_MAX` bytes each."""
    piece, size = "", 0
    for char in text:
        size += len(char.encode("utf-8", "replace"))
        if size > _LINE_MAX:
            yield piece
            piece, size = "", len(char.encode("utf-8", "replace"))
        piece += char
    yield piece
