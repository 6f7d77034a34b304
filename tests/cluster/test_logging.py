"""What the logger `swim` says: nothing unless asked to, what matters at INFO, and never a key."""

from __future__ import annotations

import base64
import logging
import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
import trio

import swim
from tests.cluster.together import CONFIG, PATIENCE, cluster_of, everybody, open_node, sees


async def test_what_is_said_at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swim")
    async with cluster_of("a", "b", "c") as (a, b, c):
        await c.leave()
        a.abort()
        await everybody([b], sees("b"))
    said = [record.getMessage() for record in caplog.records]
    for text in ("b: a member, at ", "b: c (", "b: the leader is b ("):
        assert any(line.startswith(text) for line in said), (text, said)
    assert any(re.fullmatch(r"b: a \(.*\) failed \((process-gone|silence)\)", line) for line in said)
    assert any(line.startswith("b: c (") and line.endswith("left") for line in said)
    assert {record.name for record in caplog.records} == {"swim"}


async def test_a_process_that_stood_still_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster_of("a", "b") as nodes:
        time.sleep(2.2)  # noqa: ASYNC251 - what applications should not do
        with trio.fail_after(PATIENCE):
            while "this process stood still for" not in caplog.text:  # noqa: ASYNC110 - no event tells it
                await trio.sleep(0.02)
        await everybody(nodes, sees("a", "b"))
    assert all(record.levelno == logging.WARNING for record in caplog.records)


@pytest.mark.parametrize(
    ("inside", "outside", "told_inside", "told_outside"),
    [
        ({"keys": [bytes(16)]}, {"keys": [bytes(32)]}, "none of this node's keys opens", "decrypt"),
        ({"keys": [bytes(16)]}, {}, "sends without encryption", "plaintext"),
        ({}, {"keys": [bytes(16)]}, "sends encrypted, but this node has no key", "encrypted"),
        ({"label": "blue"}, {"label": "red"}, "uses another label", "label"),
        ({"label": "blue"}, {}, "uses another label", "label"),
        ({}, {"label": "red"}, "uses another label", "label"),
    ],
)
async def test_another_key_or_label_is_named_on_both_sides_once(
    caplog: pytest.LogCaptureFixture,
    inside: dict[str, Any],
    outside: dict[str, Any],
    told_inside: str,
    told_outside: str,
) -> None:
    pytest.importorskip("cryptography")
    async with open_node("a", **inside) as a:
        with trio.move_on_after(2.5):
            async with open_node("b", a, **outside):
                pytest.fail("b must not get in")
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    by_a = [line for line in said if line.startswith("a: 127.0.0.1 ")]
    by_b = [line for line in said if line.startswith("b: ")]
    assert len(by_a) == 1, said
    assert told_inside in by_a[0]
    assert len(by_b) == 1, said
    assert told_outside in by_b[0]


async def test_no_key_is_ever_said(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the log nor in what people print: statistics, events, errors, representations."""
    pytest.importorskip("cryptography")
    caplog.set_level(logging.DEBUG)
    keys = [os.urandom(32) for _ in range(3)]
    printed: list[object] = []
    async with cluster_of("a", "b", keys=keys[:1], label="blue") as (a, b):
        for step in ([keys[0], keys[1]], [keys[1], keys[0]], [keys[1]]):
            for node in (a, b):
                node.set_keys(step)
        with trio.move_on_after(1.0):  # a stranger with another key, who cannot get in
            async with open_node("c", a, keys=keys[2:], label="blue"):
                pass
        with pytest.raises(swim.KeyringError) as error:
            a.set_keys([keys[0][:7]])
        printed += [error.value, a, a.me, a.statistics(), a.explain("b"), a.leadership, CONFIG]
        printed += [vars(one) for one in (a, a._driver, a._keyring) if hasattr(one, "__dict__")]
    printed += [record.getMessage() for record in caplog.records]
    text = " ".join(f"{one!s} {one!r}" for one in printed)
    assert "a member, at" in text
    for key in keys:
        for shape in (key.hex(), base64.b64encode(key).decode(), repr(key)[2:-1], repr(list(key))):
            assert shape not in text


def test_nothing_is_said_unless_asked_for() -> None:
    program = (
        "import swim, trio\n"
        "async def main():\n"
        "    async with swim.open_cluster('a', bind='127.0.0.1:0'):\n"
        "        with trio.move_on_after(0.5):\n"
        "            async with swim.open_cluster('b', bind='127.0.0.1:0', seeds=['127.0.0.1:1']):\n"
        "                pass\n"
        "trio.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
