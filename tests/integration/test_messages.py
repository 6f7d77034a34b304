"""Messages between real processes that are paused or killed in the middle."""

from __future__ import annotations

import trio

from tests.integration.harness import PATIENCE, Nodes, until

PAUSE = 6.0
"""Longer than a connection lasts whose other end takes nothing; not so long that it counts as a death."""
COUNT = 900
SIZE = 2_000


async def test_a_process_that_is_paused_gets_all_in_order_when_it_goes_on(nodes: Nodes) -> None:
    await nodes.gather(3)
    sender, receiver = nodes.agents["n0"], nodes.agents["n1"]
    await sender.command("send n1 first")
    await until(lambda: texts(nodes, "n1") == ["first"], "the first message")
    receiver.pause()
    try:
        for number in range(COUNT):
            await sender.command(f"send n1 {number} {'x' * SIZE}")
        await trio.sleep(PAUSE)
    finally:
        receiver.resume()
    await until(lambda: len(texts(nodes, "n1")) > COUNT, "the last message", PATIENCE)
    assert [text.split()[0] for text in texts(nodes, "n1")] == ["first", *map(str, range(COUNT))]
    assert not [line for line in nodes.fleet.lines if line["event"] == "dead"]


async def test_a_process_that_is_killed_is_named_in_the_error(nodes: Nodes) -> None:
    await nodes.gather(3)
    sender, receiver = nodes.agents["n0"], nodes.agents["n1"]
    receiver.pause()  # so that messages wait for it when it dies
    for number in range(COUNT):
        await sender.command(f"send n1 {number} {'x' * SIZE}")
    await trio.sleep(1.0)
    killed, _ = await nodes.kill("n1")
    line = await nodes.line(lambda line: line["event"] == "error" and line["node"] == "n0", killed)
    assert line["message"].startswith(f"send: n1 ({receiver.address}) is gone; of ")
    assert line["t"] - killed < 2.0
    await sender.command("send n2 still here")
    await until(lambda: texts(nodes, "n2") == ["still here"], "a message to somebody else")


def texts(nodes: Nodes, name: str) -> list[str]:
    """What this node was sent so far."""
    lines = [line for line in nodes.fleet.lines if line["event"] == "message" and line["node"] == name]
    return [line["payload"] for line in lines]
