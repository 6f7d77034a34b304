"""Voters that are changed while the cluster runs, on real sockets."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import msgpack
import pytest
import trio

import swim
from swim.cli.voters import _change
from swim.protocol.leadership.changing import read_state, request_for
from swim.runtime.voters import change_voters
from swim.wire import Codec
from swim.wire.leadership import LEADER_MARK
from swim.wire.messages import UserMessage
from tests.cluster.test_leadership import LEASE
from tests.cluster.together import PATIENCE, cluster_of, open_node

NEW = ("a", "b", "d")


async def test_any_member_can_have_them_changed_and_the_term_goes_on() -> None:
    names = ("a", "b", "c", "d")
    async with cluster_of(*names, voters=names[:3], config=LEASE) as nodes:
        with trio.fail_after(PATIENCE):
            await nodes[3].wait_for_leader()
            await nodes[0].wait_for(lambda cluster: cluster.leadership.term is not None)
            term = nodes[0].leadership.term
            await nodes[3].set_voters(NEW)
            for node in nodes:
                await node.wait_for(lambda cluster: cluster.leadership.voters == NEW)
            assert nodes[0].leadership.term == term
            await nodes[0].set_voters(("a", "b", "c"))


async def test_from_outside_and_what_is_refused() -> None:
    async with cluster_of("a", "b", "c", "d", voters=("a", "b", "c"), config=LEASE) as nodes:
        with trio.fail_after(PATIENCE):
            await nodes[1].wait_for_leader()
            address = nodes[1].address
            assert await _change(address.host, address.port, NEW, Codec()) == NEW
            for wrong, said in ((("a", "x"), "not members now: x"), (("a", "a"), "twice")):
                with pytest.raises(swim.VotersError, match=said):
                    await nodes[2].set_voters(wrong)


@pytest.mark.parametrize(
    "state",
    [
        {"l": "nonsense"},
        {"l": ":7"},
        {"l": ["a"]},
        {"l": "a" * 70 + ".b:7"},  # no host can be called that
        {"me": True, "v": 5},
        {"me": True, "v": {"a": 1}},
        {"me": True, "e": [1, 2]},
        {"me": True, "t": [1]},
    ],
)
async def test_an_answer_that_makes_no_sense_is_an_error_of_its_own(state: dict[str, object]) -> None:
    payload = bytes((LEADER_MARK,)) + msgpack.packb(state)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(Codec().stream(UserMessage(payload)))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            address = await _serve(nursery, answer)
            with pytest.raises(swim.VotersError):
                await _change(*address, NEW, Codec())
            nursery.cancel_scope.cancel()


async def test_a_node_that_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swim.runtime.voters._ANSWER_PATIENCE", 0.05)

    async def say_nothing(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            address = await _serve(nursery, say_nothing)
            with pytest.raises(swim.VotersError, match=r"did not answer within 0\.05 s"):
                await _change(*address, NEW, Codec())
            nursery.cancel_scope.cancel()


async def _serve(
    nursery: trio.Nursery, answer: Callable[[trio.SocketStream], Awaitable[None]]
) -> tuple[str, int]:
    """A listener that answers each connection like this."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, answer, listeners)
    host, port = listeners[0].socket.getsockname()
    return host, port


FIRST, DEAD = swim.Address("10.0.0.1", 1), swim.Address("10.0.0.2", 1)


def _two_members(takes_over: float) -> Callable[[swim.Address, bytes], Awaitable[UserMessage]]:
    """The first one says that the dead one leads, until it leads itself; then it has the voters at once."""

    async def ask(address: swim.Address, payload: bytes) -> UserMessage:
        if address == DEAD:
            raise swim.VotersError(f"{address} cannot be asked")
        leads = trio.current_time() >= takes_over
        state = {"l": "" if leads else str(DEAD), "me": leads, "v": list(NEW), "o": False}
        return UserMessage(bytes((LEADER_MARK,)) + msgpack.packb(state))

    return ask


async def test_while_a_leader_that_has_died_is_named_the_first_member_is_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert await change_voters(_two_members(trio.current_time() + 10), FIRST, NEW) == NEW


async def test_but_not_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(swim.VotersError, match=r"10\.0\.0\.2:1 cannot be asked"):
        await change_voters(_two_members(math.inf), FIRST, NEW)
    assert 15 < trio.current_time() - began < 20


async def test_a_request_counts_once() -> None:
    async with cluster_of("a", "b", "c", "d", voters=("a", "b", "c"), config=LEASE) as nodes:
        with trio.fail_after(PATIENCE):
            await nodes[0].wait_for(lambda cluster: cluster.leadership.term is not None)
            driver = nodes[0]._driver

            def ask(payload: bytes) -> dict[str, object]:
                answer = driver.node._changing.answer(UserMessage(payload), driver.node.term, driver.now())
                assert answer is not None
                driver.node._settle(driver.now())
                driver.settle()
                state = read_state(answer.payload)
                assert state is not None
                return state

            state = ask(request_for())
            request = request_for(NEW, state["c"], state["t"])  # type: ignore[arg-type]
            assert ask(request)["e"] == ""
            assert ask(request)["e"] == "the request is out of date: ask again"
            other = request_for(("b", "c", "d"), state["c"], ask(request_for())["t"])  # type: ignore[arg-type]
            assert "another change came before" in str(ask(other)["e"])
            await nodes[0].wait_for(lambda cluster: cluster.leadership.voters == NEW)


async def test_without_voters_there_are_none_to_be_changed() -> None:
    async with open_node("a") as a:
        with trio.fail_after(PATIENCE), pytest.raises(swim.VotersError, match="no voters"):
            await a.set_voters(("a",))


async def test_a_function_that_cleans_up_for_long_keeps_the_lease_where_that_is_possible() -> None:
    """The term ends although the voters are there: the next one begins only after the clean-up."""
    cleaned: list[float] = []

    async def slow(term: swim.Term) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2 * LEASE.lease)
            cleaned.append(trio.current_time())

    three = ("a", "b", "c")
    async with cluster_of(*three, voters=three, config=LEASE) as nodes, trio.open_nursery() as nursery:
        nursery.start_soon(nodes[0].run_while_leader, slow)
        with trio.fail_after(PATIENCE):
            await nodes[0].wait_for(lambda cluster: cluster.leadership.term is not None)
            await trio.sleep(0.1)
            driver = nodes[0]._driver
            driver.node._own.fresh_id(driver.now(), "")  # which ends its term
            driver.node._settle(driver.now())
            driver.settle()
            while not any(each.leadership.term for each in nodes):  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert cleaned, "somebody led before the clean-up had ended"
        nursery.cancel_scope.cancel()
