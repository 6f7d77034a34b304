"""The connections and datagrams of a world behave as those of a kernel do."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio

from swim.runtime.network import Connection, Transport, simulated_host
from swim.testing import World
from swim.types import Address

PORT = 7946
Use = Callable[[Connection], Awaitable[object]]


@pytest.fixture
def world() -> Iterator[World]:
    with World(1, drift=0.0) as world:
        yield world


def transport() -> Transport:
    host = simulated_host.get()
    assert host is not None
    return host.open_transport("0.0.0.0", PORT)


async def server(use: Use) -> object:
    (connection,) = await transport().accept()
    return await use(connection)


async def client(world: World, use: Use) -> object:
    return await use(await transport().connect(Address(world.address("server"), PORT)))


def start(world: World, serve: Use, ask: Use) -> None:
    world.start("server", server, serve)
    world.start("client", client, world, ask)


async def idle(connection: Connection) -> None:
    await trio.sleep_forever()


async def read_all(connection: Connection) -> bytes:
    data = b""
    while more := await connection.read():
        data += more
    return data


def cause(world: World, name: str) -> int | None:
    error = world.error(name)
    assert isinstance(error, trio.BrokenResourceError)
    assert isinstance(error.__cause__, OSError)
    return error.__cause__.errno


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_bytes_arrive_in_order_and_then_the_end(world: World, loss: float) -> None:
    content = bytes(range(256)) * 4_000

    async def write(connection: Connection) -> bytes:
        await connection.write(content)
        await connection.send_eof()
        return await connection.read()

    async def answer(connection: Connection) -> bytes:
        data = await read_all(connection)
        await connection.write(b"thanks")
        connection.close()
        return data

    world.set_loss(loss)
    start(world, answer, write)
    assert world.run_until(lambda: not world.running("client"), 600) is not None
    assert (world.result("server"), world.result("client")) == (content, b"thanks")


def test_a_writer_waits_while_nobody_reads(world: World) -> None:
    async def read_late(connection: Connection) -> int:
        await trio.sleep(100)
        return len(await read_all(connection))

    async def write(connection: Connection) -> float:
        await connection.write(bytes(1_000_000))
        written = trio.current_time()
        connection.close()
        return written

    start(world, read_late, write)
    world.run(99)
    assert world.running("client")
    world.run(10)
    assert not world.running("client")
    assert world.result("server") == 1_000_000


def test_where_nobody_listens_it_is_refused(world: World) -> None:
    world.start("server", trio.sleep_forever)
    world.start("client", client, world, idle)
    world.run(1)
    assert isinstance(world.error("client"), ConnectionRefusedError)


def test_a_host_that_is_lost_does_not_even_refuse(world: World) -> None:
    world.start("server", trio.sleep_forever)
    world.run(1)
    world.lose_host("server")
    world.start("client", client, world, idle)
    world.run(100)
    assert world.running("client")
    world.run(100)
    error = world.error("client")
    assert isinstance(error, OSError)
    assert error.errno == errno.ETIMEDOUT


def test_what_dies_with_unread_bytes_resets(world: World) -> None:
    async def write(connection: Connection) -> bytes:
        await connection.write(b"unread")
        return await connection.read()

    start(world, idle, write)
    world.run(1)
    world.crash("server")
    world.run(1)
    assert cause(world, "client") == errno.ECONNRESET


def test_what_dies_with_nothing_unread_ends_and_then_resets(world: World) -> None:
    async def read(connection: Connection) -> bytes:
        data = await connection.read()
        await connection.write(b"to whom?")
        await trio.sleep(1)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await connection.write(b"to whom?")
        assert isinstance(caught.value.__cause__, BrokenPipeError)
        return data

    start(world, idle, read)
    world.run(1)
    world.crash("server")
    world.run(5)
    assert world.result("client") == b""


def test_a_kernel_acknowledges_for_a_process_that_stands_still(world: World) -> None:
    async def probe(connection: Connection) -> tuple[bool, bool, int]:
        await trio.sleep(2)
        assert connection.write_at_once(b"there?")
        at_once = connection.all_acknowledged()
        await trio.sleep(0.1)
        return at_once, connection.all_acknowledged(), connection.acknowledged_bytes()

    start(world, idle, probe)
    world.run(1)
    world.pause("server", 60)
    world.run(5)
    assert world.result("client") == (False, True, 6)


def test_a_kept_connection_is_given_up_after_three_seconds_without_an_acknowledgement(world: World) -> None:
    async def write(connection: Connection) -> bytes:
        connection.keep_alive(opener=True)
        await trio.sleep(1)
        await connection.write(b"there?")
        return await connection.read()

    start(world, idle, write)
    world.run(0.5)
    cuts = world.partition(["server"])
    world.run(3.4)
    assert world.running("client")
    world.run(0.2)
    assert cause(world, "client") == errno.ETIMEDOUT
    world.heal(cuts)


def test_datagrams_arrive_or_are_refused(world: World) -> None:
    async def ask() -> tuple[list[Address], bytes]:
        socket = transport()
        target = Address(world.address("server"), PORT)
        socket.send(b"one", target, 0.0)
        await socket.wait_readable()
        refused = list(socket.refusals(8, 0.0))
        await trio.sleep(2)
        socket.send(b"two", target, 0.0)
        await socket.wait_readable()
        ((data, source),) = socket.receive(8)
        assert source == target
        return refused, data

    async def answer() -> None:
        socket = transport()
        await socket.wait_readable()
        ((data, source),) = socket.receive(8)
        socket.send(data.upper(), source, 0.0)

    world.start("server", trio.sleep, 1)
    world.start("client", ask)
    world.run(1.5)
    world.start("server", answer)
    world.run(2)
    assert world.result("client") == ([Address(world.address("server"), PORT)], b"TWO")


def test_a_slow_link_passes_so_many_bytes_a_second(world: World) -> None:
    async def write(connection: Connection) -> None:
        await connection.write(bytes(100_000))
        connection.close()

    async def read(connection: Connection) -> float:
        await read_all(connection)
        return world.now

    world.start("server", server, read)
    world.start("client", client, world, write)
    world.slow(bandwidth=10_000)
    world.run(60)
    assert 10 < world.result("server") < 20
