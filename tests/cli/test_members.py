"""`swim members`: a look from outside."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable

import pytest
from rich.console import Console

from swim.cli.looking import Seen, look, make_codec
from swim.cli.members import table_of
from tests.cli.agents import Agent, swim, terminate
from tests.cluster.together import cluster_of, everybody, led_by, open_node

Start = Callable[..., Agent]
KEY = "00" * 32


def test_the_members_as_a_node_sees_them_and_nobody_joins(start: Start) -> None:
    first = start("a", "--tag", "role=db")
    second = start("b", join=first.address)
    first.wait("join", member="b")
    second.wait("join", member="a")
    done = swim("members", second.address, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found == [
        {
            "name": agent.name,
            "address": agent.address,
            "state": "alive",
            "id": agent.wait("started")["id"],
            "tags": {"role": "db"} if agent is first else {},
            "leader": agent is first,
        }
        for agent in (first, second)
    ]
    table = swim("members", first.address).stdout
    rows = {row.split()[0]: row for row in table.splitlines() if row.strip()}
    assert "leader" in rows["a"]
    assert "role=db" in rows["a"]
    assert "leader" not in rows["b"]
    assert len(first.all("join")) == 1
    assert not first.all("error")


def test_with_voters_the_holder_of_the_lease_leads(start: Start) -> None:
    options = ("--voters", "b", "--set", "lease=0.5")
    first = start("a", *options)
    second = start("b", *options, join=first.address)

    def leaders() -> list[str]:
        done = swim("members", second.address, "--json")
        return [line["name"] for line in map(json.loads, done.stdout.splitlines()) if line["leader"]]

    first.wait("join", member="b")
    first.wait("leader", leader="a")
    second.wait("leader", leader="a")
    assert leaders() == ["a"]
    third = start("c", "--voters", "x,y", join=second.address)
    third.wait("error")  # it was started with other voters, and goes by those of the cluster
    assert terminate(first) == 0
    second.wait("leader", leader="b")
    assert leaders() == ["b"]
    third.close()


async def test_a_pinned_id_leads_below_the_floor() -> None:
    async with cluster_of("a", "b") as nodes:
        await everybody(nodes, led_by("a"))  # which is their floor from now on
        async with open_node("c", *nodes, id="0") as pinned:
            await everybody([*nodes, pinned], led_by("c"))
            for host, port in (nodes[1].address, pinned.address):
                seen = await look(host, port, make_codec(None, ""))
                leads = [(member.name, member.leader) for member in seen]
                assert leads == [("c", True), ("a", False), ("b", False)]


def test_with_key_and_label(start: Start) -> None:
    agent = start("a", "--key", KEY, "--label", "blue")
    address = agent.address
    done = swim("members", address, "--json", "--key", KEY, "--label", "blue")
    assert json.loads(done.stdout)["name"] == "a"
    for options in ([], ["--key", KEY], ["--label", "blue"], ["--key", "11" * 32, "--label", "blue"]):
        wrong = swim("members", address, *options)
        assert wrong.returncode == 1
        assert wrong.stdout == ""
        assert wrong.stderr.count("\n") == 1


def test_a_host_without_a_port_is_at_the_default_port() -> None:
    done = swim("members", "127.64.3.2")
    assert done.returncode == 1
    assert done.stderr.startswith("swim: 127.64.3.2: cannot connect: ")


def test_at_80_columns_a_row_is_a_line_without_the_id() -> None:
    tags = {"role": "db", "zone": "eu"}
    seen = [Seen("db-1.internal", "10.0.12.117:7946", "alive", "0" * 26, tags, leader=True)]
    narrow_file, wide_file = io.StringIO(), io.StringIO()
    console = Console(file=narrow_file, width=80)
    console.print(table_of(seen, 80))
    assert "db-1.internal  10.0.12.117:7946  alive  leader  role=db zone=eu" in narrow_file.getvalue()
    wide = Console(file=wide_file, width=200)
    wide.print(table_of(seen, None))
    assert f"leader  {'0' * 26}  role=db" in wide_file.getvalue()


def test_nobody_there() -> None:
    done = swim("members", "127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr == "swim: 127.0.0.1:1: cannot connect: Connection refused; is a node running there?\n"


@pytest.mark.parametrize("answer", [b"220 mail.example ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_another_server_there(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        done = swim("members", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert done.returncode == 1
    assert f"begins with {answer[:16]!r}: is a node there, or another server?" in done.stderr
    assert done.stderr.count("\n") == 1
