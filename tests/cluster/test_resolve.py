"""Names to addresses."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
import trio
import trio.testing

from swim.errors import JoinError
from swim.runtime.sockets.resolve import Seeds, advertised_address, require_reachable, resolve_one
from swim.runtime.sockets.transport import is_wildcard, open_transport
from swim.types import Address
from tests.cluster.names import Names
from tests.cluster.test_transport import needs_ipv6

BOTH = socket.AF_UNSPEC


@pytest.fixture
def names() -> Names:
    return Names(swim=["10.0.0.1", "10.0.0.2", "fd00::1"], one=["10.0.0.2"])


async def use(service: Names) -> None:
    trio.socket.set_custom_hostname_resolver(service)


async def test_all_addresses_of_all_names_each_once(names: Names) -> None:
    await use(names)
    seeds = Seeds(["swim:7", "one:7", "192.0.2.1", "[fd00::9]:8"])
    assert await seeds.resolve(BOTH) == (
        Address("10.0.0.1", 7),
        Address("10.0.0.2", 7),
        Address("fd00::1", 7),
        Address("192.0.2.1", 7946),
        Address("fd00::9", 8),
    )
    assert await Seeds(["swim"]).resolve(socket.AF_INET6) == (Address("fd00::1", 7946),)


async def test_names_are_looked_up_afresh_and_old_answers_are_kept(names: Names) -> None:
    await use(names)
    seeds = Seeds(["one:7"])
    await seeds.resolve(BOTH)
    names.names["one"] = ["10.0.0.3"]
    assert await seeds.resolve(BOTH) == (Address("10.0.0.3", 7),)
    del names.names["one"]
    assert await seeds.resolve(BOTH) == (Address("10.0.0.3", 7),)
    assert seeds.problems == {"one:7": "Name or service not known"}
    names.names["one"] = ["10.0.0.4"]
    assert await seeds.resolve(BOTH) == (Address("10.0.0.4", 7),)
    assert seeds.problems == {}


async def test_a_silent_name_service_holds_up_nobody_for_long(
    names: Names, autojump_clock: trio.testing.MockClock
) -> None:
    await use(names)
    names.silent = {"slow", "slower"}
    seeds = Seeds(["slow", "slower", "one:7"])
    started = trio.current_time()
    assert await seeds.resolve(BOTH) == (Address("10.0.0.2", 7),)
    assert trio.current_time() - started == pytest.approx(5.0)
    assert seeds.problems == {"slow": "no answer in 5 s", "slower": "no answer in 5 s"}


async def test_a_name_that_is_no_name() -> None:
    seeds = Seeds(["a" * 64 + ".example:1"])
    assert await seeds.resolve(BOTH) == ()
    assert "not a host name" in seeds.describe_problems()


@pytest.mark.parametrize("text", ["host:port", "host:99999", ":80", "", "1.2.3.4:-1"])
def test_not_an_address(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        Seeds([text])


def test_one_text_is_not_a_list() -> None:
    with pytest.raises(ValueError, match=r"\['host:80'\]"):
        Seeds("host:80")


async def test_resolve_one_names_what_does_not_resolve(names: Names) -> None:
    await use(names)
    assert await resolve_one("one:0") == Address("10.0.0.2", 0)
    with pytest.raises(OSError, match="'nobody:1' does not resolve: Name or service not known"):
        await resolve_one("nobody:1")


async def test_the_bound_address_is_advertised() -> None:
    with closing(open_transport("127.0.0.1", 0)) as transport:
        assert await advertised_address(None, transport, ()) == transport.address


async def test_advertise_overrides_it(names: Names) -> None:
    await use(names)
    with closing(open_transport("127.0.0.1", 0)) as transport:
        port = transport.address.port
        assert await advertised_address("192.0.2.1:5", transport, ()) == Address("192.0.2.1", 5)
        assert await advertised_address("192.0.2.1", transport, ()) == Address("192.0.2.1", port)
        assert await advertised_address("192.0.2.1:0", transport, ()) == Address("192.0.2.1", port)
        assert await advertised_address("one", transport, ()) == Address("10.0.0.2", port)
        assert await advertised_address("[fd00::1]:5", transport, ()) == Address("fd00::1", 5)
        for text in ("0.0.0.0:5", "[::]:5"):
            with pytest.raises(ValueError, match="wildcard"):
                await advertised_address(text, transport, ())


@pytest.mark.parametrize("host", ["0.0.0.0", pytest.param("::", marks=needs_ipv6)])
async def test_a_wildcard_is_never_advertised(host: str) -> None:
    with closing(open_transport(host, 0)) as transport:
        port = transport.address.port
        chosen = await advertised_address(None, transport, ())
        assert not is_wildcard(chosen.host)
        assert chosen.port == port
        loopback = [Address("127.0.0.1", 7946)]
        assert await advertised_address(None, transport, loopback) == Address("127.0.0.1", port)
        if host == "::":
            six = [Address("::1", 7946)]
            assert await advertised_address(None, transport, six) == Address("::1", port)


def test_loopback_is_not_advertised_to_other_machines() -> None:
    require_reachable(Address("127.0.0.1", 1), [Address("127.0.0.2", 1), Address("::1", 1)])
    require_reachable(Address("10.0.0.1", 1), [Address("10.0.0.2", 1)])
    with pytest.raises(JoinError, match="`advertise`"):
        require_reachable(Address("127.0.0.1", 1), [Address("127.0.0.1", 2), Address("10.0.0.2", 1)])
