"""What a running agent is told through its local socket, and the scripts that it runs."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from swim.cli import serving
from swim.cli.commands import ACTS, Call, Commands
from swim.cli.root import cli
from swim.cli.running import RunningNode
from swim.cli.scripts import environment_of, parse_rules
from swim.cli.serving import serve_commands
from swim.cli.sockets import default_path, open_socket, remove_socket
from swim.cli.verbs import VERBS
from tests.cli.agents import PATIENCE, Agent, environment, swim, terminate
from tests.house import ROOT

Start = Callable[..., Agent]


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of our own for sockets."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("SWIM_AGENT", raising=False)
    return tmp_path


def told(*arguments: str) -> str:
    """What a command says that succeeds; run in this process, which takes less time."""
    done = CliRunner().invoke(cli, arguments, prog_name="swim")
    assert (done.exit_code, done.stderr) == (0, ""), done
    return done.stdout


def test_every_command_is_done_and_explained() -> None:
    assert list(ACTS) == list(VERBS)
    page = (ROOT / "swim/cli/README.md").read_text(encoding="utf-8")
    for verb, known in VERBS.items():
        assert f"| `{f'{verb} {known.form}'.strip()}` | {known.about} |" in page.replace(r"\|", "|")


# --- a running agent


def test_a_running_agent_is_told_what_to_do(start: Start, runtime: Path) -> None:
    path = runtime / "a.sock"
    first = start("a", "--socket", str(path))
    second = start("b", "--socket", str(runtime / "b.sock"), join=first.address)
    first.wait("join", member="b")
    second.wait("join", member="a")
    mode = path.stat().st_mode
    assert (stat.S_ISSOCK(mode), mode & 0o777) == (True, 0o600)

    at = ("--agent", str(path))
    assert told("tags", "role=db", "note=two words", *at) == ""
    second.wait("update", member="a", tags={"role": "db", "note": "two words"})
    told("send", "b", "good", "day", *at)
    second.wait("message", sender="a", kind="direct", payload="good day")
    told("broadcast", "news", "line one\nline two", *at)
    second.wait("message", kind="broadcast", name="news", payload="line one\nline two")
    assert told("voters", *at) == "there are no voters\n"
    known = dict(line.split(maxsplit=1) for line in told("explain", "b", *at).splitlines())
    assert known["state"] == "alive"
    assert json.loads(told("explain", "b", "--json", *at))["observers"] == ["a"]
    for command, said in {
        ("explain", "ghost"): "'ghost' is no member",
        ("send", "ghost", "hello"): "'ghost' is no member",
        ("send", "b"): "no text given; the form is: send MEMBER TEXT",
        ("broadcast", "news"): "no text given; the form is: broadcast NAME TEXT",
        ("tags", "role"): "'role' is not KEY=VALUE",
        ("tags", "--node", "x"): "there is no node 'x' here",
    }.items():
        done = swim(*command, *at)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert told("leave", *at) == ""
    assert first.ended() == 0
    second.wait("leave", member="a")
    assert not path.exists(), "who leaves takes the socket along"


def test_of_several_agents_one_has_to_be_named(start: Start, runtime: Path) -> None:
    nobody = swim("tags", "role=db")
    assert nobody.returncode == 1
    assert nobody.stderr.startswith("swim: no agent of this user runs here")
    default_path("a").parent.mkdir(mode=0o700)
    first = start("a", "--socket", str(default_path("a")))
    first.wait("started")
    told("tags", "role=only")
    first.wait("update", tags={"role": "only"})
    second = start("b", "--socket", str(default_path("b")))
    second.wait("started")
    unclear = swim("tags", "role=db")
    assert unclear.returncode == 1
    assert "several agents run here: a, b; say which: --agent a" in unclear.stderr
    unknown = swim("tags", "role=db", "--agent", "c")
    assert unknown.stderr == "swim: no agent 'c' of this user runs here, only: a, b\n"
    told("tags", "role=named", "--agent", "b")
    second.wait("update", tags={"role": "named"})


def test_a_socket_is_there_without_json_and_under_the_name_of_the_agent(runtime: Path) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-m", "swim", "agent", "--name", "a/b", "--bind", "127.0.0.1:0", "--plain"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert agent.stdout is not None
        assert any("a/b is a member" in line for line in agent.stdout)
        second = swim("agent", "--name", "a/b", "--bind", "127.0.0.1:0", "--plain")
        assert second.returncode == 1
        assert second.stderr.startswith("swim: agent: an agent named 'a/b' runs here already: choose another")
        assert "--name" in second.stderr
        assert "--socket" in second.stderr
        told("leave", "--agent", "a/b")
        assert agent.wait(PATIENCE) == 0
    finally:
        agent.kill()
        agent.wait()
        agent.stdout.close()


def test_several_nodes_are_told_together_or_one_by_one(start: Start, runtime: Path) -> None:
    path = str(runtime / "n.sock")
    many = start("n", "--count", "2", "--socket", path)
    many.wait("join", node="n-0", member="n-1")
    many.wait("join", node="n-1", member="n-0")
    told("tags", "role=both", "--agent", path)
    told("tags", "role=one", "--agent", path, "--node", "n-1")
    many.wait("update", node="n-0", member="n-0", tags={"role": "both"})
    many.wait("update", node="n-0", member="n-1", tags={"role": "one"})
    answers = [json.loads(line) for line in told("voters", "--agent", path, "--json").splitlines()]
    assert [answer["node"] for answer in answers] == ["n-0", "n-1"]


def test_a_bad_request_gets_an_error_and_harms_nothing(start: Start, runtime: Path) -> None:
    path = runtime / "a.sock"
    agent = start("a", "--socket", str(path))
    agent.wait("started")
    for line, said in {
        b"hello\n": "Expecting value",
        b"[]\n": "a request is",
        b'{"command": [7]}\n': "a request is",
        b'{"command": ["frobnicate"]}\n': "there is no command 'frobnicate'",
        b"[" * 100_000 + b"\n": "recursion",
    }.items():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(line)
            with client.makefile("rb") as answers:
                assert said in json.loads(answers.readline())["error"]
    told("tags", "--agent", str(path))
    assert terminate(agent) == 0


@pytest.mark.parametrize("way", ["socket", "stdin"])
async def test_a_defect_in_a_command_is_told_and_does_not_end_the_agent(
    way: str, runtime: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(call: Call) -> None:
        raise KeyError("a defect of ours")

    monkeypatch.setitem(ACTS, "tags", fails)
    said: list[dict[str, Any]] = []
    text = "tags: internal error: KeyError: 'a defect of ours'"
    async with trio.open_nursery() as nursery:
        commands = Commands([RunningNode("a", "")], lambda node, fields: said.append(fields), nursery)
        if way == "stdin":
            await commands.obey("tags")
            assert said == [{"event": "error", "message": text}]
        else:
            listener = open_socket(runtime / "a.sock")
            nursery.start_soon(serve_commands, listener, commands)
            for _ in range(2):  # the second time it listens still
                async with await trio.open_unix_socket(runtime / "a.sock") as client:
                    await client.send_all(b'{"command": ["tags"]}\n')
                    answers = b"".join([data async for data in client]).splitlines()
                assert [json.loads(line) for line in answers] == [{"node": "a", "error": text}, {"end": True}]
        nursery.cancel_scope.cancel()
    assert "the command 'tags' failed" in caplog.text


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[None]:
    """The socket of an agent that has no node."""
    async with trio.open_nursery() as nursery:
        commands = Commands([RunningNode("a", "")], lambda node, fields: None, nursery)
        nursery.start_soon(serve_commands, open_socket(path), commands)
        yield
        nursery.cancel_scope.cancel()


async def ask(path: Path, command: str) -> list[dict[str, Any]]:
    with trio.fail_after(PATIENCE):
        async with await trio.open_unix_socket(path) as client:
            await client.send_all(json.dumps({"command": [command]}).encode() + b"\n")
            return [json.loads(line) for line in b"".join([data async for data in client]).splitlines()]


@pytest.mark.parametrize("said", [b"", b'{"command": ["tags"'])
async def test_connections_on_which_no_command_comes_are_bounded_and_keep_nobody_out(
    said: bytes, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would take the file descriptors that the node needs, or the places of those that say something."""

    async def fine(call: Call) -> None:
        await call.answer({"fine": True})

    monkeypatch.setitem(ACTS, "tags", fine)
    monkeypatch.setattr(serving, "_PATIENCE", 3_600.0)
    path = runtime / "a.sock"
    async with served(path):
        silent = []
        for _ in range(400):
            silent.append(await trio.open_unix_socket(path))
            await silent[-1].send_all(said)
        assert await ask(path, "tags") == [{"node": "a", "fine": True}, {"end": True}]
        ended = 0
        for client in silent[:300]:
            with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
                assert json.loads(await client.receive_some()) == {"error": "no command came"}
                ended += 1
        assert ended > 250
        for client in silent:
            await client.aclose()


async def test_a_client_that_does_not_read_is_not_waited_for(
    runtime: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = trio.Event()

    async def much(call: Call) -> None:
        try:
            while True:
                await call.answer({"much": "x" * 100_000})
        finally:
            ended.set()

    monkeypatch.setitem(ACTS, "tags", much)
    path = runtime / "a.sock"
    async with served(path), await trio.open_unix_socket(path) as client:
        await client.send_all(b'{"command": ["tags"]}\n')
        with trio.fail_after(PATIENCE):
            await ended.wait()


def test_a_client_that_goes_in_the_middle_harms_nothing(start: Start, runtime: Path) -> None:
    path = runtime / "a.sock"
    agent = start("a", "--socket", str(path))
    agent.wait("started")
    for command in (["hold", "lock/1"], ["own", "shard/1", "shard/2", "shard/3"], ["hold", "lock/2"]):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(json.dumps({"command": command}).encode() + b"\n")
            with client.makefile("rb") as answers:
                granted = {json.loads(answers.readline())["name"] for _ in command[1:]}
            assert granted == set(command[1:])
    told("tags", "--agent", str(path))
    assert terminate(agent) == 0


def test_a_query_gathers_what_all_agents_answer(start: Start, runtime: Path) -> None:
    path = str(runtime / "a.sock")
    first = start("a", "--socket", path, "--on", 'query:load=echo "a: $SWIM_PAYLOAD for $SWIM_SENDER"')
    second = start("b", "--on", "query:load=echo oh no >&2; exit 1", join=first.address)
    third = start("c", join=first.address)
    for agent in (first, second, third):
        for other in {"a", "b", "c"} - {agent.name}:
            agent.wait("join", member=other)
    answers = [
        json.loads(line) for line in told("query", "load", "now", "--agent", path, "--json").splitlines()
    ]
    assert {answer["member"]: answer.get("reply", answer.get("problem")) for answer in answers} == {
        "a": "a: now for a\n",
        "b": "ScriptFailed: its script failed; the agent there says how",
        "c": "Unserved: the topic 'load' is not served there",
    }
    assert second.wait("error")["message"].endswith("ended with status 1: oh no")
    assert told("request", "a", "load", "now", "--agent", path) == "a: now for a\n"
    assert [terminate(agent) for agent in (first, second, third)] == [0, 0, 0]


# --- the socket


def test_what_a_dead_agent_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    listener = open_socket(path)
    with pytest.raises(OSError, match=r"another agent listens at .*--no-socket"):
        open_socket(path)
    remove_socket(listener, path)
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(OSError, match="is no socket"):
        open_socket(path)
    assert path.read_text() == "precious"
    with pytest.raises(OSError, match="more than 107 bytes"):
        open_socket(tmp_path / ("x" * 120))
    with pytest.raises(OSError, match="cannot listen at"):
        open_socket(tmp_path / "none" / "a.sock")


def test_a_directory_that_others_may_enter_is_not_used(runtime: Path) -> None:
    path = default_path("a")
    path.parent.mkdir(mode=0o700)
    path.parent.chmod(0o755)
    with pytest.raises(OSError, match="not a directory of this user alone"):
        open_socket(path)


def test_the_service_manager_is_told_when_the_agent_is_a_member_and_when_it_stops(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE)
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        agent = start("a", join="127.0.0.1:1")
        agent.wait("bound")
        other = start("b")
        assert manager.recv(1_000) == b"READY=1\nSTATUS=b: a member", "the other one still looks for its seed"
        assert terminate(other) == 0
        assert manager.recv(1_000) == b"STOPPING=1"


# --- scripts


def test_events_start_scripts(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    agent = start(
        "a",
        *("--on", f'join=echo "$SWIM_EVENT $SWIM_MEMBER $SWIM_TAGS" >> {log}; cat >> {log}'),
        *("--on", f"dead=echo dead >> {log}; echo no such >&2; exit 3"),
    )
    second = start("$(touch${IFS}x)", "--tag", "role=db", join=agent.address)
    second.wait("join", member="a")
    agent.wait("join", member="$(touch${IFS}x)")
    second.process.kill()
    failed = agent.wait("error")
    assert failed["message"].endswith("ended with status 3: no such")
    first, given, last = log.read_text().splitlines()
    assert first == 'join $(touch${IFS}x) {"role": "db"}'
    assert json.loads(given)["member"] == "$(touch${IFS}x)"
    assert last == "dead"


def test_a_script_ends_with_the_agent(start: Start, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    agent = start("a", "--on", f"started=echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 1000")
    agent.wait("started")
    for _ in range(30):
        if pid.exists():
            break
        agent.wait("stats", after=len(agent.lines))  # one a second
    assert terminate(agent) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [("join", "is not EVENT=COMMAND"), ("join= ", "is not EVENT=COMMAND"), ("jion=x", "no event 'jion'")],
)
def test_a_rule_that_is_none(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_rules([text])


def test_the_environment_has_what_fits_in_it() -> None:
    fields = {"event": "message", "payload": "x" * 10_000, "sender": "b", "name": None, "bad": "a\0b"}
    assert environment_of(fields) == {"SWIM_EVENT": "message", "SWIM_SENDER": "b", "SWIM_NAME": "null"}
