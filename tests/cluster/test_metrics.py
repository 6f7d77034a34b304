"""The Prometheus exporter: what it is asked in trio, from a thread, and over HTTP."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

import swim
from tests.cluster.together import PATIENCE, cluster_of, everybody, sees

prometheus_client = pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from swim import metrics  # noqa: E402

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


def values(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and labels other than the node's, of all nodes together."""
    found: dict[tuple[str, tuple[str, ...]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for name, value in sorted(sample.labels.items()) if name != "node")
            found[sample.name, labels] = found.get((sample.name, labels), 0.0) + sample.value
    return found


async def test_what_is_exported_is_what_statistics_say() -> None:
    async with cluster_of("a", "b") as (a, b):
        registry = CollectorRegistry()
        registry.register(metrics.Collector(a))
        with trio.fail_after(PATIENCE):
            while a.statistics().round_trip is None:  # noqa: ASYNC110 - nothing tells of acks
                await trio.sleep(0.02)
        found = values(generate_latest(registry).decode())
        now = a.statistics()
        assert found["swim_members", ("alive",)] == 2
        assert found["swim_is_leader", ()] == found["swim_has_leader", ()] == 1
        assert found["swim_packets_total", ("tx",)] == now.tx_packets
        assert found["swim_packet_bytes_total", ("rx",)] == now.rx_bytes
        assert found["swim_pings_total", ("direct",)] == now.pings
        assert found["swim_events_total", ("join",)] == 1
        assert found["swim_round_trip_seconds", ()] == now.round_trip
        b.abort()
        await everybody([a], sees("a"))
        found = values(generate_latest(registry).decode())
        assert found["swim_members", ("dead",)] == 1
        assert sum(value for (name, _), value in found.items() if name == "swim_failures_total") == 1


async def test_the_documented_names_are_those_exported() -> None:
    assert metrics.__doc__ is not None
    documented = set(re.findall(r"^swim_\w+", metrics.__doc__, re.MULTILINE))
    async with cluster_of("a") as (a,):
        families = list(metrics.Collector(a).describe())
        exported = {f"{one.name}_total" if one.type == "counter" else one.name for one in families}
        assert documented == exported
        labels = dict(re.findall(r"^(swim_\w+) \((\w+)\)", metrics.__doc__, re.MULTILINE))
        assert {name.removeprefix("swim_").removesuffix("_total"): text for name, text in labels.items()} == (
            metrics._LABEL
        )


async def test_asked_from_another_thread() -> None:
    """As `prometheus_client.start_http_server` does it."""
    async with cluster_of("a", "b") as nodes:
        registry = CollectorRegistry()
        registry.register(metrics.Collector(nodes))
        text = await trio.to_thread.run_sync(generate_latest, registry)
        assert values(text.decode())["swim_members", ("alive",)] == 4
        assert b'node="b"' in text


def test_after_the_end_of_trio_there_is_nothing() -> None:
    kept = []

    async def main() -> None:
        async with cluster_of("a") as (a,):
            kept.append(metrics.Collector(a))

    trio.run(main)
    kept[0]._thread = -1  # whoever asks now is no thread of trio's
    assert list(kept[0].collect()) == []


@pytest.mark.parametrize(
    ("request_text", "status", "content"),
    [
        ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", 'swim_members{node="a",state="alive"} 1.0'),
        ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "200 OK", "swim_streams"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", "/metrics"),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed", "GET only"),
        ("\xff\xfe\r\n\r\n", "400 Bad Request", "no such request"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "400 Bad Request", "no such request"),
    ],
)
async def test_over_http(request_text: str, status: str, content: str) -> None:
    async with cluster_of("a") as (a,), trio.open_nursery() as nursery:
        listeners = await nursery.start(metrics.serve, a, "127.0.0.1", 0)
        port = listeners[0].socket.getsockname()[1]
        with trio.fail_after(PATIENCE):
            answer = await ask(port, request_text.encode("latin-1"))
        head, _, body = answer.partition("\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status}\r\n")
        assert f"Content-Length: {len(body.encode())}" in head
        assert content in body
        nursery.cancel_scope.cancel()


async def test_a_client_that_goes_away_does_no_harm() -> None:
    async with cluster_of("a") as (a,), trio.open_nursery() as nursery:
        listeners = await nursery.start(metrics.serve, a, "127.0.0.1", 0)
        port = listeners[0].socket.getsockname()[1]
        with trio.fail_after(PATIENCE):
            for words in (b"", b"GET /met", b"x" * 10_000):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.send_all(words)
                await stream.aclose()
            assert "swim_acks_total" in await ask(port, REQUEST)
        nursery.cancel_scope.cancel()


async def test_strangers_that_hold_connections_do_not_keep_a_scraper_out() -> None:
    async with cluster_of("a") as (a,), trio.open_nursery() as nursery, AsyncExitStack() as held:
        listeners = await nursery.start(metrics.serve, a, "127.0.0.1", 0)
        port = listeners[0].socket.getsockname()[1]
        with trio.fail_after(PATIENCE):
            streams = []
            for _ in range(200):
                stream = await held.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
                await stream.send_all(b"GET /met")
                streams.append(stream)
            begun = trio.current_time()
            assert "swim_acks_total" in await ask(port, REQUEST)
            assert trio.current_time() - begun < metrics._REQUEST_SECONDS
            assert await streams[0].receive_some() == b"", "the oldest was closed"
        nursery.cancel_scope.cancel()


async def test_a_connection_ends_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    server = metrics._Server(())
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(b"GET /metrics HTTP/1.1\r\n")
    await server.attend(far)  # type: ignore[arg-type]
    assert trio.current_time() == metrics._REQUEST_SECONDS


async def test_the_same_answer_is_given_to_all_who_ask_at_once() -> None:
    async with cluster_of("a") as (a,), trio.open_nursery() as nursery:
        listeners = await nursery.start(metrics.serve, a, "127.0.0.1", 0)
        port = listeners[0].socket.getsockname()[1]
        asked = 0

        def statistics() -> swim.Statistics:
            nonlocal asked
            asked += 1
            return type(a).statistics(a)

        a.statistics = statistics  # type: ignore[method-assign]
        with trio.fail_after(PATIENCE):
            for _ in range(3):
                await ask(port, REQUEST)
        assert asked < 3
        nursery.cancel_scope.cancel()


async def ask(port: int, request: bytes) -> str:
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        async for chunk in stream:
            answer += bytes(chunk)
    return answer.decode()
