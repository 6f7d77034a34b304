"""Keys: sealing, opening, changing them, and what is said about wrong ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

from swim.errors import KeyringError
from swim.wire import Codec, DecodeError, Keyring
from swim.wire.messages import Nack, Ping, UserMessage
from tests.wire.sealing import OldKeyring
from tests.wire.vectors import seeded_bytes

OLD, NEW = b"o" * 16, b"n" * 32


def keyring(*keys: bytes, version: int = 1) -> Keyring:
    return (OldKeyring, Keyring)[version](keys, random_bytes=seeded_bytes(3))


def packet(codec: Codec) -> bytes:
    return codec.packet([codec.part(Nack(7))])


def test_sealed_bytes_are_version_nonce_ciphertext_tag() -> None:
    nonces: list[int] = []

    def nonce(size: int) -> bytes:
        nonces.append(size)
        return b"N" * size

    sealed = Keyring([OLD], random_bytes=nonce).seal(b"hello", b"label")
    assert nonces == [12]
    assert sealed[:13] == b"\x01" + b"N" * 12
    assert len(sealed) == 13 + 5 + 16


@pytest.mark.parametrize("key", [b"k" * 16, b"k" * 24, b"k" * 32])
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
def test_round_trip(key: bytes, version: int, size: int) -> None:
    ring = keyring(key, version=version)
    sealed = ring.seal(b"x" * size, b"label")
    assert ring.sealed_size(size) == len(sealed) <= size + ring.sealed_size(0)
    # The receiver goes by the version in the bytes, whatever it sends itself.
    assert keyring(key, version=1 - version).open(sealed, b"label") == b"x" * size


def test_a_key_is_changed_while_running() -> None:
    ours, theirs = keyring(OLD), keyring(OLD)
    a, b = Codec(keyring=ours), Codec(keyring=theirs)
    for keys in [(OLD, NEW), (NEW, OLD), (NEW,)]:
        ours.replace(keys)
        assert b.open_packet(packet(a)).messages == (Nack(7),)
        assert a.open_packet(packet(b)).messages == (Nack(7),)
        theirs.replace(keys)
        assert b.open_packet(packet(a)).messages == (Nack(7),)
        assert a.open_packet(packet(b)).messages == (Nack(7),)
    ours.replace([OLD])
    with pytest.raises(DecodeError) as caught:
        a.open_packet(packet(b))
    assert caught.value.reason == "decrypt"


def test_a_replacement_that_fails_changes_nothing() -> None:
    ring = keyring(OLD)
    with pytest.raises(KeyringError):
        ring.replace([NEW, b"short"])
    assert ring.open(keyring(OLD).seal(b"x", b""), b"") == b"x"


def test_the_right_key_is_found_among_many() -> None:
    assert keyring(NEW, b"x" * 24, OLD).open(keyring(OLD).seal(b"x", b""), b"") == b"x"


@pytest.mark.parametrize("keys", [(), (b"",), (b"k" * 15,), (OLD, b"k" * 33)])
def test_a_wrong_key_is_refused_with_advice(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(KeyringError, match=r"16, 24 or 32 bytes|at least one key"):
        keyring(*keys)


@pytest.mark.parametrize(
    ("sealed", "reason"),
    [
        (b"", "truncated"),
        (b"\x01" + bytes(27), "truncated"),
        (b"\x02" + bytes(40), "version"),
        (b"\x01" + bytes(40), "decrypt"),
        (b"\x00" + bytes(40), "decrypt"),
    ],
)
def test_what_cannot_be_opened(sealed: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        keyring(OLD).open(sealed, b"")
    assert caught.value.reason == reason


@pytest.mark.parametrize("content", [b"", b"abc\x00", b"abc\x11" * 8, b"\x05"])
def test_wrong_padding(content: bytes) -> None:
    sealed = bytearray(keyring(OLD).seal(content, b""))
    sealed[0] = 0  # the version is not authenticated: memberlist's is not either
    with pytest.raises(DecodeError) as caught:
        keyring(OLD).open(bytes(sealed), b"")
    assert caught.value.reason == "decrypt"


def test_other_associated_data_does_not_open() -> None:
    with pytest.raises(DecodeError) as caught:
        keyring(OLD).open(keyring(OLD).seal(b"x", b"blue"), b"green")
    assert caught.value.reason == "decrypt"


def test_secrets_are_not_shown() -> None:
    assert repr(keyring(OLD, NEW)) == "<Keyring of 2 keys>"


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("label", ["", "blue"])
def test_overhead_is_never_exceeded(version: int, label: str) -> None:
    codec = Codec(label=label, keyring=keyring(OLD, version=version))
    for size in range(40):
        part = codec.part(UserMessage(b"x" * size))
        assert len(codec.packet([part])) <= len(part) + codec.packet_overhead


@pytest.mark.parametrize(("label", "version", "overhead"), [("", 1, 29), ("", 0, 45), ("blue", 1, 35)])
def test_overhead_is_memberlists(label: str, version: int, overhead: int) -> None:
    assert Codec(label=label, keyring=keyring(OLD, version=version)).packet_overhead == overhead


def test_without_keys_or_label_there_is_no_overhead() -> None:
    assert Codec().packet_overhead == 0


def test_plaintext_is_refused_by_a_node_with_a_key() -> None:
    keyed, keyless = Codec(keyring=keyring(OLD)), Codec()
    with pytest.raises(DecodeError) as caught:
        keyed.open_packet(packet(keyless))
    assert caught.value.reason == "plaintext"
    ping = keyless.packet([keyless.part(Ping(1, "node-with-a-long-enough-name"))])
    with pytest.raises(DecodeError) as caught:  # its type byte reads as a version of the encryption
        keyed.open_packet(ping)
    assert caught.value.reason == "decrypt"


@pytest.mark.parametrize("label", ["", "blue"])
def test_nothing_at_all_and_nothing_sealed(label: str) -> None:
    codec = Codec(label=label, keyring=keyring(OLD))
    header = Codec(label=label).packet([b""])
    for data in (header, codec.packet([b""])):
        with pytest.raises(DecodeError) as caught:
            codec.open_packet(data)
        assert caught.value.reason == "truncated"


def test_encrypted_packets_mean_nothing_to_a_node_without_keys() -> None:
    with pytest.raises(DecodeError) as caught:
        Codec().open_packet(packet(Codec(keyring=keyring(OLD))))
    assert caught.value.reason == "body"


WITHOUT_CRYPTOGRAPHY = """
import sys
sys.modules["cryptography"] = None
from swim.errors import KeyringError
from swim.wire import Codec, Keyring
from swim.wire.messages import Nack
codec = Codec()
assert codec.open_packet(codec.packet([codec.part(Nack(1))])).messages == (Nack(1),)
try:
    Keyring([bytes(16)], random_bytes=bytes)
except KeyringError as error:
    print(error)
assert "trio" not in sys.modules
"""


def test_cryptography_is_needed_only_for_keys() -> None:
    command = [sys.executable, "-c", WITHOUT_CRYPTOGRAPHY]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 'pip install "trio-swim[crypto]"' in result.stdout
