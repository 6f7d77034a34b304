"""Text that people type, as values: addresses, keys, tags, settings. What is wrong is a `ValueError`."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import ipaddress
import math
import os
import stat
import string
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import click

from swim.config import Config
from swim.text import printable
from swim.wire.addresses import DEFAULT_PORT, parse_address

__all__ = [
    "parse_addresses",
    "parse_config",
    "parse_key",
    "parse_keys",
    "parse_names",
    "parse_networks",
    "parse_tags",
    "parse_text",
    "read_key",
    "usage",
]

_KEY_SIZES = (16, 24, 32)
_HEX_SIZES = tuple(2 * size for size in _KEY_SIZES)
_MISTYPED_SHARE_MAX = 0.25
"""Two thirds of the characters of random base64 are no such digits: of a million keys three have so few."""
_Value = TypeVar("_Value")


def usage(option: str, parse: Callable[..., _Value], *values: Any) -> _Value:
    """`parse(*values)`, whose `ValueError` becomes click's error about this option."""
    try:
        return parse(*values)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def parse_addresses(texts: Iterable[str]) -> list[str]:
    """`HOST[:PORT]` each, separated by commas or spaces, checked; nothing at all is fine."""
    found = [part for text in texts for part in text.replace(",", " ").split()]
    for part in found:
        parse_address(part, DEFAULT_PORT)
    return found


def parse_text(text: str) -> str:
    """Text as it is. The bytes of a command line need not be UTF-8; the wire's names are."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not UTF-8; write it in UTF-8") from None
    return text


def parse_tags(texts: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` each."""
    tags: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"{text!r} is not KEY=VALUE")
        if name.startswith("_"):
            raise ValueError(f"{name!r}: tag names that start with _ are swim's own; choose another")
        tags[parse_text(name)] = parse_text(value)
    return tags


def parse_key(text: str) -> bytes:
    """32, 48 or 64 hexadecimal digits are hexadecimal, everything else is base64.

    Text of such a length that is hexadecimal but for a few characters was mistyped: 32 of them would be
    taken for base64, and so for another key.
    """
    if len(text) in _HEX_SIZES:
        wrong = [place for place, digit in enumerate(text, 1) if digit not in string.hexdigits]
        if not wrong:
            return bytes.fromhex(text)
        if len(wrong) <= len(text) * _MISTYPED_SHARE_MAX:
            raise ValueError(f"the key looks hexadecimal, but character {wrong[0]} is no hexadecimal digit")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key is neither hexadecimal nor base64; make one with: swim keygen") from None
    if len(key) not in _KEY_SIZES:
        raise ValueError(f"a key has 16, 24 or 32 bytes, not {len(key)}; make one with: swim keygen")
    return key


def parse_keys(texts: Iterable[str]) -> list[bytes]:
    """Keys, or `@FILE` for a file with one key a line."""
    keys: list[bytes] = []
    for text in texts:
        if not text.startswith("@"):
            keys.append(parse_key(text))
            continue
        lines = _read_key_file(Path(text[1:])).split()
        if not lines:
            raise ValueError(f"the key file {text[1:]!r} is empty")
        keys.extend(parse_key(line) for line in lines)
    return keys


def _read_key_file(path: Path) -> str:
    """Its text. A file that others may write is refused; one that others may read is warned of."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ValueError(f"cannot read the key file {str(path)!r}: {reason}") from None
    if os.name == "posix" and stat.S_ISREG(mode):  # what a shell's <(command) gives is a pipe
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError(
                f"others may write the key file {str(path)!r}: chmod go-rwx it, and change the key"
            )
        if mode & (stat.S_IRGRP | stat.S_IROTH):
            click.echo(
                printable(f"warning: others may read the key file {str(path)!r}: chmod go-rwx it"), err=True
            )
    return text


def parse_networks(texts: Iterable[str]) -> list[str]:
    """CIDR each, separated by commas or spaces, checked."""
    found = [part for text in texts for part in text.replace(",", " ").split()]
    for part in found:
        ipaddress.ip_network(part)
    return found


def parse_names(texts: Iterable[str]) -> list[str]:
    """Names of members, separated by commas or spaces; none where there is nothing to parse."""
    found = []
    for text in texts:
        names = text.replace(",", " ").split()
        if not names:  # an empty variable of a script, most likely: the lease should not be lost that way
            raise ValueError("no name given; leave the option out to have no voters")
        found += [parse_text(name) for name in names]
    return found


def read_key(ctx: click.Context, param: click.Parameter, value: str | None) -> bytes | None:
    """The callback of a `--key` option that takes one key."""
    if value is None:
        return None
    try:
        return parse_keys([value])[0]
    except ValueError as error:
        raise click.UsageError(f"--key: {error}", ctx) from None


class FiniteRange(click.FloatRange):
    """As its base, which lets nan and inf pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def _setting(kind: type, name: str, text: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} is true or false, not {text!r}")
        return text.lower() == "true"
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(
            f"{name} takes {'a whole number' if kind is int else 'a number'}, not {text!r}"
        ) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} takes a finite number, not {text!r}")
    return value


def parse_config(profile: str, settings: Iterable[str]) -> Config:
    """A profile with some of its fields changed: `OPTION=VALUE` each."""
    kinds = get_type_hints(Config)
    names = [field.name for field in dataclasses.fields(Config)]
    changes: dict[str, Any] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ValueError(f"{text!r} is not OPTION=VALUE")
        if name not in names:
            raise ValueError(f"there is no setting {name!r}; there are: {', '.join(names)}")
        changes[name] = _setting(kinds[name], name, value.strip())
    config: Config = getattr(Config, profile)(**changes)
    return config
