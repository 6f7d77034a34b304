"""What a node shows: one line after the other; how far a job is, on a terminal always in the same line."""

from __future__ import annotations

import sys

import swim


def say(text: str, *, passing: bool = False) -> None:
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="" if passing else "\n", flush=True)
    else:
        print(text, flush=True)


def show(event: swim.Event) -> None:
    match event:
        case swim.MemberJoined(member):
            say(f"{member.name} joined")
        case swim.MemberFailed(member, reason):
            say(f"{member.name} is dead ({reason})")
        case swim.MemberLeft(member):
            say(f"{member.name} left")
        case swim.LeaderChanged(swim.Member() as leader):
            say(f"{leader.name} leads")
