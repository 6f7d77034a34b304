"""Every message of release 0.1.0, with all its fields and with as few as it can have, and its recorded bytes.

Later versions must go on reading these bytes as these messages: what is added to a message has a default,
and its default is what these have. `python -m tests.wire.release` records the bytes; once 0.1.0 is released,
never do that again, and give a later release a list of its own.
"""

from __future__ import annotations

import json
from pathlib import Path

from swim.wire import Codec, Keyring
from swim.wire.kept import Data, Frame, Hello, KeptChannel, Packet, Sign, Taken
from swim.wire.leases import LeaseEntry, LeaseKind, LeaseMessage
from swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorMessage,
    LeaderKind,
    LeaderMessage,
    Message,
    Nack,
    NodeState,
    ObserverKind,
    ObserverMessage,
    Ping,
    PingReq,
    PushPull,
    PushPullHead,
    Refusal,
    Standing,
    StreamMessage,
    Suspect,
    UserMessage,
    WireState,
)
from swim.wire.records import Kind, Record, pack_failure, pack_record
from swim.wire.serf import SerfType, encode_message, encode_tags
from tests.wire.vectors import seeded_bytes

RECORDED = Path(__file__).parents[1] / "data" / "release-0.1.0.json"
KEY, LABEL = bytes(range(32)), "blue"

HERE, PORT = bytes((10, 0, 0, 7)), 7946
BOOT, OTHER, ID, TOKEN = b"bootboot", b"tootboot", b"\x01" * 16, b"\x02" * 16
VERSIONS = bytes((1, 5, 2, 2, 5, 4))
META = encode_tags({"role": "db", "_id": "0" * 26})
STANDING = Standing(BOOT, ID, ID, ID, HERE + b"\x1f\x0a", TOKEN, TOKEN)

DATAGRAMS: dict[str, Message] = {
    "ping": Ping(7),
    "ping, all of it": Ping(7, "b", HERE, PORT, "a", ID, b"viewhash", 9),
    "indirect ping": PingReq(7, "b", HERE, PORT),
    "indirect ping, all of it": PingReq(7, "b", HERE, PORT, True, HERE, PORT, "a"),
    "ack": Ack(7),
    "ack, all of it": Ack(7, b"coordinate", ID, BOOT, 800, unknown=True),
    "nack": Nack(7),
    "suspect": Suspect("b", 3, "a"),
    "dead": Dead("b", 3, "a"),
    "left": Dead("b", 3, "b"),
    "dead, all of it": Dead("b", 3, "a", ID, True, "silence"),
    "alive": Alive("b", 3, HERE, PORT, META, VERSIONS),
    "user": UserMessage(encode_message(SerfType.LEAVE, {"LTime": 5, "Node": "a", "Prune": False})),
    **{f"opinion, {kind.name}": ObserverMessage(kind, "b", 3) for kind in ObserverKind},
    "opinion, all of it": ObserverMessage(
        ObserverKind.POLL, "b", 3, 250, 4, True, BOOT, "a", BOOT, OTHER, 12
    ),
    **{f"claim, {kind.name}": LeaderMessage(kind, 2, BOOT, b"between!") for kind in LeaderKind},
    **{f"claim, refused: {why.name}": LeaderMessage(LeaderKind.REFUSE, 2, reason=why) for why in Refusal},
    "claim, all of it": LeaderMessage(
        LeaderKind.GRANT, 2, BOOT, b"between!", 5, ID, TOKEN, True, b"digest", b"setup", 300, Refusal.GRANTED
    ),
    **{f"lease, {kind.name}": LeaseMessage(TOKEN, entries=(LeaseEntry(kind),)) for kind in LeaseKind},
    "lease, all of it": LeaseMessage(
        TOKEN,
        BOOT,
        b"between!",
        (1, 2),
        (LeaseEntry(LeaseKind.WANT, 3, "invoice/42", b"T" * 24, 4, True),),
        b"digest!!",
        9,
        6_000,
        (7,),
    ),
}
NODES = tuple(NodeState("b", 3, HERE, PORT, META, state, VERSIONS) for state in WireState)
GREETING = PushPullHead("a", BOOT, PORT, 1_700_000_000_000, True, ID, b"", "b", b"", b"setup", 3, OTHER, True)
STREAMED: dict[str, StreamMessage] = {
    "look": PushPull(()),
    "exchange": PushPull(NODES, head=GREETING),
    "join": PushPull(NODES[:1], join=True, user_state=b"state", head=PushPullHead("a", BOOT, PORT)),
    "gone for a while": PushPull((NodeState("b", 3, HERE, PORT, META, WireState.DEAD, VERSIONS, age=60),)),
    "ping by name": Ping(7, "b", source_node="a", standing=STANDING),
    "ack by name": Ack(7, standing=STANDING),
    "user": UserMessage(b"\x00\x00\x00question"),
    "error": ErrorMessage("remote state is encrypted and encryption is not configured"),
}
CALL = b"C" * 8
RECORDS = [
    Record(b"hello"),
    Record(b"hello", Kind.MESSAGE, "topic"),
    Record(b"question", Kind.REQUEST, "topic", CALL),
    Record(b"answer", Kind.ANSWER, "", CALL),
    Record(pack_failure("ValueError", "no"), Kind.FAILURE, "", CALL),
    Record(b"", Kind.CANCEL, "", CALL),
]
OPENING: list[Frame] = [
    Hello("a", BOOT, b"A" * 16, to="b", line=b"lineline"),
    Sign.READY,
    Data(1, b"".join(map(pack_record, RECORDS))),
    Packet(b"\x00"),
    Sign.BYE,
]
ACCEPTING: list[Frame] = [Hello("b", OTHER, b"B" * 16, memory=b"memories"), Taken(6)]


def codec(*, sealed: bool) -> Codec:
    if not sealed:
        return Codec()
    return Codec(label=LABEL, keyring=Keyring([KEY], random_bytes=seeded_bytes(1)))


def conversation(*, sealed: bool) -> list[tuple[bool, bytes, Frame]]:
    """A kept stream: whether the opener writes, what it writes, and what that says."""
    ends = {True: channel(sealed=sealed, opener=True), False: channel(sealed=sealed, opener=False)}
    said = [(True, OPENING[0]), (False, ACCEPTING[0]), *((True, frame) for frame in OPENING[1:-1])]
    written = []
    for opener, frame in [*said, (False, ACCEPTING[1]), (True, OPENING[-1])]:
        data = ends[opener].encode(frame)
        ends[not opener].feed(data)
        written.append((opener, data, frame))
    return written


def channel(*, sealed: bool, opener: bool) -> KeptChannel:
    return codec(sealed=sealed).kept_channel(opener=opener)


def recorded() -> dict[str, dict[str, str]]:
    """What this version writes, in hexadecimal."""
    plain = codec(sealed=False)
    sealed = codec(sealed=True)
    some = [sealed.part(message) for message in DATAGRAMS.values() if isinstance(message, Ping | Suspect)]
    return {
        "datagrams": {name: plain.packet([plain.part(message)]).hex() for name, message in DATAGRAMS.items()},
        "streams": {name: plain.stream(message).hex() for name, message in STREAMED.items()},
        "sealed": {
            "datagram": sealed.packet(some).hex(),
            "stream": sealed.stream(STREAMED["exchange"]).hex(),
        },
        "kept": {str(n): data.hex() for n, (_, data, _) in enumerate(conversation(sealed=False))},
        "kept, sealed": {str(n): data.hex() for n, (_, data, _) in enumerate(conversation(sealed=True))},
    }


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(recorded(), indent=1) + "\n", encoding="utf-8")
