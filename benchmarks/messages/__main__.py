"""Messages between members, on real sockets: direct ones from process to process, and broadcasts to all.

    python -m benchmarks.messages [--quick] [direct request slow large bulk kill broadcast loss]

direct     one pair on loopback, 100 bytes each, in order: how many a second
request    one pair, 100 bytes there and 100 back: how many a second by many tasks; how long one takes alone,
           and an echo on a bare connection of trio's between the same processes, in turn with it
slow       the receiver takes 200 a second: what the sender gets rid of, and the memory of both
large      1 MiB, and one byte more
bulk       1 MiB each, one after the other
kill       SIGKILL of the receiver while eight tasks send to it: when the last of them knows
broadcast  400 bytes to all of 64 nodes: until the last has it
loss       the same while packets are lost, each by chance (needs root)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

import swim
from benchmarks import clusters, namespaces, record, show
from benchmarks.driver import Fleet, Line, drive, open_fleet
from benchmarks.messages.peer import NAME, rss_kib
from benchmarks.namespaces import open_network, why_not
from benchmarks.peers import Absent, Peer, find_peer

SCENARIOS = ("direct", "request", "slow", "large", "bulk", "kill", "broadcast", "loss")
PATIENCE = 120.0
SMALL = 100
LARGEST = 1_048_576
SLOW_RATE = 200.0
SENDERS = 8
ASKERS = 64
BROADCAST_SIZE = 400
INTERVAL = 0.1
SETTLED_SECONDS = 5.0
REPAIR_SECONDS = 60.0

Row = dict[str, Any]


# --- one pair


@dataclass(slots=True)
class Receiver:
    """A `benchmarks.messages.peer` and its lines."""

    process: trio.Process
    lines: AsyncIterator[Row]
    ready: Row = field(default_factory=dict)
    """Its first line."""


@asynccontextmanager
async def pair(*words: object) -> AsyncIterator[tuple[swim.Cluster, Receiver]]:
    """A node here, and one in another process that knows it and takes messages."""
    with trio.fail_after(PATIENCE):
        async with swim.open_cluster("sender", bind="127.0.0.1:0") as cluster:
            command = [sys.executable, "-m", "benchmarks.messages.peer", str(cluster.address)]
            process = await trio.lowlevel.open_process(
                [*command, *map(str, words)], stdout=subprocess.PIPE, start_new_session=True
            )
            receiver = Receiver(process, read_lines(process))
            try:
                receiver.ready = await anext(receiver.lines)
                await cluster.wait_for(lambda cluster: cluster.member(NAME) is not None)
                yield cluster, receiver
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()


async def read_lines(process: trio.Process) -> AsyncIterator[Row]:
    assert process.stdout is not None
    rest = b""
    async for chunk in process.stdout:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


async def direct(args: argparse.Namespace) -> Row:
    count = 20_000 if args.quick else 200_000
    async with pair("count", count) as (cluster, receiver):
        cpu = time.process_time()
        for number in range(count):
            await cluster.send(NAME, b"%0*d" % (SMALL, number))
        cpu = time.process_time() - cpu
        there = await anext(receiver.lines)
    return {
        "messages": there["count"],
        "bytes": SMALL,
        "per_second": round(there["count"] / there["seconds"]),
        "sender_cpu_us": round(1e6 * cpu / count, 1),
        "receiver_cpu_us": round(1e6 * there["cpu_s"] / count, 1),
    }


async def request(args: argparse.Namespace) -> Row:
    count, alone = (10_000, 1_000) if args.quick else (100_000, 5_000)
    payload, left = bytes(SMALL), count
    seconds, bare_seconds = list[float](), list[float]()
    async with pair("echo") as (cluster, receiver):
        peer = cluster.member(NAME)
        assert peer is not None

        async def ask() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                assert await cluster.request(peer, payload, topic="echo") == payload

        async with await trio.open_tcp_stream("127.0.0.1", receiver.ready["bare_port"]) as bare:
            for _ in range(alone):  # in turn, so that both have the same machine
                began = time.perf_counter()
                await bare.send_all(payload)
                assert await bare.receive_some() == payload
                bare_seconds.append(time.perf_counter() - began)
                began = time.perf_counter()
                await cluster.request(peer, payload, topic="echo")
                seconds.append(time.perf_counter() - began)
        began, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(ASKERS):
                nursery.start_soon(ask)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        await cluster.send(NAME, b"enough")
        there = await anext(receiver.lines)
    return {
        "requests": count,
        "bytes": SMALL,
        "tasks": ASKERS,
        "per_second": round(count / took),
        "asker_cpu_us": round(1e6 * cpu / count, 1),
        "server_cpu_us": round(1e6 * there["cpu_s"] / there["count"], 1),
        "seconds_until_the_answer_of_one_alone": seconds,
        "seconds_until_the_answer_of_a_bare_echo": bare_seconds,
    }


async def slow(args: argparse.Namespace) -> Row:
    seconds = 5 if args.quick else 30
    sent, here, there = 0, [], []
    async with pair("slow", SLOW_RATE) as (cluster, receiver):
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:

                async def watch() -> None:
                    async for line in receiver.lines:
                        here.append(rss_kib())
                        there.append(line)

                nursery.start_soon(watch)
                while True:
                    await cluster.send(NAME, bytes(1000))
                    sent += 1
    return {
        "seconds": seconds,
        "offered_per_second": "as many as go",
        "taken_per_second": SLOW_RATE,
        "sent": sent,
        "taken": there[-1]["taken"],
        "sender_rss_kib": [here[0], here[-1]],
        "receiver_rss_kib": [there[0]["rss_kib"], there[-1]["rss_kib"]],
    }


async def large(args: argparse.Namespace) -> Row:
    payload = os.urandom(LARGEST)
    async with pair("digest") as (cluster, receiver):
        began = time.perf_counter()
        await cluster.send(NAME, payload)
        there = await anext(receiver.lines)
        seconds = time.perf_counter() - began
        try:
            await cluster.send(NAME, payload + b"!")
        except swim.PayloadTooLarge as error:
            refusal = str(error)
    intact = there["sha256"] == hashlib.sha256(payload).hexdigest()
    return {"bytes": there["size"], "intact": intact, "seconds": seconds, "one_byte_more": refusal}


async def bulk(args: argparse.Namespace) -> Row:
    count, payload = 30 if args.quick else 500, os.urandom(LARGEST)
    async with pair("bulk", count) as (cluster, receiver):
        cpu = time.process_time()
        for _ in range(count):
            await cluster.send(NAME, payload)
        cpu = time.process_time() - cpu
        there = await anext(receiver.lines)
    return {
        "messages": count,
        "bytes": LARGEST,
        "mb_per_second": round(there["bytes"] / there["seconds"] / 1e6),
        "sender_cpu_ms": round(1e3 * cpu / count, 2),
    }


async def kill(args: argparse.Namespace) -> Row:
    runs = 2 if args.quick else 10
    delays, last = [], ""
    for _ in range(runs):
        async with pair("slow", SLOW_RATE) as (cluster, receiver):
            errors: list[tuple[float, swim.SendError]] = []

            async def send(cluster: swim.Cluster = cluster, errors: list[Any] = errors) -> None:
                try:
                    while True:
                        await cluster.send(NAME, bytes(1000))
                except swim.SendError as error:
                    errors.append((time.perf_counter(), error))

            async with trio.open_nursery() as nursery:
                for _ in range(SENDERS):
                    nursery.start_soon(send)
                await trio.sleep(2.0)
                receiver.process.kill()
                killed = time.perf_counter()
            delays.append(max(when for when, _ in errors) - killed)
            last = str(errors[0][1])
    return {
        "runs": runs,
        "tasks": SENDERS,
        "seconds_until_the_last_has_its_error": delays,
        "error": last,
    }


# --- all


async def spread(fleet: Fleet, names: Sequence[str], count: int) -> Row:
    """So many broadcasts from one node after the other: when the last has each, and who has what."""
    agents = {name: agent for agent in fleet.agents for name in agent.names}
    heard: dict[str, list[float]] = {}
    who: Counter[tuple[str, str]] = Counter()

    def note(line: Line) -> None:
        if line["event"] == "message" and line["kind"] == "broadcast":
            heard.setdefault(line["payload"], []).append(line["t"])
            who[line["node"], line["payload"]] += 1

    fleet.listeners.append(note)
    told: dict[str, float] = {}
    for number in range(count):
        sender = names[number * 7 % len(names)]
        payload = f"{number:06d}".ljust(BROADCAST_SIZE - len("news"), "x")
        told[payload] = await agents[sender].command(f"broadcast news {payload}", sender)
        await trio.sleep(INTERVAL)
    wanted = len(names) * count
    with trio.move_on_after(REPAIR_SECONDS):
        while sum(who.values()) < wanted:  # noqa: ASYNC110
            await trio.sleep(0.1)
    fleet.listeners.remove(note)
    complete = [payload for payload in told if len(heard.get(payload, ())) >= len(names)]
    return {
        "nodes": len(names),
        "bytes": BROADCAST_SIZE,
        "broadcasts": count,
        "reached_all": len(complete),
        "more_than_once": sum(times > 1 for times in who.values()),
        "seconds_until_the_last": [max(heard[payload]) - told[payload] for payload in complete],
    }


async def broadcast(args: argparse.Namespace, peer: Peer) -> Row:
    nodes, count = (16, 20) if args.quick else (64, 100)
    async with open_fleet() as fleet:
        agents = await clusters.gather(fleet, peer, nodes)
        await trio.sleep(SETTLED_SECONDS)
        return await spread(fleet, list(agents), count)


async def loss(args: argparse.Namespace, peer: Peer) -> Row:
    nodes, count = (16, 20) if args.quick else (64, 100)
    with open_network([clusters.REST]) as network:
        async with open_fleet() as fleet:
            agents = await clusters.gather(fleet, peer, nodes, (), network)
            network.lose(clusters.REST, args.percent)
            await trio.sleep(SETTLED_SECONDS)
            return {"percent": args.percent} | await spread(fleet, list(agents), count)


# --- all of them


async def measure(args: argparse.Namespace, peer: Peer | Absent, results: Row, skipped: list[str]) -> None:
    one_pair = {
        "direct": direct,
        "request": request,
        "slow": slow,
        "large": large,
        "bulk": bulk,
        "kill": kill,
    }
    for name in args.scenarios:
        if name in one_pair:
            results[name] = await one_pair[name](args)
        elif isinstance(peer, Absent):
            skipped.append(str(peer))
        elif name == "broadcast":
            results[name] = await broadcast(args, peer)
        elif reason := why_not():
            skipped.append(namespaces.skipped("messages loss", reason))
        else:
            results[name] = await loss(args, peer)
        if name in results:
            show.console().print(show.table(name, ("what", "figure"), rows(results[name])))


def rows(row: Row) -> list[tuple[str, str]]:
    """Times are shown by their middle, and from the least to the greatest."""
    return [
        (key.replace("_", " "), show.middle(value) if "seconds_until" in key else str(value))
        for key, value in row.items()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = record.parser("messages", __doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of: {', '.join(SCENARIOS)}")
    parser.add_argument("--percent", type=int, default=5, help="of all packets that are lost")
    args = record.parse(parser, argv)
    args.scenarios = args.scenarios or list(SCENARIOS)
    record.check_known(parser, "scenario", args.scenarios, list(SCENARIOS))
    results: Row = {}
    skipped: list[str] = []
    drive(measure, args, find_peer("swim"), results, skipped)
    print(*skipped, f"recorded in {record.write(args, results=results, skipped=skipped)}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
