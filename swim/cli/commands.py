"""The commands of the agent's standard input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import trio

from swim.cli.options import parse_addresses, parse_keys, parse_tags
from swim.cli.post import Post
from swim.cli.report import shown_tags
from swim.cli.running import RunningNode
from swim.cluster import Cluster
from swim.errors import SwimError

__all__ = ["USAGE", "Commands"]

_JOIN_PATIENCE = 20.0
USAGE = {
    "join": "join HOST[:PORT][,HOST[:PORT]..]",
    "tags": "tags [KEY=VALUE ..]",
    "meta": "meta TEXT",
    "keys": "keys KEY [KEY ..]",
    "send": "send MEMBER TEXT",
    "broadcast": "broadcast NAME TEXT",
    "leave": "leave",
    "kill-node": "kill-node",
}


class Commands:
    """Carries out commands on the nodes of the process; what goes wrong becomes an `error` line.

    The nursery is for what takes time: the next command does not wait for it.
    """

    def __init__(
        self,
        nodes: Sequence[RunningNode],
        report: Callable[[RunningNode, dict[str, Any]], None],
        nursery: trio.Nursery,
    ) -> None:
        self.nodes = nodes
        self.report = report
        self.nursery = nursery
        self._post = Post(nursery, self._error)

    def obey(self, line: str) -> None:
        """One line of input."""
        nodes, text = list(self.nodes), line.strip()
        if text.startswith("@"):
            name, _, text = text[1:].partition(" ")
            nodes = [node for node in nodes if node.name == name]
            if not nodes:
                self._error(self.nodes[0], f"there is no node {name!r} here")
                return
        verb, _, rest = text.strip().partition(" ")
        if not verb:
            return
        if verb not in USAGE:
            self._error(nodes[0], f"there is no command {verb!r}; there are: {', '.join(USAGE)}")
            return
        for node in nodes:
            try:
                self._on(node, verb, rest.strip())
            except (SwimError, ValueError) as error:
                self._error(node, f"{verb}: {error}")

    def _error(self, node: RunningNode, message: str) -> None:
        self.report(node, {"event": "error", "message": " ".join(message.split())})

    def _on(self, node: RunningNode, verb: str, rest: str) -> None:
        if verb == "leave":
            node.scope.cancel()
            return
        cluster = node.cluster
        if verb == "kill-node":
            if cluster is not None:
                cluster.abort()
            node.scope.cancel()
            return
        if cluster is None:
            raise ValueError("this node is not a member (yet, or any more)")
        match verb:
            case "tags":
                cluster.set_tags(parse_tags(rest.split()))
            case "meta":
                cluster.set_tags({**shown_tags(cluster.me.tags), "meta": rest})
            case "keys":
                if not rest:
                    raise ValueError(f"no key given; the form is: {USAGE[verb]}")
                cluster.set_keys(parse_keys(rest.split()))
            case "join":
                addresses = parse_addresses([rest])
                if not addresses:
                    raise ValueError(f"no address given; the form is: {USAGE[verb]}")
                self.nursery.start_soon(self._join, node, cluster, addresses)
            case "send" | "broadcast":
                name, _, text = rest.partition(" ")
                if not name:
                    raise ValueError(f"no name given; the form is: {USAGE[verb]}")
                payload = text.encode(errors="surrogateescape")
                if verb == "send":
                    self._post.send(node, cluster, name, payload)
                else:
                    cluster.broadcast(name, payload)

    async def _join(self, node: RunningNode, cluster: Cluster, addresses: list[str]) -> None:
        try:
            with trio.fail_after(_JOIN_PATIENCE):
                await cluster.join(addresses)
        except trio.TooSlowError:
            self._error(node, f"join: no answer from {', '.join(addresses)} in {_JOIN_PATIENCE:.0f} s")
        except (SwimError, OSError, ValueError, trio.ClosedResourceError) as error:
            self._error(node, f"join: {error}")
