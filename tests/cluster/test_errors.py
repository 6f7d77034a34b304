"""What can go wrong says what to change, emerges as itself, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import swim
from swim.config import Config
from tests.cluster.together import PATIENCE, cluster_of, everybody, open_node, sees

NOWHERE = "nobody.invalid:7946"


@pytest.fixture(autouse=True)
def no_socket_is_left() -> Iterator[None]:
    """What was opened is closed, whatever happened."""

    def sockets() -> set[str]:
        found = set()
        for entry in Path("/proc/self/fd").iterdir():
            try:
                found.add(os.readlink(entry))
            except OSError:
                continue
        return {link for link in found if link.startswith("socket:")}

    if not Path("/proc/self/fd").exists():
        yield
        return
    before = sockets()
    yield
    assert sockets() - before == set()


async def fails(**options: Any) -> None:
    """Open a node; it must not succeed."""
    with trio.fail_after(PATIENCE):
        async with open_node(**options):
            pytest.fail("it started")


async def test_the_address_is_in_use() -> None:
    async with open_node("a") as a:
        with pytest.raises(swim.AddressInUse, match="bind to another port"):
            await fails(bind=str(a.address))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bind": "127.0.0.1:port"}, "not an address"),
        ({"bind": "127.0.0.1:70000"}, "not an address"),
        ({"seeds": ["host:port"]}, "not an address"),
        ({"seeds": "host:7946"}, "list"),
        ({"advertise": "0.0.0.0:1"}, "wildcard"),
        ({"allowed_networks": ["10.0.0.0/99"]}, "10.0.0.0/99"),
        ({"label": "x" * 300}, "label"),
        ({"name": ""}, "1 to 128 bytes"),
        ({"name": "x" * 129}, "1 to 128 bytes"),
        ({"name": "caf\udce9"}, "the name .* is not valid Unicode"),
        ({"label": "caf\udce9"}, "the label .* is not valid Unicode"),
        ({"id": "not ok!"}, "id"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_values_that_are_none(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        await fails(**options)


async def test_bind_to_a_name_that_does_not_exist() -> None:
    with pytest.raises(OSError, match=r"nobody\.invalid:7946.* does not resolve"):
        await fails(bind=NOWHERE)


async def test_no_seed_resolves() -> None:
    with pytest.raises(swim.JoinError, match=r"none of the seeds resolves \(nobody\.invalid:7946: "):
        await fails(seeds=[NOWHERE])


async def test_one_seed_that_does_not_resolve_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("a") as a:
        with trio.fail_after(PATIENCE):
            async with open_node("b", seeds=[NOWHERE, str(a.address)]) as b:
                await everybody([a, b], sees("a", "b"))
    assert "nobody.invalid" in caplog.text


async def test_loopback_is_not_advertised_to_another_machine() -> None:
    with pytest.raises(swim.JoinError, match="set `advertise`"):
        await fails(seeds=["192.0.2.77:7946"])


@pytest.mark.parametrize("keys", [[b"short"], bytes(16)], ids=["short", "not a list"])
async def test_a_bad_key(keys: object) -> None:
    with pytest.raises(swim.KeyringError):
        await fails(keys=keys)


async def test_bad_tags() -> None:
    with pytest.raises(swim.TagsError, match="bytes"):
        await fails(tags={"big": "x" * 600})
    async with open_node(tags={"a": "1"}) as node:
        with pytest.raises(swim.TagsError, match="bytes"):
            node.set_tags({"big": "x" * 600})
        assert node.me.tags == {"a": "1"}


async def test_the_name_is_taken() -> None:
    async with cluster_of("a", "b") as nodes:
        with pytest.raises(swim.NameConflict, match="'b' is taken"):
            await fails(name="b", seeds=[str(nodes[0].address)])
        assert sees("a", "b")(nodes[0])


async def test_a_clock_an_hour_ahead() -> None:
    async with open_node("a") as a:
        with pytest.raises(swim.JoinError, match="ahead"):
            await fails(seeds=[str(a.address)], wall=lambda: time.time() + 3600)


async def test_nobody_to_join() -> None:
    async with open_node("a") as a:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            gone = f"127.0.0.1:{unused.getsockname()[1]}"
        with (
            pytest.raises(swim.JoinError, match=f"(?s){gone}: .*refused") as caught,
            trio.fail_after(PATIENCE),
        ):
            await a.join([gone, NOWHERE])
        assert NOWHERE in str(caught.value)
        with pytest.raises(swim.JoinError, match="this node itself"):
            await a.join([str(a.address)])
        with pytest.raises(ValueError, match="not an address"):
            await a.join(["host:port"])


async def test_joining_is_cancellable() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        seed = f"127.0.0.1:{silent.getsockname()[1]}"
        with trio.move_on_after(0.2) as scope:
            async with open_node("a", seeds=[seed]):
                pytest.fail("nobody answers")
        assert scope.cancelled_caught
        async with open_node("b") as b:
            with trio.move_on_after(0.2) as scope:
                await b.join([seed])
            assert scope.cancelled_caught


async def test_a_port_is_free_again_at_once() -> None:
    async with open_node("a") as a:
        address = str(a.address)
        with trio.move_on_after(0.1):
            async with open_node("b", bind="127.0.0.1:0", seeds=["127.0.0.1:1"]):
                pytest.fail("nobody answers")
    for _ in range(3):
        async with open_node("a", bind=address):
            pass


async def test_an_exception_of_the_body_emerges_as_itself_after_the_leave() -> None:
    async with open_node("a") as a, a.events() as events:
        with pytest.raises(LookupError, match="mine"):  # noqa: PT012
            async with open_node("b", a) as b:
                await everybody([a, b], sees("a", "b"))
                raise LookupError("mine")
        assert sees("a")(a)
        kinds = [type(event) for event in events._buffer]
        assert swim.MemberLeft in kinds
        assert swim.MemberFailed not in kinds


async def test_cancelling_the_body_leaves_gracefully() -> None:
    async with open_node("a") as a, a.events() as events:
        with trio.CancelScope() as scope:
            async with open_node("b", a) as b:
                await everybody([a, b], sees("a", "b"))
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert sees("a")(a)
        assert swim.MemberFailed not in [type(event) for event in events._buffer]


async def test_an_event_stream_outside_of_its_block() -> None:
    async with open_node("a") as a:
        async with a.events() as events:
            pass
        with pytest.raises(trio.ClosedResourceError):
            await anext(events)


async def test_a_pinned_id_and_an_injected_generator() -> None:
    import random

    config = Config.local(leave_linger=0.05)
    async with open_node("a", id="A1", rng=random.Random(1), config=config) as a:
        assert a.me.id == "A1"
