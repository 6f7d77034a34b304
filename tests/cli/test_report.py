"""A node's events as the agent's lines."""

from __future__ import annotations

import json
from dataclasses import replace

from swim.cli.report import EventLines, as_json, as_text, payload_field
from swim.events import (
    Event,
    LeaderChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    Snapshot,
    VotersDiffer,
)
from swim.types import Address, Member, MemberState

ME = Member("me", Address("127.0.0.1", 1), "1", {"_id": "1"})
ANN = Member("ann", Address("127.0.0.1", 2), "2", {"_id": "2", "role": "db"})
BEN = Member("ben", Address("127.0.0.1", 3), "3")


def observe(observer: EventLines, *events: Event) -> list[dict[str, object]]:
    return [fields for event in events for fields in observer.observe(event)]


def test_the_first_snapshot_is_the_others_joining_and_the_leader() -> None:
    lines = observe(EventLines("me"), Snapshot((ME, ANN), ME))
    assert lines == [
        {"event": "join", "member": "ann", "id": "2", "address": "127.0.0.1:2", "tags": {"role": "db"}},
        {"event": "leader", "leader": "me", "id": "1", "is_me": True},
    ]


def test_without_a_leader_the_snapshot_says_so() -> None:
    lines = observe(EventLines("me"), Snapshot((ME,), None))
    assert lines == [{"event": "leader", "leader": None, "id": None, "is_me": False}]


def test_no_voters_are_called_none() -> None:
    (line,) = observe(EventLines("me"), VotersDiffer(ANN, (), 3.0, ("me", "ben"), 3.0))
    assert str(line["message"]).startswith(
        "ann goes by the voters (none) and a lease of 3 s, this node by (me, ben)"
    )


def test_every_event_has_its_line() -> None:
    observer = EventLines("me")
    observe(observer, Snapshot((ME,), ME))
    assert observe(
        observer,
        MemberJoined(ANN),
        MemberUpdated(replace(ANN, tags={"role": "web"}), ANN),
        MemberUpdated(replace(ME, id="9"), ME),
        MemberSuspected(ANN, 8.5),
        MemberRecovered(ANN),
        MemberSuspected(ANN, float("inf")),
        MemberFailed(ANN, "silence", "ben"),
        MemberJoined(BEN),
        MemberLeft(BEN),
        LeaderChanged(ANN, ME),
        LeaderChanged(None, ANN),
    ) == [
        {"event": "join", "member": "ann", "id": "2", "address": "127.0.0.1:2", "tags": {"role": "db"}},
        {"event": "update", "member": "ann", "id": "2", "address": "127.0.0.1:2", "tags": {"role": "web"}},
        {"event": "update", "member": "me", "id": "9", "address": "127.0.0.1:1", "tags": {}},
        {"event": "suspect", "member": "ann", "phi": 8.5},
        {"event": "recover", "member": "ann"},
        {"event": "suspect", "member": "ann", "phi": None},
        {"event": "dead", "member": "ann", "reason": "silence", "told_by": "ben"},
        {"event": "join", "member": "ben", "id": "3", "address": "127.0.0.1:3", "tags": {}},
        {"event": "leave", "member": "ben"},
        {"event": "leader", "leader": "ann", "id": "2", "is_me": False},
        {"event": "leader", "leader": None, "id": None, "is_me": False},
    ]


def test_a_later_snapshot_says_only_what_is_new() -> None:
    observer = EventLines("me")
    observe(observer, Snapshot((ME, ANN), ME))
    assert observe(observer, Snapshot((ME, ANN), ME)) == []
    suspected = replace(ANN, tags={"role": "web"}, state=MemberState.SUSPECT)
    assert observe(observer, Snapshot((replace(ME, id="5"), suspected, BEN), ANN)) == [
        {"event": "update", "member": "me", "id": "5", "address": "127.0.0.1:1", "tags": {}},
        {"event": "update", "member": "ann", "id": "2", "address": "127.0.0.1:2", "tags": {"role": "web"}},
        {"event": "suspect", "member": "ann", "phi": None},
        {"event": "join", "member": "ben", "id": "3", "address": "127.0.0.1:3", "tags": {}},
        {"event": "leader", "leader": "ann", "id": "2", "is_me": False},
    ]
    assert observe(observer, Snapshot((replace(ME, id="5"), BEN), ANN)) == [
        {"event": "dead", "member": "ann", "reason": "told", "told_by": None}
    ]


def test_text_that_is_not_utf8_is_replaced() -> None:
    line = as_json({"event": "join", "member": "a\udcff", "tags": {"\udc80": "\U0001f600\u2028"}})
    assert line.isascii()
    assert json.loads(line) == {"event": "join", "member": "a\ufffd", "tags": {"\ufffd": "\U0001f600\u2028"}}
    assert payload_field(b"text") == "text"
    assert payload_field(b"\xff") == {"base64": "/w=="}


def test_lines_for_people_have_no_control_characters_and_colour_only_on_demand() -> None:
    fields = {"node": "me", "event": "join", "member": "\x1b[2Jevil", "address": "h:1", "tags": {"a": "b"}}
    plain = as_text(fields, colour=False, with_node=True)
    assert plain is not None
    assert plain.endswith("me  + \ufffd[2Jevil joined from h:1  a=b")
    assert "\x1b" not in plain
    assert "\x1b[32m" in (as_text(fields, colour=True, with_node=False) or "")
    assert as_text({"node": "me", "event": "stats"}, colour=False, with_node=False) is None


def test_people_are_told_when_this_node_acts_as_leader() -> None:
    def said(**fields: object) -> str | None:
        return as_text({"node": "me", "token": "01T", **fields}, colour=False, with_node=False)

    assert "acts as leader, token 01T" in (said(event="leading", on=True) or "")
    assert "no longer" in (said(event="leading", on=False) or "")
    assert said(event="tick") is None
