"""An address of this machine that goes while a node runs: noticed, followed where that is wanted, told."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
import trio
import trio.testing

from swim import open_cluster
from swim.runtime.sockets.transport import SocketTransport, is_local, open_transport
from swim.runtime.sockets.whereabouts import Whereabouts
from swim.types import Address

GONE = Address("198.51.100.7", 7946)
HERE = Address("127.0.0.1", 7946)
OTHERS = [Address("10.0.0.8", 7946), Address("10.0.0.9", 7946)]
IS_GONE = "n: 198.51.100.7 is no address of this machine any more: others cannot reach this node"


@pytest.fixture
def everywhere() -> Iterator[SocketTransport]:
    with closing(open_transport("0.0.0.0", 0)) as transport:
        yield transport


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """From where packets go to each host; to a host that is not there, there is no route."""
    found: dict[str, str] = {}
    monkeypatch.setattr(SocketTransport, "route_source", lambda _, target: found.get(target.host))
    return found


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "swim")


def test_which_addresses_are_this_machines() -> None:
    assert is_local("127.0.0.1")
    assert not is_local(GONE.host)
    assert not is_local("2001:db8::7")


def test_an_address_from_which_packets_go_to_some_of_the_others_stays(
    everywhere: SocketTransport, routes: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    routes |= {"10.0.0.8": "10.0.1.1", "10.0.0.9": HERE.host}
    assert Whereabouts("n", everywhere).look(HERE, OTHERS) is None
    assert caplog.messages == []


@pytest.mark.parametrize("address", [GONE, HERE], ids=["gone", "not used any more"])
def test_bound_to_a_wildcard_a_node_follows_the_route_to_the_others(
    everywhere: SocketTransport, routes: dict[str, str], caplog: pytest.LogCaptureFixture, address: Address
) -> None:
    routes |= {"10.0.0.9": "10.0.1.1"}
    assert Whereabouts("n", everywhere).look(address, OTHERS) == Address("10.0.1.1", 7946)
    assert caplog.messages == [f"n: reached at 10.0.1.1:7946 from now on, not at {address}"]


def test_alone_it_follows_the_default_route_but_only_when_its_address_is_gone(
    everywhere: SocketTransport, routes: dict[str, str]
) -> None:
    routes |= {"198.51.100.1": "10.0.1.1"}
    assert Whereabouts("n", everywhere).look(HERE, []) is None
    assert Whereabouts("n", everywhere).look(GONE, []) == Address("10.0.1.1", 7946)


def test_among_nodes_of_this_machine_it_stays(everywhere: SocketTransport, routes: dict[str, str]) -> None:
    routes |= {"127.0.0.1": "127.0.0.1", "198.51.100.1": "10.0.1.1"}
    assert Whereabouts("n", everywhere).look(HERE, [Address("127.0.0.1", 9)]) is None


def test_without_any_route_it_says_so_once_and_looks_on(
    everywhere: SocketTransport, routes: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    here = Whereabouts("n", everywhere)
    assert [here.look(GONE, OTHERS) for _ in range(3)] == [None] * 3
    assert caplog.messages == [IS_GONE]
    routes |= {"10.0.0.8": "10.0.1.1"}
    assert here.look(GONE, OTHERS) == Address("10.0.1.1", 7946)


def test_bound_to_an_address_it_stays_and_says_so(
    routes: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    routes |= {"10.0.0.8": "10.0.1.1"}
    with closing(open_transport("127.0.0.1", 0)) as transport:
        here = Whereabouts("n", transport)
        assert [here.look(GONE, OTHERS) for _ in range(3)] == [None] * 3
        assert caplog.messages == [f"{IS_GONE}; bind to 0.0.0.0 to follow such changes"]
        assert here.look(HERE, OTHERS) is None
        assert caplog.messages[1:] == ["n: 127.0.0.1 is an address of this machine again"]


async def test_a_running_node_looks_about_once_a_second_and_ctrl_c_does_not_strike_in_the_middle_of_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """It would end the node without a farewell, or leave its core half changed."""
    protected: list[bool] = []

    def look(self: Whereabouts, address: Address, others: Sequence[Address]) -> None:
        protected.append(trio.lowlevel.currently_ki_protected())

    monkeypatch.setattr(Whereabouts, "look", look)
    async with open_cluster("n", bind="127.0.0.1:0"):
        await trio.sleep(20.0)
    assert 12 <= len(protected) <= 27
    assert all(protected)


async def test_a_node_that_has_moved_tells_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Address("127.0.0.1", 9)
    monkeypatch.setattr(
        Whereabouts, "look", lambda self, address, others: found if address != found else None
    )
    async with open_cluster("n", bind="127.0.0.1:0") as cluster:
        with trio.fail_after(60):
            await cluster.wait_for(lambda cluster: cluster.address == found)


async def test_a_node_with_an_advertised_address_stays_there(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(Whereabouts, "look", lambda self, address, others: Address("127.0.0.1", 9))
    async with open_cluster("n", bind="127.0.0.1:0", advertise="127.0.0.1:7") as cluster:
        await trio.sleep(20.0)
        assert cluster.address == Address("127.0.0.1", 7)
