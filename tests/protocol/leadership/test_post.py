"""A message counts for one process of one member of one cluster, and only from the one that sent it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swim.protocol.leadership.post import digest_people
from swim.protocol.node import Node
from swim.protocol.view.table import Record
from swim.wire.messages import LeaderKind, LeaderMessage
from tests.protocol.fakes import Net

ASK, TRY = LeaderMessage(LeaderKind.ASK, 1), LeaderMessage(LeaderKind.TRY, 1)


@pytest.fixture
def nodes() -> list[Node]:
    return Net().cluster("a", "b", "c", voters=("a", "b", "c"))


def record(at: Node, of: Node) -> Record:
    found = at._table.get(of.name)
    assert found is not None
    return found


def sealed(
    source: Node, target: Node, message: LeaderMessage = ASK, process: bytes | None = None
) -> LeaderMessage:
    """As the first sends it to the second."""
    process = target._post.process if process is None else process
    return source._post.seal(message, record(source, target), process)


def accepts(node: Node, message: LeaderMessage, sender: Node) -> bool:
    return node._post.check(message, record(node, sender))


def test_it_counts_for_the_process_that_it_was_sent_to(nodes: list[Node]) -> None:
    a, b, _ = nodes
    assert accepts(b, sealed(a, b), a)


def test_it_says_nothing_to_its_sender(nodes: list[Node]) -> None:
    a, b, _ = nodes
    assert not accepts(a, sealed(a, b), b)
    assert a.dropped["leader-reflected"] == 1


def test_nor_to_its_sender_although_it_is_for_anybody(nodes: list[Node]) -> None:
    a, b, _ = nodes
    assert not accepts(a, sealed(a, b, TRY, b""), b)


def test_it_says_nothing_to_a_third_one(nodes: list[Node]) -> None:
    a, b, c = nodes
    assert not accepts(c, sealed(a, b), a)
    assert c.dropped["leader-for-another"] == 1


def test_it_is_its_senders_and_not_of_another_from_whose_address_it_comes(nodes: list[Node]) -> None:
    a, b, c = nodes
    assert not accepts(b, sealed(a, b), c)


def test_it_is_for_one_process_of_the_receiver(nodes: list[Node]) -> None:
    a, b, _ = nodes
    assert not accepts(b, sealed(a, b, process=b"FORMER00"), a)


def test_only_a_question_that_changes_nothing_may_be_for_any_process(nodes: list[Node]) -> None:
    a, b, _ = nodes
    assert accepts(b, sealed(a, b, TRY, b""), a)
    assert not accepts(b, sealed(a, b, ASK, b""), a)


def test_it_is_of_one_process_of_the_sender(nodes: list[Node]) -> None:
    a, b, _ = nodes
    assert not accepts(b, replace(sealed(a, b), process=b"FORMER00"), a)


def test_without_a_process_it_counts_nowhere(nodes: list[Node]) -> None:
    a, b, _ = nodes
    assert not accepts(b, replace(sealed(a, b), process=b""), a)


def test_each_of_cluster_people_and_place_makes_a_difference() -> None:
    usual: tuple[Any, ...] = (b"label", "a", b"PROCESSA", "b", b"PROCESSB", "10.0.0.1:1")
    other: tuple[Any, ...] = (b"other", "c", b"PROCESSC", "d", b"PROCESSD", "10.0.0.2:1")
    digests = {digest_people(*usual)}
    for place in range(len(usual)):
        changed = (*usual[:place], other[place], *usual[place + 1 :])
        digests.add(digest_people(*changed))
    assert len(digests) == len(usual) + 1
