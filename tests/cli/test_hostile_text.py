"""Names, tags, payloads and errors come from others: none of them reaches a terminal, or a log, as it is."""

from __future__ import annotations

import dataclasses
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trio

import swim as library
from swim.text import printable
from swim.wire import Codec, pack_host
from swim.wire.messages import (
    Alive,
    Dead,
    ErrorMessage,
    NodeState,
    Ping,
    PingReq,
    PushPull,
    PushPullHead,
    Suspect,
    UserMessage,
    WireState,
)
from swim.wire.serf import encode_tags
from tests.cli.agents import PATIENCE, Agent, swim
from tests.cli.test_watch import run

Start = Callable[..., Agent]

HOSTILE = "x\x1b]0;OWNED\x07\x1b[2J\r\nFORGED \u202eright\u2028\x9b1m\x00\x85"
"""A title, a cleared screen, a forged line, a change of direction, separators of Unicode, an 8-bit escape."""
TRACES = ("\x1b]0;", "\x1b[2J\r", "\nFORGED", "\u202e", "\u2028", "\x9b", "\x00", "\x85", "\x07")
"""What of it must not come out. (A live table has escapes of its own.)"""
ADDRESS = pack_host("127.0.0.1")
VERSIONS = bytes((1, 5, 2, 2, 5, 5))


def clean(text: str) -> bool:
    return not any(trace in text for trace in TRACES)


def entry(name: str, state: WireState, port: int, **tags: str) -> NodeState:
    return NodeState(name, 1, ADDRESS, port, encode_tags(tags), state, VERSIONS)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives everybody this answer. Yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "{}:{}".format(*server.getsockname())
        finally:
            done.set()
            socket.create_connection(server.getsockname()).close()
            thread.join(PATIENCE)


NODES = PushPull(
    (
        entry(HOSTILE, WireState.ALIVE, 7946, _id="01J" + "0" * 23, **{HOSTILE[:20]: HOSTILE}),
        entry(HOSTILE + "2", WireState.DEAD, 7947),
        entry(HOSTILE + "3", WireState.SUSPECT, 7948, role=HOSTILE),
    )
)


@pytest.mark.parametrize("message", [NODES, ErrorMessage(HOSTILE * 1_000)], ids=["members", "error"])
@pytest.mark.parametrize("command", ["members", "members --json", "watch", "watch in a table"])
def test_a_look_at_a_hostile_node(message: PushPull | ErrorMessage, command: str) -> None:
    with answering(Codec().stream(message, answering=True)) as address:
        verb, *options = command.replace(" in a table", "").split()
        if verb == "members":
            done = swim(verb, address, *options)
            text = done.stdout + done.stderr
        else:
            with run(verb, address, terminal=command.endswith("table")) as watcher:
                watcher.until("OWNED")
                watcher.interrupt()
            text = watcher.text.replace("\r\n", "\n")
    assert "OWNED" in text, "the text itself is shown"
    assert clean(text)
    assert len(text) < 10_000


@pytest.mark.parametrize("style", ["--plain", "in a table"])
def test_an_agent_among_hostile_members(start: Start, style: str) -> None:
    """A member that gives itself such a name, tags, messages and broadcasts; then packets of all kinds."""
    options = ("agent", "--name", "a", "--bind", "127.0.0.1:0", "--join", start("b").address)
    with run(*options, *([style] if style == "--plain" else []), terminal=True) as watcher:
        watcher.until("a is a member" if style == "--plain" else "2 members")
        trio.run(be_hostile, options[-1])
        watcher.until("OWNED")
        watcher.interrupt()
    assert clean(watcher.text.replace("\r\n", "\n"))


async def be_hostile(seed: str) -> None:
    async with library.open_cluster(
        HOSTILE, bind="127.0.0.1:0", seeds=[seed], config=library.Config.local(), tags={"role": HOSTILE}
    ) as cluster:
        with trio.fail_after(PATIENCE):
            await cluster.wait_for(lambda c: c.member("a") is not None)
            await cluster.send("a", HOSTILE.encode())
            cluster.broadcast(HOSTILE[:40], HOSTILE.encode())
            cluster.set_tags({HOSTILE[:10]: HOSTILE})
            target = cluster.member("a")
            assert target is not None
            codec = Codec()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for message in PACKETS:
                    sock.sendto(codec.packet([codec.part(message)]), target.address)
            for stream in STREAMS:
                async with await trio.open_tcp_stream(*target.address) as connection:
                    await connection.send_all(codec.stream(stream))
                    await connection.receive_some()
            await trio.sleep(0.5)


PACKETS = (
    Ping(1, HOSTILE, source_node=HOSTILE),
    PingReq(2, HOSTILE, ADDRESS, 7946, source_node=HOSTILE),
    Alive(HOSTILE + "4", 1, ADDRESS, 9, encode_tags({"role": HOSTILE}), VERSIONS),
    Suspect("b", 1, HOSTILE),
    Dead("b", 1, HOSTILE),
    UserMessage(HOSTILE.encode()),
)
STREAMS = (
    PushPull(NODES.nodes, join=True, user_state=HOSTILE.encode(), head=PushPullHead(name=HOSTILE)),
    UserMessage(HOSTILE.encode()),
)


def test_a_seed_that_answers_with_a_hostile_error() -> None:
    with answering(Codec().stream(ErrorMessage(HOSTILE), answering=True)) as address:
        options = ("agent", "--name", "a", "--bind", "127.0.0.1:0", "--plain", "--join", address)
        with run(*options) as watcher:
            watcher.until("OWNED")
            watcher.interrupt()
    assert clean(watcher.text)


# --- the log, and what exceptions say


def test_a_log_line_is_one_printable_line(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("swim")
    logger.warning("%s: %s joined", "a", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("input from %s", HOSTILE)
    logger.warning("%s", "y" * 1_000_000)
    assert clean(caplog.text)
    assert all(clean(record.getMessage()) for record in caplog.records)
    lines = [line for line in caplog.text.splitlines() if not line.startswith(("WARNING", "ERROR"))]
    assert all(line.startswith("  | ") for line in lines), "a traceback forges no line"
    assert len(caplog.text) < 10_000


def test_all_lines_of_the_log_go_through_the_one_logger() -> None:
    names = set()
    for module in ("cluster", "runtime.driver", "runtime.sockets.resolve"):
        source = __import__(f"swim.{module}", fromlist=["x"])
        names |= {value.name for value in vars(source).values() if isinstance(value, logging.Logger)}
    assert names == {"swim"}


@pytest.mark.parametrize("error", [library.JoinError, library.NameConflict, library.TagsError])
def test_what_an_error_says_is_printable(error: type[library.SwimError]) -> None:
    assert str(error(HOSTILE)) == printable(HOSTILE)


def test_an_error_about_an_address_keeps_its_number() -> None:
    error = library.AddressInUse(98, HOSTILE)
    assert error.errno == 98
    assert error.strerror == printable(HOSTILE)


async def test_a_message_to_a_hostile_name() -> None:
    async with library.open_cluster("a", bind="127.0.0.1:0") as cluster:
        with pytest.raises(library.SendError) as caught:
            await cluster.send(HOSTILE, b"x")
        assert str(caught.value).isprintable()
        assert caught.value.member == HOSTILE, "the value is as it was"


@pytest.mark.parametrize("char", list("\x1b\n\r\x00\x7f\x9b\u2028\u202e\ud800\u200b"))
def test_every_character_that_is_not_for_display_is_replaced(char: str) -> None:
    assert ascii(printable(f"a{char}b")) == ascii("a\ufffdb")


def test_text_for_display_is_as_it_was() -> None:
    assert printable("Zoë, 東京: ok") == "Zoë, 東京: ok"


def test_long_text_is_cut_with_a_count() -> None:
    assert printable("x" * 12, 10) == "x" * 10 + "... (2 more characters)"


def test_every_text_field_of_the_messages_is_fed() -> None:
    """A new message with a text field has to be added above."""
    fed = {type(message) for message in (*PACKETS, *STREAMS)} | {ErrorMessage, NodeState, PushPullHead}
    module = __import__("swim.wire.messages", fromlist=["x"])
    textual = {
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and dataclasses.is_dataclass(kind)
        and any(field.type == "str" for field in dataclasses.fields(kind))
    }
    assert {kind.__name__ for kind in textual - fed} <= {"ObserverMessage"}, (
        "hints and polls are only about members"
    )
