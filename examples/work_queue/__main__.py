"""Work handed out by an elected leader, which may die like everybody else.

Start a node in each of some terminals, or on machines that share their files;
all of them are workers, and the one that has been there longest leads:

    python -m examples.work_queue --bind 127.0.0.1:7960
    python -m examples.work_queue --join 127.0.0.1:7960
    python -m examples.work_queue --join 127.0.0.1:7960 words /usr/share/doc

The last one brings a job along, and leaves when that is finished. Kill which
you like meanwhile. Or watch four workers and two deaths without any typing:

    python -m examples.work_queue --demo
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
import time
from pathlib import Path

import trio

import swim
from examples.work_queue.demo import demo, unless_signalled
from examples.work_queue.kinds import KINDS, Job
from examples.work_queue.node import ROLE, Node
from examples.work_queue.screen import say

SWITCH_SECONDS = 0.0005
"""So soon Python's other threads give way to trio's, which hands out and collects. Its default is 5 ms."""

WHAT_MAX = 100_000


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "work_queue", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    name = f"{socket.gethostname()}-{os.getpid()}"
    parser.add_argument("--name", default=name, help="unique; by default that of the machine, and a number")
    parser.add_argument("--bind", default="127.0.0.1:0", help="host:port (%(default)s: any free one)")
    parser.add_argument("--join", action="append", default=[], help="any members, host:port")
    parser.add_argument(
        "--report", default="report.jsonl", help="written by the leader in the end (%(default)s)"
    )
    parser.add_argument("kind", nargs="?", choices=KINDS, help="of the job")
    parser.add_argument("what", nargs="*", help="files and directories; for primes: up to where")
    parser.add_argument("--demo", action="store_true", help="4 workers, 2 deaths, 1 report")
    parser.add_argument("--calm", action="store_true", help="a demo without deaths")
    parser.add_argument("--tasks", type=int, default=50_000, help="of the demo (%(default)s)")
    parser.add_argument("--runs", type=int, default=1, help="of the demo (%(default)s)")
    options = parser.parse_args(arguments)
    if options.kind and not options.what:
        parser.error(f"{options.kind} of what?")
    try:
        options.what = [KINDS[options.kind].argument(text) for text in options.what]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if sum(map(len, options.what)) > WHAT_MAX:
        parser.error("too many names to tell everybody: name a directory that has the files")
    return options


def job_of(options: argparse.Namespace) -> Job:
    id = f"{options.kind}-{secrets.token_hex(4)}"
    return Job(id, options.kind, tuple(options.what), str(Path(options.report).resolve()), time.time())


async def node(options: argparse.Namespace) -> str | None:
    """Be a node until the own job is finished, then leave. Returns what went wrong."""
    job = job_of(options) if options.kind else None
    if options.join:
        say(f"looking for {' or '.join(options.join)}")
    try:
        async with swim.open_cluster(
            options.name, bind=options.bind, seeds=options.join, tags=ROLE
        ) as cluster:
            say(f"{cluster.me} is a member; {cluster.leader and cluster.leader.name} leads")
            summary = await Node(cluster).run(job)
    except (swim.SwimError, OSError, ValueError) as error:
        return f"work_queue: {error}"
    return "the job could not be done" if summary.startswith("failed") else None


def main() -> None:
    options = parse(sys.argv[1:])
    if options.demo:
        seconds = demo(options.tasks, options.runs, options.calm)
        sys.exit(len(seconds) < options.runs)
    sys.setswitchinterval(SWITCH_SECONDS)
    sys.exit(trio.run(unless_signalled, node, options))


main()
