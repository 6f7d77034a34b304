"""`swim demo`: it shows what it promises, and leaves nothing behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.cli.agents import PATIENCE, alive, children_of, environment, swim


def start_demo() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "swim", "demo"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pids)


def test_a_leader_is_lost_and_comes_back() -> None:
    with start_demo() as demo:
        children: set[int] = set()
        deadline = time.monotonic() + 90
        while demo.poll() is None and time.monotonic() < deadline:
            children.update(children_of(demo.pid))
            time.sleep(0.05)
        demo.kill()
        output, errors = demo.communicate()
    assert demo.returncode == 0, output + errors
    assert errors == ""
    assert len(children) >= 6  # five, and the old leader once more
    assert gone(sorted(children))
    assert "SIGKILL for the leader, node-1." in output
    assert "all 4 others noticed within" in output
    assert "node-1 is back, as a regular member at the back of the queue" in output
    assert "NO " not in output
    assert "\x1b" not in output
    # The second table: the old leader is its last row, and another row is marked.
    rows = [row for row in map(str.split, output.splitlines()) if row[1:] and row[1].startswith("node-")]
    rows = [row for row in rows if row[0].isdigit()]
    first, second = rows[:5], rows[5:10]
    assert [row[1] for row in first if "leader" in row] == ["node-1"]
    assert first[0][1] == "node-1"
    assert second[-1][1] == "node-1"
    assert [row[1] for row in second if "leader" in row] == [second[0][1]]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_leaves_no_process_behind(how: signal.Signals) -> None:
    with start_demo() as demo:
        deadline = time.monotonic() + PATIENCE
        while len(children_of(demo.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        children = children_of(demo.pid)
        demo.send_signal(how)
        output, errors = demo.communicate(timeout=PATIENCE)
    assert len(children) >= 3
    assert gone(children)  # after SIGKILL by themselves: their standard input has ended
    if how is not signal.SIGKILL:
        assert demo.returncode == 130
        assert "Interrupted" in output
        assert errors == ""


def test_what_was_not_observed_is_said_and_is_status_1() -> None:
    # On the one port of the first node another program listens: that node cannot start.
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = swim("demo", "--port-base", str(server.getsockname()[1]), "--nodes", "3")
    assert done.returncode == 1
    assert "NO   the first process becomes a member (node-1 ended by itself)" in done.stdout
