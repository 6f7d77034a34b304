"""`Cluster.statistics` for Prometheus (extra `metrics`: the packages prometheus-client and h11).

A node of your own, beside the other metrics of your program::

    async with swim.open_cluster("a", ...) as cluster:
        prometheus_client.REGISTRY.register(swim.metrics.Collector(cluster))
        prometheus_client.start_http_server(9100)

Without an HTTP server of your own, `serve` is one that lives in a trio nursery, as in
``swim agent --metrics 127.0.0.1:9100``.

Every metric has the label `node`, the name of the node whose view it is.

==================================  =======  ==============================================================
name (and further label)            kind     meaning
==================================  =======  ==============================================================
swim_members (state)                gauge    members that are alive, suspect, dead or left in its view
swim_observed_members               gauge    members that it pings
swim_is_leader                      gauge    1 while it leads in its own view, else 0
swim_has_leader                     gauge    1 while it follows a leader, itself included, else 0
swim_phi_max                        gauge    the highest phi among the members that it pings
swim_round_trip_seconds             gauge    median of theirs
swim_ping_loss_ratio                gauge    median share of its pings that they do not answer
swim_stream_only_members            gauge    observed members that answer over TCP and not by UDP
swim_stalled_seconds_total          counter  how long this process was late to serve its timers
swim_pings_total (kind)             counter  pings, direct and indirect (through other members)
swim_acks_total                     counter  answers to them
swim_packets_total (direction)      counter  UDP packets, tx and rx
swim_packet_bytes_total (direction) counter  their payload
swim_stream_bytes_total (direction) counter  bytes over TCP
swim_streams                        gauge    TCP connections open now
swim_messages_total (kind)          counter  direct messages sent and received, broadcasts heard,
                                             requests asked and served
swim_unacknowledged_messages        gauge    direct messages sent that are not read yet
swim_leases (kind)                  gauge    names held and wanted here; granted and waiting at the leader
swim_events_total (event)           counter  join, update, suspect, recover, dead, leave, leader
swim_failures_total (reason)        counter  members given up: process-gone, silence, quality, told
swim_dropped_total (reason)         counter  what was dropped or could not be sent
==================================  =======  ==============================================================
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus

import h11
import trio
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector as _Collector

from swim.cluster import Cluster
from swim.statistics import Statistics

__all__ = ["Collector", "serve"]

_REQUEST_SIZE_MAX = 8_192
_REQUEST_SECONDS = 5.0
_CONNECTIONS_MAX = 64
_FRESH_SECONDS = 0.2
"""How long an answer is given again: to look up all figures takes time of the node's."""

_Values = Mapping[str, float]
_LABEL = {
    "members": "state",
    "pings": "kind",
    "packets": "direction",
    "packet_bytes": "direction",
    "stream_bytes": "direction",
    "messages": "kind",
    "leases": "kind",
    "events": "event",
    "failures": "reason",
    "dropped": "reason",
}
_COUNTERS = {"stalled_seconds", "acks", *_LABEL} - {"members", "leases"}
_HELP = {
    "members": "Members in this node's view, by state.",
    "observed_members": "Members that this node pings.",
    "is_leader": "1 while this node leads in its own view.",
    "has_leader": "1 while this node follows a leader, itself included.",
    "phi_max": "The highest phi among the members that this node pings; suspected from 3 on.",
    "round_trip_seconds": "Median round trip to the members that this node pings.",
    "ping_loss_ratio": "Median share of pings that they do not answer.",
    "stream_only_members": "Observed members that answer over TCP and not by UDP.",
    "stalled_seconds": "How long this process was late to serve its timers.",
    "pings": "Pings sent, direct and through other members.",
    "acks": "Answers to pings.",
    "packets": "UDP packets.",
    "packet_bytes": "UDP payload.",
    "stream_bytes": "Bytes over TCP.",
    "streams": "TCP connections open now.",
    "messages": "Direct messages sent and received, broadcasts heard, requests asked and served.",
    "unacknowledged_messages": "Direct messages sent that the other applications have not read yet.",
    "leases": "Names held and wanted here; granted, waiting, moved and lost as the leader.",
    "events": "What happened, by the agent's words for it.",
    "failures": "Members given up, by reason.",
    "dropped": "What was dropped or could not be sent, by reason.",
}


class Collector(_Collector):
    """Yields the metrics of one cluster, or of several whose nodes share this process.

    May be asked from any thread, such as that of ``prometheus_client.start_http_server``. Must be made where
    trio runs.
    """

    def __init__(self, clusters: Cluster | Collection[Cluster]) -> None:
        self._clusters = (clusters,) if isinstance(clusters, Cluster) else clusters
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()

    def describe(self) -> Iterator[Metric]:
        """Names without values, so that registering asks nothing of the cluster."""
        return iter([_family(name) for name in _HELP])

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now; none when trio has ended."""
        try:
            here = threading.get_ident() == self._thread
            values = self._look() if here else trio.from_thread.run_sync(self._look, trio_token=self._token)
        except trio.RunFinishedError:
            return
        for name in _HELP:
            family = _family(name)
            for node, figures in values:
                for label, value in figures.get(name, {}).items():
                    family.add_metric([node, label] if name in _LABEL else [node], value)
            yield family

    def _look(self) -> list[tuple[str, Mapping[str, _Values]]]:
        return [(cluster.name, _figures(cluster, cluster.statistics())) for cluster in self._clusters]


def _family(name: str) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if name in _COUNTERS else GaugeMetricFamily
    return kind(f"swim_{name}", _HELP[name], labels=["node", _LABEL[name]] if name in _LABEL else ["node"])


def _figures(cluster: Cluster, now: Statistics) -> dict[str, _Values]:
    """By metric, then by the value of its further label (an empty one where it has none)."""
    figures: dict[str, _Values] = {
        "members": now.states,
        "pings": {"direct": now.pings, "indirect": now.ping_reqs},
        "packets": {"tx": now.tx_packets, "rx": now.rx_packets},
        "packet_bytes": {"tx": now.tx_bytes, "rx": now.rx_bytes},
        "stream_bytes": {"tx": now.stream_tx_bytes, "rx": now.stream_rx_bytes},
        "messages": now.messages,
        "leases": now.leases,
        "events": now.events,
        "failures": now.failures,
        "dropped": now.dropped,
    }
    plain = {
        "observed_members": now.observed,
        "is_leader": cluster.is_leader,
        "has_leader": cluster.leader is not None,
        "phi_max": now.phi,
        "round_trip_seconds": now.round_trip,
        "ping_loss_ratio": now.loss,
        "stream_only_members": now.stream_only,
        "stalled_seconds": now.stalled,
        "acks": now.acks,
        "streams": now.streams,
        "unacknowledged_messages": now.unacknowledged,
    }
    return figures | {name: {"": float(value)} for name, value in plain.items() if value is not None}


# --- a small server


async def serve(
    clusters: Cluster | Collection[Cluster],
    host: str,
    port: int,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer ``GET /metrics`` over HTTP until cancelled; for ``await nursery.start(serve, ..)``.

    Anybody who can reach the port can read them. A connection is for one request and ends after
    5 seconds; when 64 are open, a new one ends the oldest. Raises OSError when the address cannot be bound.
    """
    await trio.serve_tcp(_Server(clusters).attend, port, host=host, task_status=task_status)


class _Server:
    """HTTP by h11, within bounds: neither many connections, slow ones nor quick ones hold up the node."""

    def __init__(self, clusters: Cluster | Collection[Cluster]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(Collector(clusters))
        self._visits: dict[trio.CancelScope, None] = {}
        """Of the open connections, in the order in which they came."""
        self._written: dict[str, bytes] = {}
        self._until = -math.inf

    async def attend(self, stream: trio.SocketStream) -> None:
        """One connection, from beginning to end."""
        if len(self._visits) >= _CONNECTIONS_MAX:
            oldest = next(iter(self._visits))
            oldest.cancel()
            del self._visits[oldest]
        scope = trio.CancelScope(deadline=trio.current_time() + _REQUEST_SECONDS)
        self._visits[scope] = None
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_REQUEST_SIZE_MAX)
        try:
            with scope:
                await self._answer(http, stream)
        except trio.BrokenResourceError:
            pass
        finally:
            self._visits.pop(scope, None)

    async def _answer(self, http: h11.Connection, stream: trio.SocketStream) -> None:
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await stream.receive_some(_REQUEST_SIZE_MAX))
            if not isinstance(event, h11.Request):
                return
            status, kind, content = self._response(event)
            head_only = event.method == b"HEAD"
        except h11.RemoteProtocolError as error:
            status, kind, content, head_only = (
                error.error_status_hint,
                "text/plain",
                b"no such request\n",
                False,
            )
        headers = [("Content-Type", kind), ("Content-Length", str(len(content))), ("Connection", "close")]
        reason = HTTPStatus(status).phrase
        parts: list[h11.Event] = [h11.Response(status_code=status, headers=headers, reason=reason)]
        parts += [] if head_only else [h11.Data(data=content)]
        parts += [h11.EndOfMessage()]
        await stream.send_all(b"".join(http.send(part) or b"" for part in parts))

    def _response(self, request: h11.Request) -> tuple[int, str, bytes]:
        """Status, content type and content."""
        if request.method not in (b"GET", b"HEAD"):
            return 405, "text/plain", b"GET only\n"
        if request.target.partition(b"?")[0] != b"/metrics":
            return 404, "text/plain", b"The metrics are at /metrics\n"
        accepted = next((value for name, value in request.headers if name == b"accept"), b"")
        encode, kind = choose_encoder(accepted.decode("latin-1"))
        now = trio.current_time()
        if now >= self._until:
            self._until, self._written = now + _FRESH_SECONDS, {}
        if kind not in self._written:
            self._written[kind] = encode(self._registry)
        return 200, kind, self._written[kind]
