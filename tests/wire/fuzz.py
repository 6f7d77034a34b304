"""A fuzzer for everything that arrives from the network.

    python -m tests.wire.fuzz --count 1000000 --seed 1

Recorded packets and streams, and our own, are mutated, and others are built from scratch. The damage is done
at the outside, and within encryption, checksum and compression, which are then put on again around it.
Anything raised but DecodeError is a bug; it is printed with the input and the seed. So are the rate,
the slowest input, how much memory was needed, and what came of the inputs.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import msgpack

from benchmarks.compressing import compress
from swim.wire import Codec, DecodeError, Keyring
from swim.wire.dialect import ENCRYPT
from swim.wire.leases import LeaseEntry, LeaseKind, LeaseMessage
from swim.wire.messages import (
    Ack,
    Dead,
    LeaderKind,
    LeaderMessage,
    Message,
    ObserverKind,
    ObserverMessage,
    Ping,
    PushPull,
    PushPullHead,
)
from swim.wire.serf import decode_message, decode_tags
from tests.wire.sealing import OldKeyring
from tests.wire.test_packets import crc, many
from tests.wire.vectors import VECTORS, answering, content, opened

KEY = bytes(range(32))
INTERESTING = [0, 1, 7, 8, 9, 10, 12, 13, 0x7F, 0x80, 0x8F, 0x90, 0xA0, 0xC0, 0xC1, 0xC4, 0xC6, 0xC7, 0xCA]
INTERESTING += [0xCF, 0xD3, 0xD8, 0xD9, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xE0, 0xF4, 0xFF]
SPLICES = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xdc\xff\xff" * 40]
SPLICES += [b"\x91" * 600, b"\x81\xa1x" * 300, b"\xd3" + b"\xff" * 8, b"\xcf" + b"\xff" * 8, b"\xc7\x0c\xff"]
SIZE_MAX = 65_535


@dataclass
class Report:
    """What came of a run."""

    count: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    slowest_input: str = ""
    memory_growth: int = 0  # of the largest resident set, in bytes
    outcomes: Counter[str] = field(default_factory=Counter)
    bugs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """Bytes to start from: a packet or a stream without label and encryption."""

    data: bytes
    stream: bool
    answering: bool = False


def lease_entries() -> tuple[LeaseEntry, ...]:
    return tuple(LeaseEntry(kind, 3, "name", b"t" * 24, 2, True) for kind in LeaseKind)


def ours() -> set[Sample]:
    """What only our own members send."""
    codec = Codec()
    parts: list[Message] = [
        Ping(70_000, "a", sender_id=b"i" * 16, view=b"v" * 8),
        Ack(70_000, sender_id=b"i" * 16, boot=b"b" * 8, wait_ms=250, bare=True),
        Dead("a", 3, "b", id=bytes(16)),
        ObserverMessage(ObserverKind.POLL, "a", 3, 250, 7, True),
        LeaderMessage(LeaderKind.ASK, 7, b"p" * 8, b"s" * 8, 9, b"i" * 16, b"t" * 16, True, b"v" * 4, b"c"),
        LeaseMessage(b"t" * 16, b"p" * 8, b"s" * 8, (7, 8), lease_entries(), b"d" * 8, 9, 6_000, (8,)),
    ]
    head = PushPullHead("a", b"b" * 8, 7946, 1_700_000_000_000, True, b"f" * 16)
    return {Sample(codec.part(message), stream=False) for message in parts} | {
        Sample(codec.stream(PushPull((), head=head)), stream=True)
    }


def samples() -> list[Sample]:
    recorded = {
        Sample(data, vector["transport"] == "tcp", answering(vector))
        for vector in VECTORS
        for data in (opened(vector), content(vector))
    }
    return sorted(recorded | ours(), key=lambda sample: (sample.stream, sample.answering, sample.data))


class Fuzzer:
    """Makes inputs from one seed, and feeds them to codecs with and without keys and labels."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.samples = samples()
        self.packets = [sample.data for sample in self.samples if not sample.stream]
        self.keyring = Keyring([bytes(16), KEY], random_bytes=self.rng.randbytes)
        self.sealers = [kind([KEY], random_bytes=self.rng.randbytes) for kind in (OldKeyring, Keyring)]

    def mutate(self, data: bytes) -> bytes:
        """Damage in one to four places."""
        rng = self.rng
        mutated = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            place = rng.randrange(len(mutated) + 1)
            kind = rng.randrange(7)
            if kind == 0 and mutated:
                mutated[place % len(mutated)] ^= 1 << rng.randrange(8)
            elif kind == 1 and mutated:
                mutated[place % len(mutated)] = rng.choice(INTERESTING)
            elif kind == 2:
                del mutated[place : place + rng.choice((1, 2, 5, 40))]
            elif kind == 3:
                mutated[place:place] = rng.randbytes(rng.choice((1, 2, 5, 40)))
            elif kind == 4:
                mutated[place:place] = rng.choice(SPLICES)
            elif kind == 5:
                del mutated[place:]
            else:
                other = rng.choice(self.samples).data
                start = rng.randrange(len(other))
                mutated[place:place] = other[start : start + rng.randrange(60)]
        return bytes(mutated[:SIZE_MAX])

    def structured(self) -> bytes:
        """A well-formed map of field names with odd values, behind some type byte."""
        rng = self.rng
        fields = {
            rng.choice(
                (b"Node", b"SeqNo", b"Addr", b"Nodes", b"Buf", b"Payload", b"Vsn", b"swim", b"x", b"i", 7)
            ): self.value(3)
            for _ in range(rng.randrange(8))
        }
        return bytes((rng.choice(INTERESTING[:8]),)) + bytes(msgpack.packb(fields, use_bin_type=False))

    def value(self, depth: int) -> object:
        rng = self.rng
        kind = rng.randrange(10 if depth else 8)
        if kind == 8:
            return [self.value(depth - 1) for _ in range(rng.randrange(4))]
        if kind == 9:
            return {rng.choice((b"n", b"a", 1)): self.value(depth - 1) for _ in range(rng.randrange(4))}
        simple = (None, True, -1, 1 << 40, 2.5, 7, rng.randbytes(rng.randrange(20)), msgpack.ExtType(5, b"x"))
        return simple[kind]

    def layered(self, data: bytes) -> bytes:
        """More layers around it."""
        rng = self.rng
        for _ in range(rng.choice((0, 0, 1, 1, 2, 12))):
            kind = rng.randrange(5)
            if kind == 0:
                data = crc(data)
            elif kind == 1 and len(data) < 2_000:
                data = compress(data)
            elif len(data) < 20_000:
                data = many([data] * rng.choice((1, 2, 3)) + [rng.choice(self.packets)])
        return data[:SIZE_MAX]

    def input(self) -> tuple[bytes, bool, bool, Codec]:
        """Bytes, whether they are a stream, whether it is an answer, and who is to read them."""
        rng = self.rng
        sample = rng.choice(self.samples)
        kind = rng.randrange(20)
        if kind == 0:
            data = rng.randbytes(rng.choice((1, 10, 100, 1000)))
        elif kind < 4:
            data = self.structured()
        else:
            data = self.mutate(sample.data)
        if not sample.stream and rng.random() < 0.3:
            data = self.layered(data)
        label = rng.choice(("", "", "blue"))
        keyring = self.keyring if rng.random() < 0.3 else None
        data = self.outside(data, sample, label, keyed=keyring is not None)
        if rng.random() < 0.1:
            data = self.mutate(data)
        return data, sample.stream, sample.answering, Codec(label=label, keyring=keyring)

    def outside(self, data: bytes, sample: Sample, label: str, *, keyed: bool) -> bytes:
        """Sealed and labelled as the codec expects it."""
        if keyed and self.rng.random() < 0.9:
            sealer, header = self.rng.choice(self.sealers), b""
            if sample.stream:
                header = bytes((ENCRYPT,)) + sealer.sealed_size(len(data)).to_bytes(4, "big")
            data = header + sealer.seal(data, header + label.encode())
        if label and not sample.answering:
            data = bytes((0xF4, len(label))) + label.encode() + data
        return data

    def run_one(self, report: Report) -> None:
        data, stream, is_answer, codec = self.input()
        pieces = self.rng.choice((0, 0, 1, 3, 50)) if stream else 0
        started = time.process_time()  # other processes must not make an input look slow
        try:
            outcome = read_stream(codec, data, is_answer, pieces) if stream else read_packet(codec, data)
        except DecodeError as error:
            outcome = error.reason
        except Exception as error:
            outcome = "BUG"
            report.bugs.append(f"{error!r} from {'stream' if stream else 'packet'} {data.hex()}")
        seconds = time.process_time() - started
        if seconds > report.slowest:
            report.slowest = seconds
            what = f"{'stream' if stream else 'packet'} of {len(data)} bytes"
            report.slowest_input = f"input {report.count}, a {what}"
        report.count += 1
        report.outcomes[f"{'stream' if stream else 'packet'} {outcome}"] += 1


def read_packet(codec: Codec, data: bytes) -> str:
    """Read a packet, what is in its messages too, and write it again if all of it was read."""
    packet = codec.open_packet(data)
    for message in packet.messages:
        decode_tags(getattr(message, "meta", b""))
        decode_message(getattr(message, "payload", None) or b"")
    if packet.dropped or not 0 < len(packet.messages) <= 127:
        return "read in part"
    again = codec.open_packet(codec.packet([codec.part(message) for message in packet.messages]))
    assert again.messages == packet.messages
    return "read"


def read_stream(codec: Codec, data: bytes, is_answer: bool, pieces: int) -> str:
    decoder = codec.stream_decoder(answering=is_answer)
    size = pieces or len(data) or 1
    for start in range(0, len(data), size):
        message = decoder.feed(data[start : start + size])
        if message is not None:
            decode_message(getattr(message, "user_state", b""))
            again = codec.stream(message, answering=is_answer)
            assert codec.stream_decoder(answering=is_answer).feed(again) == message
            return "read in part" if decoder.dropped else "read"
    return "unfinished"


def fuzz(count: int, seed: int, progress: Callable[[Report], None] | None = None) -> Report:
    fuzzer, report = Fuzzer(seed), Report()
    for _ in range(min(count, 200)):  # so that only growth counts, not what is allocated once
        fuzzer.run_one(Report())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    for number in range(1, count + 1):
        fuzzer.run_one(report)
        if progress is not None and number % 100_000 == 0:
            progress(report)
    report.seconds = time.perf_counter() - started
    report.memory_growth = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.count} inputs", flush=True)
    report = fuzz(
        options.count, options.seed, lambda so_far: print(f"  {so_far.count}", file=sys.stderr, flush=True)
    )
    print(
        f"{report.count / report.seconds:.0f} inputs/s, memory grew by {report.memory_growth / 2**20:.1f} MiB"
    )
    print(f"slowest: {1000 * report.slowest:.1f} ms of processor time, {report.slowest_input}")
    print(json.dumps(dict(report.outcomes.most_common()), indent=2))
    for bug in sorted(set(report.bugs))[:20]:
        print(f"BUG (--count {options.count} --seed {options.seed}): {bug}")
    return 1 if report.bugs else 0


if __name__ == "__main__":
    sys.exit(main())
