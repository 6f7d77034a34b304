"""The six figures of README.md, from the records: each in a sentence, with the command that measures it."""

from __future__ import annotations

import json
import re
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import record, show

__all__ = ["DETECTOR", "detected", "section"]

_WIDTH = 80

DETECTOR = {
    "A": ("one crashes, its process or its host", "healthy dead"),
    "B": ("many crash at once; all but one do", "healthy dead"),
    "C": ("some stand still, or are deaf or mute, again and again", "in healthy views"),
    "D": ("bad links of a few", "in healthy views"),
    "E": ("up to 30 % of all packets lost, in bursts too", "false deaths"),
    "partitions": ("a partition of a second to an hour, then its heal", "lost"),
}
"""Scenarios of the detector's benchmark, and the figure that counts the members wrongly given up."""


def section() -> str:
    """All six, as a Markdown list."""
    results = {
        name: _results(name) for name in ("convergence", "leadership", "faults", "overhead", "messages")
    }
    figures = [
        _killed(results["convergence"]),
        _next_leader(results["leadership"]),
        _acts_on(results["leadership"]),
        _faults(results["faults"], sum(trials for _, _, trials, _ in detected())),
        _idle(results["overhead"]),
        _messages(results["messages"]),
    ]
    return "\n".join(_item(sentence, command) for sentence, command in figures)


def detected() -> Iterator[tuple[str, list[int], int, float]]:
    """Of each scenario of the detector: title, sizes, trials, and how many members were wrongly given up."""
    found = [
        one
        for path in sorted((record.RESULTS / "detector").glob("*.json"))
        for one in json.loads(path.read_text(encoding="utf-8"))["results"]
    ]
    for scenario, (title, figure) in DETECTOR.items():
        cells = [one for one in found if one["scenario"] == scenario]
        if cells:
            sizes = sorted({one["options"]["nodes"] for one in cells})
            wrong = sum(one["figures"][figure]["sum"] for one in cells)
            yield title, sizes, sum(one["trials"] for one in cells), wrong


def _results(name: str) -> Any:
    return json.loads((record.RESULTS / f"{name}.json").read_text(encoding="utf-8"))["results"]


def _item(sentence: str, command: str) -> str:
    whole = re.sub(r"(\d) (s|ms|MiB)\b", "\\1\N{NO-BREAK SPACE}\\2", f"- {sentence}")
    wrapped = textwrap.fill(
        whole, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    ).replace("\N{NO-BREAK SPACE}", " ")
    return f"{wrapped}\n  `python -m benchmarks.{command}`"


def _median(values: Sequence[float]) -> str:
    return show.seconds(statistics.median(values))


def _killed(results: list[dict[str, Any]]) -> tuple[str, str]:
    size = max(one["nodes"] for one in results)
    ours, theirs = (
        _median(
            [
                one["all"]
                for one in results
                if (one["peer"], one["nodes"], one["scenario"]) == (peer, size, "SIGKILL") and one["all"]
            ]
        )
        for peer in ("swim", "memberlist")
    )
    return (
        f"**SIGKILL for one of {size} nodes, until all others know**: {ours} s; memberlist {theirs} s.",
        f"convergence --nodes {size}",
    )


def _next_leader(results: dict[str, list[dict[str, Any]]]) -> tuple[str, str]:
    times = {
        mode: _median([run["to_the_next"] for run in runs])
        for what, runs in results.items()
        for scenario, _, mode in [what.partition(", ")]
        if scenario == "kill" and all(run.get("to_the_next") is not None for run in runs)
    }
    others = ", ".join(
        f"{name} {times[mode]} s"
        for name, mode in (("etcd", "etcd, TTL 5 s"), ("ZooKeeper", "zookeeper, default session, 10 s"))
        if mode in times
    )
    return (
        f"**SIGKILL for the leader, until another one leads**: {times['derived']} s; with voters "
        f"{times['voters']} s; {others}, each with its defaults.",
        "leadership --only kill",
    )


def _acts_on(results: dict[str, list[dict[str, Any]]]) -> tuple[str, str]:
    late = {
        what.partition(", ")[2]: sum(run.get("ticks_after_waking", 0) for run in runs)
        for what, runs in results.items()
        if what.startswith("pause, ")
    }
    ours = late["derived"] + late["voters"]
    etcd = sum(count for mode, count in late.items() if mode == "etcd, TTL 5 s")
    zookeeper = sum(count for mode, count in late.items() if mode == "zookeeper, default session, 10 s")
    return (
        f"**Acts of a leader that stood still for 20 s, after it woke and another one led**: {ours}; "
        f"etcd {etcd}, ZooKeeper with kazoo {zookeeper}.",
        "leadership --only pause",
    )


def _faults(results: list[dict[str, Any]], trials: int) -> tuple[str, str]:
    done = [one for one in results if "failed" not in one]
    wrong, runs = (
        {peer: number(own) for peer in ("swim", "memberlist") for own in [_of(done, peer)]}
        for number in (lambda own: sum(one["wrong"] for one in own), len)
    )
    found = sum(wrongly for _, _, _, wrongly in detected())
    return (
        f"**Members wrongly given up under real firewalls, loss, pauses and cuts**: {wrong['swim']} in "
        f"{runs['swim']} runs; memberlist {wrong['memberlist']} in {runs['memberlist']}. In {trials:,} "
        f"simulated trials of the detector: {found:.0f} (`benchmarks.detector`).",
        "faults",
    )


def _of(results: list[dict[str, Any]], peer: str) -> list[dict[str, Any]]:
    return [one for one in results if one["peer"] == peer]


def _idle(results: list[dict[str, Any]]) -> tuple[str, str]:
    size = sorted({one["nodes"] for one in results})[-1]
    ours, theirs = (
        next(one for one in results if one["peer"] == peer and one["nodes"] == size)
        for peer in ("swim", "memberlist")
    )
    return (
        f"**An idle node of {size}, per second**: {ours['packets']:.2f} packets, {ours['udp_bytes']:.0f} "
        f"bytes, {ours['cpu_ms']:.2f} ms of CPU, in a process of {ours['rss_kib'] / 1024:.0f} MiB; "
        f"memberlist {theirs['packets']:.2f}, {theirs['udp_bytes']:.0f}, {theirs['cpu_ms']:.2f}, "
        f"{theirs['rss_kib'] / 1024:.0f} MiB.",
        f"overhead --nodes {size}",
    )


def _messages(results: dict[str, Any]) -> tuple[str, str]:
    direct, broadcast = results["direct"], results["broadcast"]
    return (
        f"**Messages of 100 bytes from one node to another**: {direct['per_second']:,} a second. A broadcast "
        f"reaches the last of {broadcast['nodes']} nodes after "
        f"{_median(broadcast['seconds_until_the_last'])} s.",
        "messages",
    )
