"""The writer of standard output."""

from __future__ import annotations

import os
import time

from swim.cli.lines import LineWriter


def test_lines_arrive_in_order() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer)
    for number in range(1000):
        lines.write(str(number))
    lines.close(10)
    os.close(writer)
    with open(reader) as output:
        assert output.read() == "".join(f"{number}\n" for number in range(1000))
    assert lines.dropped == 0


def test_a_reader_that_stops_makes_nobody_wait_and_lines_are_counted() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer, lines_max=10)
    begun = time.monotonic()
    for _ in range(1000):
        lines.write("x" * 1000)
    lines.close(0.1)
    assert time.monotonic() - begun < 5
    assert lines.dropped >= 1000 - 64 - 10 - 80  # a batch, the queue, and what fits into the pipe
    os.close(reader)  # wakes the thread up, with an error


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    lines = LineWriter(writer)
    for _ in range(10):
        lines.write("x")
    lines.close(10)
    os.close(writer)
    assert lines.dropped == 10


def test_a_non_blocking_descriptor_loses_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    lines = LineWriter(writer)
    for _ in range(200):
        lines.write("x" * 1000)
    received = b""
    while len(received) < 200 * 1001:
        received += os.read(reader, 1 << 16)
    lines.close(10)
    assert lines.dropped == 0
    os.close(reader)
    os.close(writer)


def test_a_line_that_fits_into_a_pipe_is_there_at_once_without_the_thread() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer)
    os.set_blocking(reader, False)
    lines.write("first")
    assert os.read(reader, 100) == b"first\n"
    assert os.get_blocking(writer), "others may share it"
    lines.close(10)
    os.close(reader)
    os.close(writer)
