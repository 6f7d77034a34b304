"""`swim decode`, on the bytes that real Go programs sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from swim.cli.root import cli

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "vectors.json").read_text())
PING = "0082a44e6f6465a161a55365714e6f01"


def decode(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, ["decode", *arguments], prog_name="swim", input=stdin)


def test_every_vector_by_lines() -> None:
    fields = ("transport", "key", "label", "bytes", "stream_role")
    lines = [json.dumps({field: vector[field] for field in fields if field in vector}) for vector in VECTORS]
    result = decode("--jsonl", stdin="\n".join(lines).encode())
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        vector["decoded"] for vector in VECTORS
    ]


@pytest.mark.parametrize("vector", VECTORS[::10], ids=lambda vector: vector["name"])
def test_a_vector_by_options(vector: dict[str, Any]) -> None:
    options = ["--transport", vector["transport"]]
    for option, field in (("--key", "key"), ("--label", "label"), ("--role", "stream_role")):
        if vector.get(field):
            options += [option, vector[field]]
    result = decode(*options, vector["bytes"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == vector["decoded"]


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"[" * 100_000,
        b"{}",
        b'{"transport": "udp"}',
        b'{"transport": "udp", "bytes": "0082"}',
        b'{"transport": "udp", "bytes": "xyz"}',
        b'{"transport": "udp", "bytes": 7}',
        b'{"transport": "udp", "bytes": "%s", "key": "00"}' % PING.encode(),
        b'{"transport": "udp", "bytes": "%s", "key": 5}' % PING.encode(),
        b'{"transport": "udp", "bytes": "%s", "label": ["x"]}' % PING.encode(),
        b'{"transport": "smoke", "bytes": "%s"}' % PING.encode(),
        b'{"transport": ["udp"], "bytes": "%s"}' % PING.encode(),
        b'{"transport": "tcp", "bytes": ""}',
        b'{"transport": "udp", "bytes": ""}',
    ],
)
def test_a_line_that_cannot_be_decoded_does_not_stop_the_others(line: bytes) -> None:
    good = b'{"transport": "udp", "bytes": "%s"}' % PING.encode()
    result = decode("--jsonl", stdin=b"\n".join([good, line, good, b""]))
    answers = [json.loads(answer) for answer in result.stdout.splitlines()]
    assert [list(answer) for answer in answers] == [["layers", "messages"], ["error"], ["layers", "messages"]]
    assert isinstance(answers[1]["error"], str)
    assert result.exit_code == 1


def test_bytes_that_cannot_be_decoded_are_one_line_and_status_1() -> None:
    result = decode("--transport", "udp", "0082")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("swim: cannot decode these bytes: ")
    assert result.stderr.count("\n") == 1
