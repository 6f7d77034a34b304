"""Talk to each other in terminals, without a server.

On one machine, in a terminal each:

    python -m examples.chat_cluster ann
    python -m examples.chat_cluster bob

Across machines (swim's port 7946 must be open for UDP and TCP):

    python -m examples.chat_cluster ann --bind 0.0.0.0:7946
    python -m examples.chat_cluster bob --join FIRST-MACHINE

Watch five processes talk while their leader is killed:

    python -m examples.chat_cluster --demo
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import dataclass

import trio

import swim
from examples.chat_cluster.chat import TAG, Chat
from examples.chat_cluster.terminal import Terminal, open_terminal

_PORT = 7771
_PORTS = 16
_NAME_MAX = 20
_PAUSE_TOLERANCE = 5.0
"""Seconds; a member that is paused holds up all others, since a line is accepted when all have it."""


@dataclass
class Place:
    """Where to be, and whom to ask for the others."""

    binds: list[str]
    seeds: list[str]
    config: swim.Config


def place(join: list[str], bind: str | None, port: int) -> Place:
    """With neither: the first free one of a range of loopback ports, all of which are seeds."""
    if join or bind:
        return Place([bind or "0.0.0.0:7946"], join, swim.Config.lan(pause_tolerance=_PAUSE_TOLERANCE))
    ports = [f"127.0.0.1:{number}" for number in range(port, port + _PORTS)]
    return Place(ports, ports, swim.Config.local(pause_tolerance=_PAUSE_TOLERANCE))


async def take_part(nick: str, where: Place, terminal: Terminal) -> None:
    """Be a member until the person leaves."""
    if where.seeds != where.binds:
        terminal.print(f"   * looking for {', '.join(where.seeds) or 'nobody: the others join this one'}")
    for bind in where.binds:
        try:
            async with swim.open_cluster(
                nick,
                bind=bind,
                seeds=where.seeds,
                config=where.config,
                label="swim-chat",
                tags={TAG: os.urandom(4).hex()},
            ) as cluster:
                await Chat(cluster, terminal).run()
                return
        except swim.AddressInUse:
            if bind == where.binds[-1]:
                raise


async def main(nick: str, where: Place) -> None:
    """The whole life of the process: Ctrl-C and signals leave, too."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery, open_terminal() as terminal:

            async def leave_on_signal() -> None:
                async for number in signals:
                    if number != signal.SIGINT or not terminal.interrupt():
                        nursery.cancel_scope.cancel()

            nursery.start_soon(leave_on_signal)
            await take_part(nick, where, terminal)
            nursery.cancel_scope.cancel()


def nickname(text: str) -> str:
    """A nickname; for argparse."""
    if not 0 < len(text) <= _NAME_MAX or not text.isprintable() or set(text) & set(" /:"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no nickname: 1 to {_NAME_MAX} characters without spaces, / and :"
        )
    return text


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m examples.chat_cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("nick", nargs="?", type=nickname, help="your nickname")
    parser.add_argument("--join", action="append", default=[], metavar="HOST[:PORT]", help="any member")
    parser.add_argument("--bind", metavar="HOST:PORT", help="with --join, 0.0.0.0:7946 by default")
    parser.add_argument("--port", type=int, default=_PORT, help=f"first of {_PORTS} on one machine [{_PORT}]")
    parser.add_argument("--demo", action="store_true", help="watch five processes by themselves")
    given = parser.parse_args()
    if given.demo == bool(given.nick):
        parser.error("give a nickname, or --demo")
    return given


if __name__ == "__main__":
    given = arguments()
    if given.demo:
        from examples.chat_cluster.demo import play

        sys.exit(trio.run(play))
    told = ""
    try:
        trio.run(main, given.nick, place(given.join, given.bind, given.port))
    except* (swim.SwimError, OSError, ValueError) as problems:
        problem: BaseException = problems
        while isinstance(problem, BaseExceptionGroup):
            problem = problem.exceptions[0]
        told = f"{given.nick}: {problem}"
    if told:  # not where it was caught: Python before 3.11.4 shows what is raised there as a group
        sys.exit(told)
