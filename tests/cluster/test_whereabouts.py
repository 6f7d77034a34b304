"""An address of this machine that goes while a node runs: noticed, followed where that is wanted, told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing

import pytest

from swim import whereabouts
from swim.transport import Transport, open_transport
from swim.types import Address
from swim.whereabouts import Whereabouts, is_local

GONE = Address("198.51.100.7", 7946)
OTHERS = [Address("127.0.0.1", 9)]


@pytest.fixture
def everywhere() -> Iterator[Transport]:
    with closing(open_transport("0.0.0.0", 0)) as transport:
        yield transport


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "swim")


def test_which_addresses_are_this_machines() -> None:
    assert is_local("127.0.0.1")
    assert not is_local(GONE.host)
    assert not is_local("2001:db8::7")


def test_nothing_is_said_while_the_address_is_there(
    everywhere: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    assert Whereabouts("n", everywhere).look(Address("127.0.0.1", 1), lambda: OTHERS) is None
    assert caplog.messages == []


def test_bound_to_a_wildcard_a_node_follows_the_route_to_the_others(
    everywhere: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    found = Whereabouts("n", everywhere).look(GONE, lambda: OTHERS)
    assert found == Address("127.0.0.1", everywhere.address.port)
    assert caplog.messages == [
        "n: 198.51.100.7 is no address of this machine any more; others are told to use 127.0.0.1"
    ]


def test_bound_to_an_address_it_stays_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with closing(open_transport("127.0.0.1", 0)) as transport:
        here = Whereabouts("n", transport)
        assert [here.look(GONE, lambda: OTHERS) for _ in range(3)] == [None] * 3
        assert caplog.messages == [
            "n: 198.51.100.7 is no address of this machine any more: others cannot reach this node; "
            "bind to 0.0.0.0 to follow such changes"
        ]
        assert here.look(Address("127.0.0.1", 1), lambda: OTHERS) is None
        assert caplog.messages[1:] == ["n: 127.0.0.1 is an address of this machine again"]


def test_without_any_route_it_looks_on(
    everywhere: Transport, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Whereabouts("n", everywhere)
    with monkeypatch.context() as patched:
        patched.setattr(whereabouts, "route_address", lambda *_: None)
        assert [here.look(GONE, lambda: OTHERS) for _ in range(2)] == [None] * 2
    assert caplog.messages == [
        "n: 198.51.100.7 is no address of this machine any more: others cannot reach this node"
    ]
    assert here.look(GONE, lambda: OTHERS) is not None
