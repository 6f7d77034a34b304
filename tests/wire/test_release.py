"""What release 0.1.0 writes is read by this version as what it meant."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from swim.wire.kept import Data
from swim.wire.messages import Message, Ping, StreamMessage, Suspect
from swim.wire.records import RecordReader
from tests.wire import release

RECORDED: dict[str, dict[str, str]] = json.loads(release.RECORDED.read_text(encoding="utf-8"))


def test_a_list_has_every_message() -> None:
    listed = {type(message) for message in (*release.DATAGRAMS.values(), *release.STREAMED.values())}
    assert listed == {*get_args(Message), *get_args(StreamMessage)}
    assert RECORDED["datagrams"].keys() == release.DATAGRAMS.keys()
    assert RECORDED["streams"].keys() == release.STREAMED.keys()


@pytest.mark.parametrize("name", RECORDED["datagrams"])
def test_a_datagram_is_read_as_it_was_meant(name: str) -> None:
    packet = release.codec(sealed=False).open_packet(bytes.fromhex(RECORDED["datagrams"][name]))
    assert list(packet.messages) == [release.DATAGRAMS[name]]
    assert not packet.dropped


@pytest.mark.parametrize("name", RECORDED["streams"])
def test_a_message_on_a_stream_is_read_as_it_was_meant(name: str) -> None:
    decoder = release.codec(sealed=False).stream_decoder(answering=name == "error")
    assert decoder.feed(bytes.fromhex(RECORDED["streams"][name])) == release.STREAMED[name]


def test_what_is_sealed_is_opened() -> None:
    codec = release.codec(sealed=True)
    packet = codec.open_packet(bytes.fromhex(RECORDED["sealed"]["datagram"]))
    expected = [each for each in release.DATAGRAMS.values() if isinstance(each, Ping | Suspect)]
    assert list(packet.messages) == expected
    read = codec.stream_decoder(answering=False).feed(bytes.fromhex(RECORDED["sealed"]["stream"]))
    assert read == release.STREAMED["exchange"]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_kept_stream_is_read_as_it_was_meant(sealed: bool) -> None:
    """Each end of ours hears the other end of 0.1.0."""
    written = RECORDED["kept, sealed" if sealed else "kept"]
    conversation = release.conversation(sealed=sealed)
    ends = {opener: release.channel(sealed=sealed, opener=opener) for opener in (True, False)}
    for (opener, _, frame), data in zip(conversation, written.values(), strict=True):
        ends[opener].encode(frame)
        assert ends[not opener].feed(bytes.fromhex(data)) == [frame]
    (content,) = [frame for _, _, frame in conversation if isinstance(frame, Data)]
    assert [record for _, record in RecordReader().feed(content)] == release.RECORDS


def test_this_version_writes_what_was_recorded() -> None:
    """Until 0.1.0 is released, changes are recorded again: python -m tests.wire.release."""
    assert release.recorded() == RECORDED
