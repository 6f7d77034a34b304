"""A web service of replicas that share the work: Hypercorn on trio, Starlette.

    pip install -e ".[examples]"
    python examples/web_service.py a --http 127.0.0.1:8001 --bind 127.0.0.1:7951
    python examples/web_service.py b --http 127.0.0.1:8002 --join 127.0.0.1:7951
    curl http://127.0.0.1:8001/replicas http://127.0.0.1:8001/pictures/cat

Any replica takes any request, and passes it on to the one that owns the key,
which keeps what it has made. If that one dies first the next one is asked: to
make a picture twice does no harm. One replica reports what all have made. On
SIGTERM a replica leaves the registry, finishes what is in flight, and ends.
"""

import argparse
import signal
from contextlib import suppress
from typing import Any

import hypercorn.trio
import trio
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import swim

ANSWER_SECONDS_MAX = DRAIN_SECONDS_MAX = 20.0
RETRY_SECONDS, REPORT_SECONDS, QUIET_SECONDS = 0.02, 1.0, 1.0
PICTURES_MAX, MAKERS_MAX = 10_000, 64


class Replica:
    def __init__(self, cluster: swim.Cluster, http: str) -> None:
        self.cluster = cluster
        self.http = http
        self.pictures: dict[bytes, bytes] = {}
        self.makers = trio.CapacityLimiter(MAKERS_MAX)
        self.made = 0
        self.asked = trio.current_time()

    def up(self) -> tuple[swim.Member, ...]:
        """The registry: the replicas that take requests now."""
        return self.cluster.available(role="web", state="up")

    # --- what clients ask
    async def list_replicas(self, request: Request) -> Response:
        return JSONResponse({member.name: member.tags["http"] for member in self.up()})

    async def show_picture(self, request: Request) -> Response:
        self.asked = trio.current_time()
        key = request.path_params["key"]
        with trio.move_on_after(ANSWER_SECONDS_MAX):
            while True:
                owner = swim.rendezvous(key, self.up() or [self.cluster.me])
                try:
                    return Response(await self.cluster.request(owner, key.encode(), topic="picture"))
                except swim.SendError:  # it has died: in a moment all know, and another one is the owner
                    await trio.sleep(RETRY_SECONDS)
        return Response("too busy\n", status_code=503)

    # --- what replicas ask each other
    async def make_picture(self, sender: swim.Member, key: bytes) -> bytes:
        async with self.makers:
            if key not in self.pictures:
                await trio.sleep(0.01)  # here goes the work
                self.pictures[key] = b"%s, by %s\n" % (key, self.cluster.name.encode())
                self.made += 1
            if len(self.pictures) > PICTURES_MAX:
                del self.pictures[next(iter(self.pictures))]
            return self.pictures[key]

    async def count_pictures(self, sender: swim.Member, payload: bytes) -> bytes:
        return b"%d" % self.made

    async def report(self, lease: swim.Lease) -> None:
        """A job that one of all replicas has."""
        while True:
            await trio.sleep(REPORT_SECONDS)
            made = 0
            for member in self.up():
                with suppress(swim.SendError, swim.RequestError):  # it is going
                    made += int(await self.cluster.request(member, b"", topic="count"))
            print(f"{self.cluster.name}: {len(self.up())} replicas have made {made} pictures", flush=True)

    async def take_part(self) -> None:
        """From when it listens until it is drained: then it stops to, and the last answers are sent."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            self.cluster.set_tags({"role": "web", "state": "up", "http": self.http})
            await anext(signals)
            self.cluster.set_tags({"role": "web", "state": "draining"})
            with trio.move_on_after(DRAIN_SECONDS_MAX):
                await self.cluster.settled()  # now no replica passes anything on to this one any more
                while self.makers.borrowed_tokens or trio.current_time() < self.asked + QUIET_SECONDS:  # noqa: ASYNC110
                    await trio.sleep(RETRY_SECONDS)  # clients see /replicas, and go elsewhere


async def main(options: argparse.Namespace) -> None:
    config = Config.from_mapping(bind=options.http, graceful_timeout=ANSWER_SECONDS_MAX, loglevel="warning")
    async with swim.open_cluster(options.name, bind=options.bind, seeds=options.join) as cluster:
        replica = Replica(cluster, options.http)
        routes = [Route("/replicas", replica.list_replicas), Route("/pictures/{key}", replica.show_picture)]
        app: Any = Starlette(routes=routes)
        async with (
            cluster.serve("picture", replica.make_picture),
            cluster.serve("count", replica.count_pictures),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(cluster.run_while_owner, "report", replica.report)
            await hypercorn.trio.serve(app, config, shutdown_trigger=replica.take_part)
            nursery.cancel_scope.cancel()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("name", help="of this replica, unlike all others'")
parser.add_argument("--http", required=True, metavar="HOST:PORT", help="where clients find it")
parser.add_argument("--bind", default="127.0.0.1:0", metavar="HOST:PORT", help="its port of the cluster")
parser.add_argument("--join", default=[], action="append", metavar="HOST:PORT", help="any other replica's")
trio.run(main, parser.parse_args())
