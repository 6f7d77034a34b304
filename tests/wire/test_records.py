"""What stands in the DATA of kept streams: messages, requests and their answers."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swim.wire import DecodeError
from swim.wire.kept import Data
from swim.wire.records import (
    CALL_SIZE,
    MESSAGE_SIZE_MAX,
    TOPIC_SIZE_MAX,
    Kind,
    Record,
    RecordReader,
    pack_failure,
    pack_record,
    unpack_failure,
)

CALL = b"callcall"


def records() -> st.SearchStrategy[Record]:
    topics = st.text(st.characters(codec="utf-8"), max_size=TOPIC_SIZE_MAX // 4)

    def record(kind: Kind) -> st.SearchStrategy[Record]:
        call = b"" if kind is Kind.MESSAGE else CALL
        return st.builds(Record, st.binary(max_size=64), st.just(kind), topics, st.just(call))

    return st.sampled_from(Kind).flatmap(record)


def read(content: bytes) -> list[tuple[int, Record]]:
    return RecordReader().feed(Data(1, content))


@given(st.lists(records(), max_size=6))
def test_records_come_out_as_they_went_in(some: list[Record]) -> None:
    assert read(b"".join(map(pack_record, some))) == list(enumerate(some, 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_a_decode_error(content: bytes) -> None:
    with suppress(DecodeError):
        assert len(read(len(content).to_bytes(4, "big") + content)) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\5\0",
        b"\xff\0",
        b"\0\1",
        b"\0\2\xff\xff",
        b"\0" + bytes((TOPIC_SIZE_MAX + 1,)) + b"x" * 200,
        b"\1\0" + b"x" * (CALL_SIZE - 1),
        b"\2\4topic",
        b"\4\0",
        bytes(2 + MESSAGE_SIZE_MAX + 1),
    ],
)
def test_what_is_no_record(content: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        read(len(content).to_bytes(4, "big") + content)
    assert caught.value.reason == "record"


def test_the_largest() -> None:
    largest = Record(bytes(MESSAGE_SIZE_MAX), Kind.REQUEST, "x" * TOPIC_SIZE_MAX, CALL)
    assert read(pack_record(largest)) == [(1, largest)]


def test_requests_of_a_topic_do_not_wait_for_its_messages_and_answers_wait_for_neither() -> None:
    kinds = [Record(b"", kind, topic, CALL).lane for kind in Kind for topic in ("a", "b")]
    assert len(set(kinds)) == 5
    assert len({lane for lane in kinds if kinds.count(lane) > 1}) == 1


def test_failures_have_the_name_of_an_exception_and_its_text_cut_where_it_is_long() -> None:
    assert unpack_failure(pack_failure("ValueError", "no ö\0")) == ("ValueError", "no ö\0")
    assert unpack_failure(b"") == ("", "")
    assert unpack_failure(b"\xff" * 9) == ("\ufffd" * 9, "")
    error, text = unpack_failure(pack_failure("E" * 9_999, "t" * 9_999))
    assert (len(error), len(text)) == (4_096, 4_096)
