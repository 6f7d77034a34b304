"""How news travels: floods along the rings, and what rides on pings and acks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swim.protocol.base.context import Context
from swim.protocol.base.outbox import Outbox
from swim.protocol.gossip.dissemination import Dissemination
from swim.protocol.view.rings import FOREIGN_MAX, Rings
from swim.protocol.view.table import MemberTable
from swim.types import Address
from swim.wire import Codec, Keyring
from swim.wire.messages import Ack, Alive, Dead, Ping, UserMessage
from tests.protocol.fakes import Net, Puppet
from tests.protocol.view.test_table import record

PEER = Address("10.0.0.77", 7946)


class Bench:
    """Dissemination alone, in a table of members `a` (itself), `b`, `c` ..."""

    def __init__(
        self,
        names: str = "abcdef",
        *,
        foreign: str = "",
        suspected: str = "",
        codec: Codec | None = None,
        loss: float = 0.0,
    ) -> None:
        net = Net()
        self.codec = codec or Codec()
        self.table = MemberTable(Rings(8), 10)
        for number, name in enumerate(names):
            address = Address(f"10.0.{number >> 8}.{number & 255}", 7946)
            self.table.put(record(name, address=address, id=None if name in foreign else ""), 0.0)
        self.outbox = Outbox(self.codec)
        self.context = Context("a", net.config, self.table, self.outbox, net.rng, lambda now: now)
        self.dissemination = Dissemination(self.context, lambda name: name in suspected, lambda: loss)

    def flood(self) -> dict[str, list[bytes]]:
        """What went where."""
        self.dissemination.flood(1.0)
        sent: dict[str, list[bytes]] = {}
        for data, address in self.outbox.datagrams:
            member = self.table.at(address)
            assert member is not None
            sent.setdefault(member.name, []).append(data)
        self.outbox.datagrams.clear()
        return sent

    def read(self, data: bytes) -> list[object]:
        packet = self.codec.open_packet(data)
        assert packet.dropped == ()
        return list(packet.messages)

    def ride(self) -> list[object]:
        """What comes along with a ping."""
        self.dissemination.send(PEER, Ping(1))
        (data, address) = self.outbox.datagrams.pop()
        assert address == PEER
        return self.read(data)[1:]


class TestFlood:
    def test_news_goes_on_at_once(self) -> None:
        bench = Bench()
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        assert bench.context.timers.next_deadline() == 1.0
        bench.context.timers.run(1.0)
        assert bench.outbox.datagrams

    def test_after_a_flood_news_waits_for_a_moment_so_that_one_packet_carries_much(self) -> None:
        bench = Bench()
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        bench.context.timers.run(1.0)
        bench.outbox.datagrams.clear()
        for number in range(5):
            bench.dissemination.news(f"n{number}", Dead(f"n{number}", 1, "a"), 1.001)
        deadline = bench.context.timers.next_deadline()
        assert deadline is not None
        assert 0.0025 <= deadline - 1.0 <= 0.0075
        bench.dissemination.news("late", Dead("late", 1, "a"), 1.002)
        assert bench.context.timers.next_deadline() == deadline  # later news does not delay earlier
        assert bench.outbox.datagrams == []
        bench.context.timers.run(deadline)
        for data, _ in bench.outbox.datagrams:
            assert len(bench.read(data)) == 6

    def test_newer_news_of_a_member_takes_the_place_of_older(self) -> None:
        bench = Bench()
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        bench.dissemination.news("x", Dead("x", 2, "a"), 1.0)
        for packets in bench.flood().values():
            assert [bench.read(data) for data in packets] == [[Dead("x", 2, "a")]]

    def test_goes_once_to_the_successor_on_each_flood_ring(self) -> None:
        bench = Bench("abcdefgh")
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        expected = {next(bench.table.rings.successors("a", ring)) for ring in range(4)}
        sent = bench.flood()
        assert set(sent) == expected
        assert all(len(packets) == 1 for packets in sent.values())

    @pytest.mark.parametrize(("loss", "rings"), [(0.0, 4), (0.05, 6), (0.2, 8)])
    def test_takes_more_rings_where_packets_get_lost(self, loss: float, rings: int) -> None:
        bench = Bench("abcdefghijklmnopqrstuvwxyz", loss=loss)
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        assert set(bench.flood()) == {next(bench.table.rings.successors("a", ring)) for ring in range(rings)}

    def test_a_few_of_a_large_foreign_crowd_are_told_and_gossip_it_on(self) -> None:
        crowd = "".join(map(chr, range(0x4E00, 0x4E00 + 500)))
        bench = Bench("a" + crowd, foreign=crowd)
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        assert 3 * FOREIGN_MAX <= len(bench.flood()) <= 4 * FOREIGN_MAX

    def test_all_of_a_small_foreign_crowd_are_told(self) -> None:
        bench = Bench("abcdefghijklmnopq", foreign="bcdefghijklmnopq")
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        assert set(bench.flood()) == set("bcdefghijklmnopq")

    def test_does_not_end_at_a_suspect(self) -> None:
        plain = Bench("abcdefgh")
        first = next(plain.table.rings.successors("a", 0))
        bench = Bench("abcdefgh", suspected=first)
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        sent = bench.flood()
        walk = bench.table.rings.successors("a", 0)
        assert {next(walk), next(walk)} <= set(sent)

    def test_reaches_the_foreign_members_that_this_node_serves(self) -> None:
        bench = Bench("abcdefgh", foreign="cdef")
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        served = {name for ring in range(4) for name in bench.table.rings.foreign_successors("a", ring)}
        assert served <= set(bench.flood())

    def test_is_over_after_one_time(self) -> None:
        bench = Bench()
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        bench.flood()
        assert bench.flood() == {}

    def test_alone_it_goes_nowhere_and_is_not_kept(self) -> None:
        bench = Bench("a")
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        assert bench.flood() == {}
        assert len(bench.dissemination._pending) == 0

    def test_one_loss_free_flood_reaches_everybody(self) -> None:
        net = Net(seed=3)
        nodes = net.cluster(*"abcdefghij")
        net.run(3)
        nodes[0].set_tags({"role": "db"}, net.now)
        net.drain(nodes[0])
        net.run(0.1)
        for node in nodes:
            assert [member.tags for member in node.members() if member.name == "a"] == [{"role": "db"}]


KEYRING = Keyring([bytes(range(16))], random_bytes=bytes)


@pytest.fixture(
    params=[
        lambda: Codec(),
        lambda: Codec(label="a-label-of-some-length"),
        lambda: Codec(keyring=KEYRING),
        lambda: Codec(label="label", keyring=KEYRING),
    ],
    ids=["plain", "label", "key", "both"],
)
def codec(request: pytest.FixtureRequest) -> Codec:
    make: Callable[[], Codec] = request.param
    return make()


class TestSize:
    def test_no_packet_is_larger_than_1200_bytes_and_nothing_is_lost(self, codec: Codec) -> None:
        bench = Bench(codec=codec)
        news = {
            f"n{number}": Alive(f"n{number}", 1, b"\x0a\0\0\1", 7946, bytes(number % 500), bytes(6))
            for number in range(100)
        }
        for name, message in news.items():
            bench.dissemination.news(name, message, 1.0)
        for packets in bench.flood().values():
            assert all(len(data) <= 1_200 for data in packets)
            arrived = [message for data in packets for message in bench.read(data)]
            assert arrived == list(news.values())

    def test_the_room_is_used(self, codec: Codec) -> None:
        bench = Bench(codec=codec)
        for number in range(200):
            bench.dissemination.news(f"n{number}", Dead(f"n{number}", 1, "a"), 1.0)
        for packets in bench.flood().values():
            assert all(len(data) > 1_100 for data in packets[:-1])

    def test_a_packet_has_at_most_127_parts(self) -> None:
        """memberlist 0.2.2 loses all of a larger one."""
        bench = Bench()
        for number in range(200):
            bench.dissemination.news(f"n{number}", UserMessage(b"Six by"), 1.0)
        for packets in bench.flood().values():
            assert [len(bench.read(data)) for data in packets] == [127, 73]

    def test_of_very_much_news_only_some_goes_at_once(self) -> None:
        bench = Bench()
        for number in range(5_000):
            bench.dissemination.news(f"n{number}", UserMessage(b"Six by"), 1.0)
        sent = [sum(len(bench.read(data)) for data in packets) for packets in bench.flood().values()]
        assert 0 < sum(sent) <= 2_048
        assert len(bench.dissemination._pending) == 5_000 - max(sent)

    def test_what_rides_along_fits_beside_the_message(self, codec: Codec) -> None:
        bench = Bench(codec=codec)
        for number in range(20):
            news = Alive(f"n{number}", 1, b"\x0a\0\0\1", 7946, bytes(300), bytes(6))
            bench.dissemination.news(f"n{number}", news, 1.0)
        for _ in range(50):
            bench.dissemination.send(PEER, Ack(1, payload=bytes(200)))
        sizes = [len(data) for data, _ in bench.outbox.datagrams]
        assert max(sizes) <= 1_200
        assert max(sizes) > 900


class TestRiding:
    def test_each_piece_rides_three_times(self) -> None:
        bench = Bench()
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        assert [bench.ride() for _ in range(5)] == [[Dead("x", 1, "a")]] * 3 + [[]] * 2

    def test_newer_news_begins_anew_and_the_older_is_not_sent_again(self) -> None:
        bench = Bench()
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        bench.ride()
        bench.dissemination.news("x", Dead("x", 2, "a"), 1.0)
        assert [bench.ride() for _ in range(4)] == [[Dead("x", 2, "a")]] * 3 + [[]]

    def test_what_was_sent_less_often_goes_first(self) -> None:
        bench = Bench()
        for number in range(12):
            bench.dissemination.news(f"n{number}", Dead(f"n{number}", 1, "a"), 1.0)
        rides = [bench.ride() for _ in range(6)]
        carried = [message for ride in rides for message in ride]
        assert len(carried) == 36
        first = carried[:12]
        assert len(set(map(str, first))) == 12, "each once before any comes again"

    def test_only_so_many_ride_on_one_message(self) -> None:
        bench = Bench()
        for number in range(50):
            bench.dissemination.news(f"n{number}", Dead(f"n{number}", 1, "a"), 1.0)
        assert len(bench.ride()) <= 8

    def test_a_large_piece_does_not_keep_the_others_from_riding(self) -> None:
        bench = Bench()
        bench.dissemination.news("big", UserMessage(bytes(2_000)), 1.0)
        bench.dissemination.news("x", Dead("x", 1, "a"), 1.0)
        assert any(Dead("x", 1, "a") in bench.ride() for _ in range(4))

    def test_acks_and_pings_of_a_node_carry_news_that_the_flood_missed(self) -> None:
        net = Net()
        node = net.start("a")
        puppet: Puppet = net.puppet("p").join(node)
        net.run(5)
        node.set_tags({"role": "db"}, net.now)
        net.drain(node)
        puppet.received.clear()
        net.run(2)
        carried = [alive for alive in puppet.heard(Alive) if alive.incarnation == 2]
        assert 3 <= len(carried) <= 4, "one flood, three rides"
