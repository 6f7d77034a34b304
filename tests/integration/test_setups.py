"""IPv6, encryption, seeds that name each other, labels, and what can be wrong with a node's options."""

from __future__ import annotations

import errno
import socket
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.driver import Agent, reports
from benchmarks.ports import HOST, Ports
from swim.wire import Codec, DecodeError, Keyring
from swim.wire.messages import ErrorMessage, Ping
from tests.integration.capture import Capture, capturing
from tests.integration.harness import PATIENCE, Nodes, noises, required_peer, until

INSIDERS, STRANGERS = ("enigma", "colossus", "bombe"), ("keyless", "stranger")
IN_CLEAR = (
    "plaintext: not encrypted, and this node has a key",
    "decrypt: none of our keys opens it",
    "label: another label, or none",
)
OLD, NEW = bytes(range(16)), bytes(range(100, 132))


async def refusal(nodes: Nodes, agent: Agent, status: int) -> str:
    """The one line with which the agent ends."""
    assert await agent.exit_status(PATIENCE) == status, noises([agent])
    await agent.silent.wait()
    (line,) = agent.complaints
    agent.complaints.clear()
    for name in agent.names:
        nodes.agents.pop(name, None)
    return line


def port_of(agent: Agent) -> int:
    return int(agent.address.rpartition(":")[2])


# --- IPv6


def ipv6_works() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


@pytest.mark.skipif(not ipv6_works(), reason="this machine has no ::1")
async def test_a_cluster_on_ipv6(nodes: Nodes) -> None:
    ports = Ports()
    try:
        addresses = [f"[::1]:{ports.take()}" for _ in range(4)]
        for number, address in enumerate(addresses):
            bind = ["--bind", address]  # the last one counts
            join = addresses[:1] if number else []
            await nodes.start(f"n{number}", join=join, options=bind, tags={"role": "db"})
        await nodes.all_see_all()
        shown = {line["address"] for line in nodes.fleet.lines if line["event"] in ("join", "started")}
        assert shown == set(addresses)
        await nodes.kill("n0")
        await nodes.all_follow(nodes.lowest())
        await nodes.dismiss("n3")
        await nodes.all_see_all()
    finally:
        ports.close()


# --- encryption


async def test_a_node_without_the_key_is_refused_and_nothing_is_said_in_clear(
    nodes: Nodes, may_capture: None
) -> None:
    how: dict[str, Any] = {"tags": {"role": "confidential"}, "options": ["--key", OLD.hex()]}
    async with capturing(()) as capture:
        for name in INSIDERS:
            join = [nodes.agents["enigma"].address] if nodes.agents else []
            agent = await nodes.start(name, wait=False, join=join, **how)
            capture.ports.add(port_of(agent))
        await nodes.all_see_all()
        inside = list(nodes.agents.values())
        seed = nodes.agents["enigma"]

        keyless = await nodes.start("keyless", join=[seed.address])
        stranger = await nodes.start("stranger", join=[seed.address], options=["--key", NEW.hex()])
        ask_in_clear(seed)
        await until(lambda: sum(seed.stats.get("dropped", {}).values()) >= 6, "drops are counted")
        assert not [
            line for line in nodes.since(0) if line["event"] == "started" and line["node"] in STRANGERS
        ]
        await nodes.agents["bombe"].command("tags role=undercover")
        with nodes.fleet.watch(reports("update", "bombe"), ["enigma", "colossus"]) as updates:
            assert await updates.complete(PATIENCE)
        for agent in (keyless, stranger):
            nodes.agents.pop(agent.name)
            agent.kill()
            await agent.exit_status(PATIENCE)
        await nodes.dismiss("colossus")
    assert not [line for line in nodes.fleet.lines if line.get("member") in STRANGERS]

    require_unreadable(capture, {port_of(agent) for agent in inside})


def ask_in_clear(agent: Agent) -> None:
    """Pings without encryption: none is answered (the capture would show it)."""
    codec = Codec()
    packet = codec.packet([codec.part(Ping(1))])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        for _ in range(3):
            sock.sendto(packet, (HOST, port_of(agent)))


def require_unreadable(capture: Capture, ports: set[int]) -> None:
    """Nothing that came from these ports can be read, except with the key."""
    keyed = Codec(keyring=Keyring([OLD], random_bytes=bytes))
    datagrams = [p.payload for p in capture.packets if p.transport == "udp" and p.source in ports]
    assert len(datagrams) > 20
    for data in datagrams:
        assert keyed.open_packet(data).messages
        with pytest.raises(DecodeError):
            Codec().open_packet(data)
    flows = capture.streams()
    answers = [(flow, flows[target, source]) for (source, target), flow in flows.items() if source in ports]
    assert answers
    for answer, request in answers:
        if request.startswith(b"K"):
            require_sealed_frames(answer)
        elif (told := in_clear(answer)) is not None:
            # The one thing that is said in clear, to a node that has another key or none.
            assert told in IN_CLEAR, told
        else:
            assert keyed.stream_decoder(answering=True).feed(answer) is not None
    everything = b"|".join(p.payload for p in capture.packets)
    for word in (*(name.encode() for name in INSIDERS), b"confidential", b"undercover", b"role", b"_boot"):
        assert word not in everything, word


def in_clear(answer: bytes) -> str | None:
    """The text of an error that is not sealed."""
    try:
        message = Codec().stream_decoder(answering=True).feed(answer)
    except DecodeError:
        return None
    return message.text if isinstance(message, ErrorMessage) else None


def require_sealed_frames(data: bytes) -> None:
    """On a stream that is kept open: a length, and as many bytes that begin with the encryption's version."""
    while len(data) >= 4:
        size = int.from_bytes(data[:4], "big")
        assert size == 0 or data[4] <= 1
        data = data[4 + size :]


async def test_keys_are_rotated_without_losing_a_member(nodes: Nodes) -> None:
    await nodes.gather(4, options=["--key", OLD.hex()])
    for step, keys in enumerate([(OLD, NEW), (NEW, OLD), (NEW,)]):
        for name in nodes.names:
            agent = nodes.agents[name]
            changed = reports("update", name, tags={"step": str(step)})
            with nodes.fleet.watch(changed, nodes.others(name)) as seen:
                await agent.command("keys " + " ".join(key.hex() for key in keys))
                await agent.command(f"tags step={step}")
                assert await seen.complete(PATIENCE), seen.pending
    await nodes.start("late", join=[nodes.agents["n0"].address], options=["--key", NEW.hex()])
    await nodes.all_see_all()
    assert not [line for line in nodes.fleet.lines if line["event"] in ("suspect", "dead", "leave", "error")]

    outdated = await nodes.start("outdated", join=[nodes.agents["n0"].address], options=["--key", OLD.hex()])
    seed = nodes.agents["n0"]
    await until(lambda: any("stream" in reason for reason in seed.stats["dropped"]), "a refusal is counted")
    del nodes.agents["outdated"]
    outdated.kill()
    await nodes.kill("n3")
    await nodes.all_see_all()
    assert not [line for line in nodes.fleet.lines if line.get("member") == "outdated"]


# --- seeds


@pytest.mark.parametrize("with_itself", [True, False], ids=["with itself", "without itself"])
async def test_three_nodes_that_name_each_other_form_one_cluster(nodes: Nodes, with_itself: bool) -> None:
    for _ in range(2):
        await three_at_once(nodes, with_itself)


async def three_at_once(nodes: Nodes, with_itself: bool) -> float:
    """Start three nodes with each other as seeds; returns how long it took to be one cluster."""
    with closing(Ports()) as ports:
        addresses = {name: f"{HOST}:{ports.take()}" for name in ("n0", "n1", "n2")}
        begun = time.monotonic()
        for name, address in addresses.items():
            seeds = [seed for seed in addresses.values() if with_itself or seed != address]
            await nodes.start(name, wait=False, join=seeds, options=["--bind", address])
        await nodes.all_see_all()
        for name in nodes.names:
            await nodes.started(name)
        await nodes.all_follow(nodes.lowest())
        took = time.monotonic() - begun
        for agent in nodes.agents.values():
            agent.kill()
            await agent.exit_status(PATIENCE)
            await agent.silent.wait()
        nodes.agents.clear()
        nodes.fleet.lines.clear()
        return took


async def test_a_seed_that_does_not_resolve(nodes: Nodes) -> None:
    seed = await nodes.start("n0")
    nowhere = "nowhere.invalid:7946"
    await nodes.start("n1", join=[nowhere, seed.address])
    await nodes.all_see_all()
    assert "nowhere.invalid" in " ".join(nodes.agents["n1"].complaints) or not nodes.agents["n1"].complaints
    nodes.agents["n1"].complaints.clear()

    lost = await nodes.start("lost", wait=False, join=[nowhere])
    assert nowhere in await refusal(nodes, lost, 1)


# --- names, tags, addresses, clocks, labels


async def test_a_name_that_is_taken(nodes: Nodes) -> None:
    await nodes.gather(3)
    begun = time.monotonic()
    again = await nodes.fleet.start(
        required_peer("swim"), "again", options=["--name", "n1"], join=[seed_of(nodes)]
    )
    line = await refusal(nodes, again, 1)
    assert "'n1'" in line
    assert nodes.agents["n1"].address in line
    # Its own lines carry the same name, but no others: nobody lost sight of the first n1.
    heard = [
        line for line in nodes.since(begun) if line["event"] in ("dead", "leave", "suspect", "update", "join")
    ]
    assert heard == []
    assert nodes.agents["n1"].process.poll() is None


def seed_of(nodes: Nodes) -> str:
    return nodes.agents["n0"].address


async def test_an_address_that_is_taken(nodes: Nodes) -> None:
    first = await nodes.start("n0")
    second = await nodes.fleet.start(required_peer("swim"), "other", options=["--bind", first.address])
    assert first.address in await refusal(nodes, second, 1)


async def test_tags_that_are_too_large(nodes: Nodes) -> None:
    big = "x" * 600
    await nodes.gather(2, tags={"role": "db"})
    refused = await nodes.fleet.start(required_peer("swim"), "big", tags={"role": big}, join=[seed_of(nodes)])
    assert "512" in await refusal(nodes, refused, 2)

    await nodes.agents["n1"].command(f"tags role={big}")
    error = await nodes.line(lambda line: line["event"] == "error" and line["node"] == "n1")
    assert "512" in error["message"]
    with nodes.fleet.watch(reports("update", "n1", tags={"role": "web"}), ["n0"]) as update:
        await nodes.agents["n1"].command("tags role=web")
        assert await update.complete(PATIENCE)
    assert not [line for line in nodes.fleet.lines if line["event"] == "update" and big in str(line)]


@pytest.mark.parametrize(("offset", "word"), [(3600, "ahead"), (-3600, "behind")])
async def test_a_clock_that_is_an_hour_off(nodes: Nodes, offset: int, word: str) -> None:
    await nodes.gather(2)
    swim = required_peer("swim")
    command = (sys.executable, "-m", "tests.integration.skewed", str(offset), "agent", "--json")
    skewed = await nodes.fleet.start(replace(swim, command=command), "skewed", join=[seed_of(nodes)])
    line = await refusal(nodes, skewed, 1)
    assert "clock" in line
    assert word in line
    assert "3600" in line
    assert not [line for line in nodes.fleet.lines if line.get("member") == "skewed"]


async def test_a_wildcard_is_never_advertised(nodes: Nodes) -> None:
    with closing(Ports()) as ports:
        first, second = ports.take(), ports.take()
        await nodes.start("n0")
        await nodes.start("n1", join=[seed_of(nodes)], options=["--bind", f"0.0.0.0:{first}"])
        await nodes.started("n1")
        await nodes.start("n2", join=[f"{HOST}:{first}"], options=["--bind", f"0.0.0.0:{second}"])
        await nodes.all_see_all()
        shown = {line["member"]: line["address"] for line in nodes.fleet.lines if line["event"] == "join"}
        assert shown["n1"] == f"{HOST}:{first}"
        assert shown["n2"] == f"{HOST}:{second}"
        await nodes.kill("n0")

        founder = await nodes.start("founder", options=["--bind", f"0.0.0.0:{ports.take()}"])
        bound = await nodes.line(lambda line: line["event"] == "started" and line["node"] == "founder")
        assert not bound["address"].startswith("0.0.0.0")
        assert founder.process.poll() is None


async def test_clusters_with_different_labels_stay_apart(nodes: Nodes) -> None:
    with closing(Ports()) as ports:
        reds = [f"{HOST}:{ports.take()}" for _ in range(2)]
        blues = [f"{HOST}:{ports.take()}" for _ in range(2)]
        for colour, own in (("red", reds), ("blue", blues)):
            for number, address in enumerate(own):
                options = ["--bind", address, "--label", colour]
                await nodes.start(f"{colour}{number}", wait=False, join=reds + blues, options=options)
        groups = [{"red0", "red1"}, {"blue0", "blue1"}]
        for group in groups:
            with nodes.fleet.watch_all_see(group) as seen:
                assert await seen.complete(PATIENCE), (seen.pending, nodes.history())
        # Each keeps asking the other's seeds, and is refused every time.
        agents = nodes.agents.values()

        def all_refuse() -> bool:
            return all(
                any("label" in reason for reason in agent.stats.get("dropped", ())) for agent in agents
            )

        await until(all_refuse, "all have refused the other label")
        for group in groups:
            for name in group:
                assert set(nodes.fleet.views[name]) == group - {name}
                assert nodes.fleet.leaders[name] in group
