"""Jobs of many tasks, each with one owner that hands them out, and that may die.

Start a node in each of some terminals, or on machines that share their files;
all of them are workers, and any may come to own a job:

    python -m examples.work_queue --bind 127.0.0.1:7960
    python -m examples.work_queue --join 127.0.0.1:7960
    python -m examples.work_queue --join 127.0.0.1:7960 words /usr/share/doc

The last one brings a job along, and leaves when that is finished. Kill which
you like meanwhile. Or watch four workers and two deaths without any typing:

    python -m examples.work_queue --demo
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio

import swim
from examples.work_queue.demo import demo
from examples.work_queue.kinds import KINDS, new_job
from examples.work_queue.node import ROLE, Node

WHAT_MAX = 100_000


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "work_queue", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}", help="default: host, pid")
    parser.add_argument("--bind", default="127.0.0.1:0", help="host:port (%(default)s: any free one)")
    parser.add_argument("--join", action="append", default=[], help="any members, host:port")
    parser.add_argument("--report", default="report.jsonl", help="of the job (%(default)s)")
    parser.add_argument("kind", nargs="?", choices=KINDS, help="of the job")
    parser.add_argument("what", nargs="*", help="files and directories; for primes: up to where")
    parser.add_argument("--demo", action="store_true", help="4 workers, 2 deaths, 1 report")
    parser.add_argument("--calm", action="store_true", help="a demo without deaths")
    parser.add_argument("--tasks", type=int, default=50_000, help="of the demo (%(default)s)")
    options = parser.parse_args()
    if options.kind and not options.what:
        parser.error(f"{options.kind} of what?")
    try:
        options.job = new_job(options.kind, options.what, options.report) if options.kind else None
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if options.job and sum(map(len, options.job.arguments)) > WHAT_MAX:
        parser.error("too many names to tell everybody: name a directory that has the files")
    return options


async def node(options: argparse.Namespace) -> str | None:
    """Be a node until its own job is finished, then leave. Returns what went wrong."""
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)  # what swim tells
    opening = swim.open_cluster(options.name, bind=options.bind, seeds=options.join, tags=ROLE)
    try:
        async with opening as cluster:
            summary = await Node(cluster).run(options.job)
    except (swim.SwimError, OSError, ValueError) as error:
        return f"work_queue: {error}"
    return "the job could not be done" if summary.startswith("failed") else None


async def unless_signalled(function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """What the function returns; None if SIGINT or SIGTERM came first, and then it has been cancelled."""

    async def wait_for_signal() -> None:
        await anext(signals)
        nursery.cancel_scope.cancel()

    result = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_signal)
            result = await function(*arguments)
            nursery.cancel_scope.cancel()
    return result


options = parse()
if options.demo:
    seconds = trio.run(unless_signalled, demo, options.tasks, options.calm)
    sys.exit("interrupted; all processes are stopped" if seconds is None else 0)
sys.exit(trio.run(unless_signalled, node, options))
