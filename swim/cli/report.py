"""What a node observed, as the objects of the agent's JSON lines, and as lines for people."""

from __future__ import annotations

import base64
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from swim.events import (
    Event,
    HeldOff,
    LeaderChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    NameDisputed,
    Snapshot,
    VotersDiffer,
)
from swim.messages import Broadcast, DirectMessage, Lagged, Message
from swim.text import printable
from swim.types import Member, MemberState

__all__ = [
    "EventLines",
    "Fields",
    "as_json",
    "as_text",
    "counted",
    "message_fields",
    "payload_field",
    "sentence",
    "shown_tags",
    "style_of",
]

Fields = dict[str, Any]

_SURROGATES = re.compile("[\ud800-\udfff]")
_SURROGATE = "\\ud"
"""How each of them begins in JSON; as do the characters that are written as two."""
_encode = json.JSONEncoder(separators=(",", ":")).encode


def shown_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The application's tags: names that start with `_` are ours."""
    return {name: value for name, value in tags.items() if not name.startswith("_")}


def payload_field(payload: bytes) -> str | dict[str, str]:
    """The payload of a message: text where it is text, else base64."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(payload).decode()}


def message_fields(message: Message) -> Fields:
    """The line for one message; an error, where some are missing."""
    match message:
        case DirectMessage(sender, payload):
            line = {"sender": sender.name, "kind": "direct", "name": None, "payload": payload_field(payload)}
        case Broadcast(origin, name, payload):
            line = {
                "sender": None if origin is None else origin.name,
                "kind": "broadcast",
                "name": name,
                "payload": payload_field(payload),
            }
        case Lagged(count):
            return {"event": "error", "message": f"{count} broadcasts came too fast to be shown"}
    return {"event": "message", **line}


class EventLines:
    """Turns one node's events into lines, remembering what it has already said.

    A snapshot (the first, or one in place of lost events) becomes the lines that lead from what was
    said to what is.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._me: Member | None = None
        self._others: dict[str, Member] = {}
        self._leader: tuple[str, str | None] | None = None
        self._begun = False

    def observe(self, event: Event) -> Iterator[Fields]:
        """The lines for one event."""
        match event:
            case Snapshot(members, leader):
                yield from self._snapshot(members, leader)
            case MemberJoined(member):
                yield from self._joined(member)
            case MemberUpdated(member):
                yield from self._updated(member)
            case MemberSuspected(member, phi):
                self._remember(member)
                measured = phi is not None and math.isfinite(phi)
                yield {"event": "suspect", "member": member.name, "phi": phi if measured else None}
            case MemberRecovered(member):
                self._remember(member)
                yield {"event": "recover", "member": member.name}
            case MemberFailed(member, reason, told_by):
                self._others.pop(member.name, None)
                yield {"event": "dead", "member": member.name, "reason": reason, "told_by": told_by}
            case MemberLeft(member):
                self._others.pop(member.name, None)
                yield {"event": "leave", "member": member.name}
            case LeaderChanged(leader):
                yield from self._led_by(leader)
            case HeldOff(why):
                yield {"event": "held-off", "reason": why}
            case VotersDiffer(member, theirs, their_lease, ours, our_lease):
                yield {
                    "event": "error",
                    "message": f"{member.name} goes by the voters ({', '.join(theirs) or 'none'}) and a "
                    f"lease of {their_lease:g} s, this node by ({', '.join(ours) or 'none'}) and "
                    f"{our_lease:g} s, or it was started with these",
                }
            case NameDisputed(member, address):
                yield {
                    "event": "error",
                    "message": f"another process is {member.name}, too, and answers at {address}: "
                    "stop one of them",
                }

    def _remember(self, member: Member) -> None:
        if member.name == self._node:
            self._me = member
        else:
            self._others[member.name] = member

    def _joined(self, member: Member) -> Iterator[Fields]:
        if member.name == self._node:
            return
        self._remember(member)
        yield {
            "event": "join",
            "member": member.name,
            "id": member.id,
            "address": str(member.address),
            "tags": shown_tags(member.tags),
        }

    def _updated(self, member: Member) -> Iterator[Fields]:
        self._remember(member)
        yield {
            "event": "update",
            "member": member.name,
            "id": member.id,
            "address": str(member.address),
            "tags": shown_tags(member.tags),
        }

    def _led_by(self, leader: Member | None) -> Iterator[Fields]:
        self._leader = None if leader is None else (leader.name, leader.id)
        name, leader_id = self._leader or (None, None)
        yield {"event": "leader", "leader": name, "id": leader_id, "is_me": name == self._node}

    def _snapshot(self, members: tuple[Member, ...], leader: Member | None) -> Iterator[Fields]:
        present = {member.name for member in members}
        for name in [name for name in self._others if name not in present]:
            # How it went was among the lost events; all that is known is that it is no member now.
            del self._others[name]
            yield {"event": "dead", "member": name, "reason": "told", "told_by": None}
        for member in members:
            before = self._me if member.name == self._node else self._others.get(member.name)
            yield from self._difference(before, member)
        said = None if leader is None else (leader.name, leader.id)
        if not self._begun or said != self._leader:
            yield from self._led_by(leader)
        self._begun = True

    def _difference(self, before: Member | None, member: Member) -> Iterator[Fields]:
        if before is None:
            yield from self._joined(member)
        elif (before.id, before.address, before.tags) != (member.id, member.address, member.tags):
            yield from self._updated(member)
        was_suspect = before is not None and before.state is MemberState.SUSPECT
        is_suspect = member.state is MemberState.SUSPECT
        self._remember(member)
        if is_suspect and not was_suspect:
            yield {"event": "suspect", "member": member.name, "phi": None}
        elif was_suspect and not is_suspect:
            yield {"event": "recover", "member": member.name}


def _clean(value: Any) -> Any:
    """Text that was not UTF-8 carries surrogates, which have no place in JSON."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_clean(name): _clean(content) for name, content in value.items()}
    return value


def as_json(fields: Fields) -> str:
    """One line of JSON, in ASCII so that no reader can break it at an exotic line separator."""
    line = _encode(fields)
    return _encode(_clean(fields)) if _SURROGATE in line else line


_COLOURS = {
    "join": "green",
    "dead": "red",
    "suspect": "yellow",
    "leader": "cyan",
    "leading": "cyan",
    "held-off": "red",
    "error": "red",
    "warning": "yellow",
}


def as_text(fields: Fields, *, colour: bool, with_node: bool) -> str | None:
    """One line for people; None for what is only of interest to programs."""
    said = sentence(fields)
    if said is None:
        return None
    style, said = style_of(fields), printable(said)
    if colour and style:
        said = click.style(said, fg=style, bold=bool(fields.get("is_me")))
    node = f"{printable(fields['node'])}  " if with_node else ""
    return f"{time.strftime('%H:%M:%S')}  {node}{said}"


def _tags_text(tags: Mapping[str, str]) -> str:
    return "".join(f"  {name}={value}" for name, value in tags.items())


def counted(members: int) -> str:
    return "1 member" if members == 1 else f"{members} members"


def style_of(fields: Fields) -> str | None:
    """The colour of the line for it."""
    return _COLOURS.get(fields["event"])


def _about(fields: Fields) -> str:
    sender = fields["sender"] or "somebody"
    return sender if fields["kind"] == "direct" else f"{sender} to all, {fields['name']}"


def sentence(fields: Fields) -> str | None:
    """What happened, for people; None for what is only of interest to programs."""
    member = fields.get("member")
    match fields["event"]:
        case "bound":
            return f"  listening on {fields['address']}"
        case "started":
            return f"  {fields['node']} is a member, id {fields['id']}"
        case "join":
            return f"+ {member} joined from {fields['address']}{_tags_text(fields['tags'])}"
        case "update":
            return f"~ {member} changed, id {fields['id'] or 'none'}{_tags_text(fields['tags'])}"
        case "suspect":
            phi = fields["phi"]
            return f"? {member} does not answer" + (f" (phi {phi:.1f})" if phi is not None else "")
        case "recover":
            return f"+ {member} answers again"
        case "dead":
            told_by = fields.get("told_by")
            return f"x {member} is dead ({fields['reason']}{f', says {told_by}' if told_by else ''})"
        case "leave":
            return f"- {member} left"
        case "left":
            return f"- {fields['node']} has left the cluster"
        case "leader":
            who = "nobody" if fields["leader"] is None else fields["leader"]
            return f"* {who} leads" + (", this node" if fields["is_me"] else "")
        case "leading" if fields["on"]:
            return f"* this node acts as leader, token {fields['token']}"
        case "leading":
            return "* this node acts as leader no longer"
        case "message":
            return f"> {_about(fields)}: {fields['payload']}"
        case "held-off" if fields["reason"]:
            return f"! the others have given this node up, and it stays away: {fields['reason']}"
        case "held-off":
            return "! this node asks to be a member again"
        case "error" | "warning":
            return f"! {fields['message']}"
    return None
