"""What programs do wrong: each is said at once and by name, and leaves the cluster as it was."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio

import swim
from tests.cluster.together import PATIENCE, cluster_of, open_node


async def entered(block: AbstractAsyncContextManager[Any]) -> None:
    async with block:
        pass


async def work(*_: object) -> bytes:
    await trio.lowlevel.checkpoint()
    return b""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": 5}, "the name is a text"),
        ({"bind": 7946}, "bind is a text"),
        ({"advertise": b"10.0.0.1"}, "advertise is a text"),
        ({"id": 5}, "id is a text"),
        ({"label": 5}, "label is a text"),
        ({"seeds": [swim.Address("127.0.0.1", 1)]}, "each of the seeds is a text"),
        ({"seeds": 7946}, "seeds are a list of texts"),
        ({"voters": [5]}, "each of the voters is a text"),
        ({"voters": 5}, "voters are a list of texts"),
        ({"keys": ["text"]}, "each of the keys must be bytes, not str"),
        ({"config": {}}, "config is a swim.Config"),
        ({"config": swim.Config}, "config is a swim.Config"),
    ],
)
async def test_an_argument_of_a_wrong_type_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await entered(open_node(**options))


@pytest.mark.parametrize("tags", ["role=db", ["role"]])
async def test_tags_that_are_no_mapping_are_a_tags_error(tags: Any) -> None:
    with pytest.raises(swim.TagsError, match="give names and their values"):
        await entered(open_node("a", tags=tags))


async def test_one_network_instead_of_a_list_is_said() -> None:
    with pytest.raises(ValueError, match="allowed networks are a list of texts, not one text"):
        await entered(open_node("a", allowed_networks="10.0.0.0/8"))


async def test_an_argument_of_a_wrong_type_is_named_by_each_method() -> None:
    async with open_node("a") as a:
        wrong: list[tuple[str, Callable[[], Awaitable[object]]]] = [
            ("the name of a lease is a text", lambda: entered(a.hold(5))),
            ("the name of a lease is a text", lambda: a.owner(None)),
            ("limit=1.5: give a whole number", lambda: entered(a.hold("x", limit=1.5))),
            ("limit='2': give a whole number", lambda: entered(a.serve("x", work, limit="2"))),
            ("function is an async function itself", lambda: a.run_while_owner("x", None)),
            ("function is an async function itself", lambda: a.run_while_leader(b"")),
            ("function is an async function itself", lambda: a.run_shards(["x"], 5)),
            ("handler is an async function itself", lambda: entered(a.serve("x", None))),
            ("each of the names is a text", lambda: a.run_shards([5], work)),
            ("a member is given as", lambda: a.send(5, b"")),
            ("a member is given as", lambda: a.request(None, b"")),
            ("a topic is a text", lambda: a.send("a", b"", topic=None)),
            ("each of the voters is a text", lambda: a.set_voters([5])),
        ]
        for message, attempt in wrong:
            with pytest.raises(TypeError, match=message):
                await attempt()
        at_once: list[tuple[str, Callable[[], object]]] = [
            ("the name of a broadcast is a text", lambda: a.broadcast(b"news", b"")),
            ("a payload must be bytes, not int", lambda: a.broadcast("news", 5)),
            ("a payload must be bytes, not list", lambda: a.broadcast("news", [1, 2])),
            ("a member is given as", lambda: a.phi(5)),
        ]
        for message, call in at_once:
            with pytest.raises(TypeError, match=message):
                call()
        with pytest.raises(ValueError, match="not valid Unicode"):
            a.broadcast("\ud800", b"")
        with pytest.raises(ValueError, match="patience=-1: give seconds"):
            a.query("load", b"", patience=-1)


async def test_one_text_is_not_taken_for_the_names_of_many_shards() -> None:
    async with open_node("a") as a:
        with pytest.raises(ValueError, match="names are a list of texts, not one text"):
            await a.run_shards("abc", work)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"lease": "3"}, TypeError, "lease must be of type float, not '3'"),
        ({"silence_tolerance": None}, TypeError, "silence_tolerance must be of type float"),
        ({"leases_max": 1.5}, TypeError, "leases_max must be of type int, not 1.5"),
        ({"lease": math.inf}, ValueError, "must be finite"),
        ({"session": math.inf}, ValueError, "must be finite"),
        ({"session": math.nan}, ValueError, "session must be greater than 0, not nan"),
    ],
)
def test_a_setting_of_a_wrong_type_or_without_end_is_named(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        swim.Config.lan(**settings)


async def test_a_stream_is_read_inside_of_its_block_only() -> None:
    """And opened once."""
    async with open_node("a") as a:
        for stream in (a.messages(), a.events()):
            with trio.fail_after(PATIENCE):
                with pytest.raises(trio.ClosedResourceError, match="read it inside of `async with`"):
                    await anext(stream)
                async with stream:
                    with pytest.raises(trio.ClosedResourceError, match="make another one"):
                        await entered(stream)
                with pytest.raises(trio.ClosedResourceError, match="read it inside of `async with`"):
                    await anext(stream)
                with pytest.raises(trio.ClosedResourceError, match="make another one"):
                    await entered(stream)


async def test_a_cluster_is_not_used_from_another_thread() -> None:
    """It would wake tasks of another loop, which hurts both: each use is refused, and nothing has changed."""

    async def hear(cluster: swim.Cluster) -> None:
        async with cluster.messages():
            pass

    async with cluster_of("a", "b") as (a, b):
        uses: list[Callable[[], Awaitable[object]]] = [
            lambda: a.send("b", b"x"),
            lambda: a.request("b", b"x"),
            lambda: entered(a.serve("x", work)),
            lambda: entered(a.hold("x")),
            lambda: a.run_while_owner("x", work),
            lambda: a.run_while_leader(work),
            lambda: a.run_shards(["x"], work),
            lambda: a.owner("x"),
            lambda: a.wait_for(lambda cluster: False),
            lambda: a.settled(),
            lambda: a.join([str(b.address)]),
            lambda: hear(a),
            lambda: a.leave(),
        ]
        verbs: list[Callable[[], object]] = [
            lambda: a.set_tags({"role": "db"}),
            lambda: a.broadcast("news", b""),
            lambda: a.yield_leadership(),
            lambda: a.abort(),
        ]

        def elsewhere() -> None:
            for use in uses:
                with pytest.raises(RuntimeError, match="runs in another thread"):
                    trio.run(use)
            for verb in verbs:
                with pytest.raises(RuntimeError, match="runs in another thread"):
                    verb()
            trio.from_thread.run_sync(a.set_tags, {"role": "web"})  # as it should be done
            trio.from_thread.run(a.send, "b", b"hello")

        with trio.fail_after(PATIENCE):
            async with b.messages() as messages:
                await trio.to_thread.run_sync(elsewhere)
                assert (await anext(messages)).payload == b"hello"  # type: ignore[union-attr]
            await b.wait_for(lambda cluster: bool(cluster.members(role="web")))
            assert a.held() == ()
