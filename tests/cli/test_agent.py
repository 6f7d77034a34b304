"""`swim agent --json` as a black box: real processes, real sockets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from benchmarks.ports import Ports
from swim.cli.verbs import VERBS
from tests.cli.agents import PATIENCE, Agent, environment, swim, terminate

Start = Callable[..., Agent]
KEY = "00" * 32
OTHER_KEY = "11" * 32


def three(start: Start, *options: str) -> list[Agent]:
    """Three agents that see each other and joined in this order, so that the first leads."""
    first = start("a", *options)
    second = start("b", *options, join=first.address)
    third = start("c", *options, join=second.address)
    found = [first, second, third]
    for agent in found:
        for other in found:
            if other is not agent:
                agent.wait("join", member=other.name)
        agent.wait("leader", leader="a", is_me=agent is first)
    return found


def test_three_nodes_tell_of_each_other_and_leave(start: Start) -> None:
    first = start("a", "--tag", "role=db")
    bound, started = first.wait("bound"), first.wait("started")
    assert bound["address"] == started["address"]
    assert len(started["id"]) == 26
    assert bound["node"] == "a"
    assert abs(time.monotonic() - started["t"]) < PATIENCE

    second = start("b", join=first.address)
    third = start("c", join=f"{second.address},{first.address}")
    joined = third.wait("join", member="a")
    assert joined["id"] == started["id"]
    assert joined["address"] == first.address
    assert joined["tags"] == {"role": "db"}
    third.wait("join", member="b")
    first.wait("join", member="c")
    second.wait("join", member="c")
    assert first.wait("leader", leader="a")["is_me"] is True
    assert third.wait("leader", leader="a")["is_me"] is False
    assert not first.all("join", member="a")

    assert terminate(first) == 0
    for agent in (second, third):
        agent.wait("leave", member="a")
        agent.wait("leader", leader="b", is_me=agent is second)
        assert not agent.all("dead")
    third.end_input()
    assert third.ended() == 0
    second.wait("leave", member="c")
    second.process.send_signal(signal.SIGINT)
    assert second.ended() == 0
    assert [agent.errors for agent in (first, second, third)] == [b""] * 3


def test_a_node_tells_why_it_leads_before_it_says_that_it_does(start: Start) -> None:
    first = start("a")
    second = start("b", join=first.address)
    first.wait("join", member="b")
    second.wait("leader", leader="a")
    first.process.kill()
    second.wait("leading", on=True)
    told = [line["event"] for line in second.lines if line["event"] in ("dead", "leader", "leading")]
    assert told == ["leader", "dead", "leader", "leading"]


def test_it_says_when_it_leads_and_ticks_meanwhile(start: Start) -> None:
    first, second, third = three(start, "--ticks")
    begun = first.wait("leading", on=True)
    assert begun["token"] == first.wait("tick")["token"]
    assert terminate(first) == 0
    ended = first.wait("leading", on=False)
    assert ended["token"] == begun["token"]
    taken_over = second.wait("leading", on=True)
    assert taken_over["token"] > begun["token"]
    assert taken_over["t"] > ended["t"]
    second.wait("tick")
    ticks = [line["t"] for line in first.all("tick")]
    assert begun["t"] < ticks[0]
    assert ticks[-1] < ended["t"]
    # Every 20 ms, or less often on a busy machine.
    assert len(ticks) <= 1 + (ended["t"] - begun["t"]) / 0.02
    assert not third.all("leading")
    assert not third.all("tick")


def test_without_ticks_there_are_none(start: Start) -> None:
    first = start("a")
    first.wait("leading", on=True)
    first.wait("stats")
    assert not first.all("tick")


def test_a_killed_leader_is_replaced_and_comes_back_at_the_back_of_the_queue(start: Start) -> None:
    first, second, third = three(start)
    address, old_id = first.address, first.wait("started")["id"]
    first.process.kill()
    for agent in (second, third):
        assert agent.wait("dead", member="a")["reason"] in ("silence", "process-gone", "quality", "told")
        agent.wait("leader", leader="b")
    again = start("a", bind=address, join=second.address)
    new_id = again.wait("started")["id"]
    assert new_id > max(old_id, second.wait("started")["id"], third.wait("started")["id"])
    again.wait("leader", leader="b", is_me=False)
    for agent in (second, third):
        agent.wait("join", member="a", id=new_id)
        assert agent.all("leader")[-1]["leader"] == "b"


def test_commands(start: Start) -> None:
    first, second, _ = three(start)
    first.tell("tags role=db zone=1")
    second.wait("update", member="a", tags={"role": "db", "zone": "1"})
    first.tell("meta hello there")
    second.wait("update", member="a", tags={"role": "db", "zone": "1", "meta": "hello there"})
    first.tell("tags")
    second.wait("update", member="a", tags={})

    for command, complaint in {
        "frobnicate": "there is no command 'frobnicate'",
        "tags role": "'role' is not KEY=VALUE",
        "tags _id=7": "swim's own",
        f"tags big={'x' * 600}": "tags: ",
        "join": "no address given",
        "join no:where": "'no:where' is not an address",
        "join 127.0.0.1:1": "join: ",
        "keys": "no key given",
        "keys secret": "keys: ",
        "send": "no name given; the form is: send MEMBER TEXT",
        "send ghost hello": "send: 'ghost' is no member",
        f"broadcast news {'x' * 600}": "at most 512 bytes together, not 604",
        "@nobody leave": "there is no node 'nobody' here",
    }.items():
        before = len(first.lines)
        first.tell(command)
        assert complaint in first.wait("error", after=before)["message"]
    first.tell("")
    first.tell("leave")
    assert first.ended() == 0
    second.wait("leave", member="a")


def test_messages(start: Start) -> None:
    first, second, third = three(start)
    for number in range(20):
        first.tell(f"send b  number {number}")
    for number in range(20):
        line = second.wait("message", payload=f" number {number}")
        assert (line["sender"], line["kind"], line["name"]) == ("a", "direct", None)
    payloads = [line["payload"] for line in second.lines if line["event"] == "message"]
    assert payloads == [f" number {number}" for number in range(20)]
    first.tell("broadcast news of the day")
    for agent in (first, second, third):
        line = agent.wait("message", kind="broadcast")
        assert (line["sender"], line["name"], line["payload"]) == ("a", "news", "of the day")


def test_names_are_held_owned_and_released(start: Start) -> None:
    first, second, _ = three(start)
    first.tell("hold invoice/42")
    assert first.wait("answer", to="hold", name="invoice/42", held=True)["token"]
    second.tell("owner invoice/42")
    assert second.wait("answer", to="owner", name="invoice/42")["member"] == "a"
    second.tell("hold invoice/42")
    first.tell("release invoice/42")
    first.wait("answer", to="hold", held=False)
    second.wait("answer", to="hold", name="invoice/42", held=True)
    second.tell("own shard/1 shard/2")
    for name in ("shard/1", "shard/2"):
        second.wait("answer", to="own", name=name, owned=True)
    first.tell("owner")  # of the leader
    owners = {"invoice/42": ["b"], "shard/1": ["b"], "shard/2": ["b"]}
    assert first.wait("answer", to="owner", owners=owners)["text"].splitlines()[1] == "shard/1: b"
    second.tell("owner")
    assert "only the leader knows of all names: a " in second.wait("error")["message"]
    second.tell("release shard/1")
    second.wait("answer", to="own", name="shard/1", owned=False)
    first.tell("hold gpu two")
    assert "the form is: hold NAME [LIMIT]" in first.wait("error")["message"]
    before = len(first.lines)
    first.tell("release nothing")
    assert "not held" in first.wait("error", after=before)["message"]


def test_two_clusters_become_one(start: Start) -> None:
    first, second = start("a"), start("b")
    first.wait("leader", leader="a")
    second.wait("leader", leader="b")
    second.tell(f"join {first.address}")
    first.wait("join", member="b")
    second.wait("join", member="a")


def test_several_nodes_in_one_process(start: Start) -> None:
    many = start("n", "--count", "3")
    addresses = {name: many.wait("started", node=name)["address"] for name in ("n-0", "n-1", "n-2")}
    assert len(set(addresses.values())) == 3
    many.tell(f"@n-0 join {addresses['n-0']}")
    assert many.wait("error", node="n-0")["message"].startswith("join: "), "to itself"
    for node in addresses:
        for other in addresses:
            if other != node:
                many.wait("join", node=node, member=other)
    many.tell("@n-1 tags role=db")
    many.wait("update", node="n-0", member="n-1", tags={"role": "db"})
    many.wait("update", node="n-2", member="n-1", tags={"role": "db"})
    stats = many.wait("stats", after=len(many.lines))
    assert (stats["node"], stats["count"], stats["members"]) == ("n-0", 3, 3)

    before = len(many.lines)
    many.tell("@n-1 leave")
    many.wait("leave", node="n-0", member="n-1")
    many.tell("@n-2 kill-node")
    many.wait("dead", after=before, node="n-0", member="n-2")
    assert not many.all("leave", member="n-2")
    fewer = many.wait("stats", after=len(many.lines), count=1, members=1)
    assert fewer["tx_packets"] >= stats["tx_packets"]
    many.tell("@n-2 tags")
    many.wait("error", node="n-2")
    assert terminate(many) == 0


def test_consecutive_ports(start: Start) -> None:
    with closing(Ports()) as ports:
        port = ports.take(2)
        seed = f"127.0.0.1:{port}"
        many = start("n", "--count", "2", bind=seed, join=seed)
        assert many.wait("started", node="n-0")["address"] == seed
        assert many.wait("started", node="n-1")["address"] == f"127.0.0.1:{port + 1}"
        many.wait("join", node="n-0", member="n-1")


def test_statistics_once_a_second(start: Start) -> None:
    agent = start("a")
    agent.wait("stats")
    stats = agent.wait("stats", after=len(agent.lines))
    assert set(stats) == {
        *("t", "node", "event", "count", "members", "cpu_s", "rss_kib", "tx_packets", "tx_bytes"),
        *("rx_packets", "rx_bytes", "stream_tx_bytes", "stream_rx_bytes", "streams", "stream_only"),
        *("stalled", "dropped"),
    }
    assert (stats["count"], stats["members"]) == (1, 1)
    assert stats["cpu_s"] > 0
    assert stats["rss_kib"] > 1000
    assert isinstance(stats["dropped"], dict)


def test_keys_are_rotated_on_a_running_cluster(start: Start) -> None:
    found = three(start, "--key", KEY)
    for keys in (f"{KEY} {OTHER_KEY}", f"{OTHER_KEY} {KEY}", OTHER_KEY):
        for agent in found:
            agent.tell(f"keys {keys}")
    found[2].tell("meta rotated")
    for agent in found[:2]:
        agent.wait("update", member="c", tags={"meta": "rotated"})
        assert not agent.all("dead")
        assert not agent.all("error")
    newcomer = start("d", "--key", OTHER_KEY, join=found[0].address)
    newcomer.wait("leader", leader="a")


def test_a_node_that_still_looks_for_its_seeds_can_be_told_to_go(start: Start) -> None:
    for stop in ("signal", "leave", "kill-node", "eof"):
        agent = start("a", join="127.0.0.1:1")
        agent.wait("bound")
        assert "no way in by 127.0.0.1:1 yet" in agent.wait("warning", node="a")["message"]
        agent.tell("tags role=db")
        agent.wait("error")
        if stop == "signal":
            agent.process.send_signal(signal.SIGTERM)
        elif stop == "eof":
            agent.end_input()
        else:
            agent.tell(stop)
        assert agent.ended() == 0
        assert not agent.all("started")
        assert agent.errors == b""


def test_the_help_names_every_command_of_a_running_agent() -> None:
    text = swim("--help").stdout
    assert [verb for verb in VERBS if f"  {verb} " not in text] == []


# --- what goes wrong at the start


def test_an_address_in_use_is_status_1_and_one_line(start: Start) -> None:
    agent = start("a")
    done = swim("agent", "--json", "--name", "b", "--bind", agent.address)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert agent.address in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_is_taken_is_status_1_and_one_line(start: Start) -> None:
    agent = start("a")
    second = start("a", join=agent.address)
    assert second.ended() == 1
    assert second.errors.count(b"\n") == 1
    assert b"'a'" in second.errors or b" a " in second.errors
    assert not second.all("started")
    assert not agent.all("dead")


def test_one_bad_node_of_several_ends_the_process(start: Start) -> None:
    agent = start("n-1")
    many = start("n", "--count", "3", join=agent.address)
    assert many.ended() == 1
    assert many.errors.count(b"\n") == 1
    assert b"Traceback" not in many.errors


def test_tags_too_large_are_bad_options() -> None:
    done = swim("agent", "--json", "--bind", "127.0.0.1:0", "--tag", f"big={'x' * 600}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_seed_that_does_not_resolve_is_status_1(start: Start) -> None:
    agent = start("a", join="no-such-host.invalid:7946")
    assert agent.ended() == 1
    assert b"no-such-host.invalid" in agent.errors
    assert agent.errors.count(b"\n") == 1


# --- standard input and output


@pytest.mark.parametrize("ignored", [False, True], ids=["a terminal that closes", "nohup"])
def test_the_end_of_its_terminal_is_a_leave_unless_it_is_to_outlive_it(start: Start, ignored: bool) -> None:
    agent = start("a", through=["nohup"] if ignored else [])
    agent.wait("started")
    agent.process.send_signal(signal.SIGHUP)
    if ignored:
        agent.tell("tags x=1")
        agent.wait("update", tags={"x": "1"})
        agent.end_input()
    assert agent.ended() == 0


def test_without_json_standard_input_is_not_read() -> None:
    command = [sys.executable, "-m", "swim", "agent", "--name", "solo", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            lines = [process.stdout.readline() for _ in range(4)]
            assert "listening on 127.0.0.1:" in lines[0]
            assert "solo is a member" in lines[1]
            assert "* solo leads, this node" in lines[2]
            assert "* this node acts as leader, token 01" in lines[3]
            time.sleep(0.5)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
            assert process.stdout.read().endswith("  - solo has left the cluster\n")
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_an_end_of_input_at_once_is_a_leave() -> None:
    done = swim("agent", "--json", "--name", "a", "--bind", "127.0.0.1:0")
    assert done.returncode == 0
    assert done.stderr == ""


def closed(descriptors: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that was started with some of its standard files closed, as a shell writes it."""
    line = f'exec "$@" {descriptors}'
    return subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, "-m", "swim", *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("arguments", [("agent", "--json", "--bind", "127.0.0.1:0"), ("keygen",)])
def test_a_standard_output_that_is_closed_is_status_2_and_one_line(arguments: tuple[str, ...]) -> None:
    done = closed(">&-", *arguments)
    assert done.returncode == 2
    assert done.stderr == "swim: standard output is closed; if nobody is to read it, use >/dev/null\n"


@pytest.mark.parametrize("descriptors", ["<&-", "2>&-", "<&- 2>&-"])
def test_no_socket_takes_the_place_of_a_standard_file_that_is_closed(descriptors: str) -> None:
    done = closed(descriptors, "agent", "--json", "--name", "a", "--bind", "127.0.0.1:0")
    assert done.returncode == 0
    assert '"event":"bound"' in done.stdout


def test_a_reader_that_stops_reading_does_not_stall_the_node(start: Start) -> None:
    # `deaf` gets a standard output that nobody reads, and much to say: tags that change all the time.
    seed = start("a")
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "swim", "agent", "--json", "--profile", "local", "--name", "deaf"]
    deaf = subprocess.Popen(
        [*command, "--bind", "127.0.0.1:0", "--join", seed.address],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=writer,
    )
    os.close(writer)
    assert deaf.stdin is not None
    try:
        seed.wait("join", member="deaf")
        deaf.stdin.write(b"frobnicate\n" * 10_000)  # each an error line: more than pipe and queue can hold
        deaf.stdin.write(b"meta still-here\n")
        deaf.stdin.flush()
        seed.wait("update", member="deaf", tags={"meta": "still-here"})
        time.sleep(3)
        assert not seed.all("dead")
        deaf.stdin.close()
        assert deaf.wait(PATIENCE) == 0
        seed.wait("leave", member="deaf")
    finally:
        deaf.kill()
        deaf.wait()
        os.close(reader)
