"""What keys do to the line that is being typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.chat_cluster.chat import pieces
from examples.chat_cluster.editor import LineEditor, width
from swim.text import printable

LEFT, RIGHT, UP, DOWN, HOME, END, DELETE = (
    b"\x1b[D",
    b"\x1b[C",
    b"\x1b[A",
    b"\x1b[B",
    b"\x1bOH",
    b"\x1b[F",
    b"\x1b[3~",
)
PASTE, PASTED = b"\x1b[200~", b"\x1b[201~"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (b"abc", "abc"),
        ("ä€😀".encode(), "ä€😀"),
        (b"abd" + LEFT + b"c", "abcd"),
        (b"bc" + HOME + b"a" + END + b"d", "abcd"),
        (b"bc\x01a\x05d", "abcd"),
        (b"abx\x7fc", "abc"),
        (b"abxc" + LEFT + LEFT + DELETE, "abc"),
        (b"abxc\x02\x02\x04", "abc"),
        (b"abc xyz\x02\x02\x02\x0b", "abc "),
        (b"xyz abc\x02\x02\x02\x15", "abc"),
        (b"one two \x17three", "one three"),
        (b"one\x17two", "two"),
        (b"\x7f" + LEFT + RIGHT + UP + DOWN + b"abc", "abc"),
        (b"a\tb", "a b"),
        (b"a\x1bxb", "ab"),
        (b"a\x1b[99;5~b\x00\x07c", "abc"),
        (b"first\rsecond\r" + UP + UP + b"!", "first!"),
        (b"first\rsecond\r" + UP + UP + DOWN + b"!", "second!"),
        (b"first\r" + UP + DOWN + b"x", "x"),
        (PASTE + b"a\x03\x04\x15" + PASTED + b"b", "ab"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_keys(keys: bytes, line: str, at_once: bool) -> None:
    editor = LineEditor()
    for part in [keys] if at_once else [keys[i : i + 1] for i in range(len(keys))]:
        editor.feed(part)
    assert (editor.text, editor.ended) == (line, False)
    assert editor.feed(b"\r") == [line]
    assert editor.text == ""


def test_a_paste_of_many_lines_is_many_lines() -> None:
    assert LineEditor().feed(PASTE + b"one\rtwo\nthree\r" + PASTED) == ["one", "two", "three"]


def test_ctrl_d_ends_an_empty_line_only() -> None:
    editor = LineEditor()
    editor.feed(b"x\x04")
    assert not editor.ended
    editor.feed(b"\x7f\x04")
    assert editor.ended


@given(st.text(max_size=60), st.integers(0, 60), st.integers(2, 40))
def test_the_cursor_is_always_in_view(text: str, back: int, columns: int) -> None:
    editor = LineEditor()
    editor.feed(printable(text).encode("utf-8", "replace") + back * LEFT)
    view, column = editor.view(columns)
    assert view in editor.text
    assert 0 <= column <= columns
    assert width(view) <= columns


@given(st.binary())
def test_whatever_is_typed(data: bytes) -> None:
    editor = LineEditor()
    assert all(line == printable(line) for line in editor.feed(data))
    assert editor.text == printable(editor.text)


def test_a_tab_is_a_blank() -> None:
    editor = LineEditor()
    assert editor.feed(b"a\tb\r") == ["a b"]


@given(st.text())
def test_long_lines_are_said_in_pieces(text: str) -> None:
    parts = list(pieces(text * 20))
    assert "".join(parts) == text * 20
    assert all(len(part.encode("utf-8", "replace")) <= 500 for part in parts)
