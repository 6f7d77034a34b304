"""What people type, and what they are told when it is wrong: one line that says what to change."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import string
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from swim.cli import root
from swim.cli.options import parse_addresses, parse_config, parse_keys, parse_networks, parse_tags
from swim.cli.root import cli
from swim.config import Config
from tests.cli.agents import ROOT, environment, swim


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="swim", input=stdin)


# --- values


def test_addresses_are_separated_by_commas_or_repeated_or_absent() -> None:
    assert parse_addresses(["a:1,b:2", "", "[::1]:3"]) == ["a:1", "b:2", "[::1]:3"]
    assert parse_addresses(["", " , "]) == []


def test_settings_have_the_type_of_their_field() -> None:
    config = parse_config("wan", ["probe_interval=0.25", "fanout=3", "push-pull-interval = 7"])
    assert config == Config.wan(probe_interval=0.25, fanout=3, push_pull_interval=7.0)
    assert type(config.fanout) is int
    assert type(config.push_pull_interval) is float


@pytest.mark.parametrize(
    "setting", ["fanout=1.5", "probe_interval=soon", "probe_interval=nan", "stream_timeout=inf"]
)
def test_settings_of_the_wrong_type_are_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=setting.partition("=")[0]):
        parse_config("lan", [setting])


def test_an_unknown_setting_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"there is no setting 'patience'.*silence_tolerance"):
        parse_config("lan", ["patience=3"])


def test_tags() -> None:
    assert parse_tags(["role=db", "note=a=b", "empty="]) == {"role": "db", "note": "a=b", "empty": ""}
    for wrong in ("role", "=db", "_id=x"):
        with pytest.raises(ValueError, match=re.escape(repr(wrong.partition("=")[0] or wrong))):
            parse_tags([wrong])


@pytest.mark.parametrize("size", [16, 24, 32])
def test_keys_are_hexadecimal_by_their_length_else_base64(size: int) -> None:
    key = bytes(range(100, 100 + size))
    assert parse_keys([key.hex(), key.hex().upper(), base64.b64encode(key).decode()]) == [key] * 3


def test_keys_from_a_file_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{'00' * 16}\n{base64.b64encode(bytes(32)).decode()}\n")
    file.chmod(0o600)
    assert parse_keys([f"@{file}", "11" * 24]) == [bytes(16), bytes(32), b"\x11" * 24]


@pytest.mark.parametrize("typed", ["0" * 31 + "O", "l" + "1" * 31, "abcdefgh" + "a" * 24])
def test_a_mistyped_hexadecimal_key_is_not_taken_for_base64(typed: str) -> None:
    assert len(base64.b64decode(typed, validate=True)) == 24, "it would be a key, but another one"
    place = next(place for place, digit in enumerate(typed, 1) if digit not in string.hexdigits)
    with pytest.raises(ValueError, match=f"looks hexadecimal, but character {place} "):
        parse_keys([typed])


@given(st.binary(min_size=24, max_size=24))
def test_random_keys_of_base64_do_not_look_hexadecimal(key: bytes) -> None:
    text = base64.b64encode(hashlib.sha256(key).digest()[:24]).decode()
    assert parse_keys([text]) == [hashlib.sha256(key).digest()[:24]]


def test_a_key_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("00" * 16)
    for mode in (0o620, 0o602, 0o666):
        file.chmod(mode)
        with pytest.raises(ValueError, match="others may write the key file"):
            parse_keys([f"@{file}"])


def test_a_key_file_that_others_may_read_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    file.write_text("00" * 16)
    for mode, warned in ((0o600, False), (0o400, False), (0o640, True), (0o644, True), (0o604, True)):
        file.chmod(mode)
        assert parse_keys([f"@{file}"]) == [bytes(16)]
        assert ("others may read the key file" in capsys.readouterr().err) is warned


def test_bad_keys_are_never_shown(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for wrong, message in {
        "c2VjcmV0": "16, 24 or 32 bytes, not 6",
        "se cret": "neither hexadecimal nor base64",
        f"@{empty}": "is empty",
        f"@{binary}": "not text",
        f"@{tmp_path}/none": "No such file",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            parse_keys([wrong])
        assert "c2VjcmV0" not in str(caught.value)
        assert "se cret" not in str(caught.value)


def test_networks() -> None:
    assert parse_networks(["10.0.0.0/8,::1/128", "127.0.0.1"]) == ["10.0.0.0/8", "::1/128", "127.0.0.1"]
    with pytest.raises(ValueError, match="everywhere"):
        parse_networks(["everywhere"])


# --- commands


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("frobnicate", "No such command 'frobnicate'"),
        ("agent --frobnicate", "--frobnicate"),
        ("agent --bind 127.0.0.1:x", "--bind: '127.0.0.1:x' is not an address"),
        ("agent --bind [::1]:x", "--bind"),
        ("agent --advertise h:99999", "--advertise"),
        ("agent --join a:1,b:c", "--join: 'b:c' is not an address"),
        ("agent --profile moon", "'lan', 'wan', 'local'"),
        ("agent --set patience=3", "there is no setting 'patience'"),
        ("agent --set probe_interval=-1", "probe_interval must be greater than 0"),
        ("agent --set packet_size_max=512", "packet_size_max must be at least 1024"),
        ("agent --tag role", "'role' is not KEY=VALUE"),
        ("agent --key secret", "swim keygen"),
        ("agent --allow everywhere", "--allow"),
        ("agent --name two\twords", "--name"),
        ("agent --voters a,,b, --voters ,", "--voters: no name given"),
        ("agent --bind 127.0.0.1:0 --voters a,b,a", "'a' is named more than once"),
        ("agent --ticks", "--ticks needs --json"),
        ("agent --count 0", "--count"),
        ("agent --count 3", "--count needs --name"),
        ("agent --name n --count 3 --bind 127.0.0.1:65534", "there are not 3 ports"),
        ("members", "HOST[:PORT]"),
        ("members no:where", "'no:where' is not an address"),
        ("members h:1 --key secret", "--key"),
        ("keygen --bits 7", "'128', '192', '256'"),
        ("decode", "HEX is missing"),
        ("decode 00", "--transport is missing"),
        ("decode --transport udp 0x", "not hexadecimal"),
        ("decode --jsonl 00", "leave out HEX"),
        ("demo --nodes 1", "--nodes"),
    ],
)
def test_a_bad_option_is_one_line_and_status_2(arguments: str, said: str) -> None:
    result = run(*arguments.split(" "))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


@pytest.mark.parametrize("option", ["--name=\udcff", "--label=\udcff", "--tag=a=\udcff", "--tag=\udcff=a"])
def test_text_that_is_not_utf8_is_refused(option: str) -> None:
    result = run("agent", option)
    assert result.exit_code == 2
    assert "is not UTF-8" in result.stderr


def test_help_has_examples() -> None:
    assert "swim demo" in run().stdout
    for command in ("agent", "members", "keygen", "decode", "demo"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert "Usage: swim" in result.stdout
    assert "swim agent --name a" in run("agent", "-h").stdout


@pytest.mark.parametrize("command", ["", *cli.list_commands(click.Context(cli))])
def test_help_fits_into_80_columns(command: str) -> None:
    result = CliRunner().invoke(cli, [*command.split(), "--help"], prog_name="swim", terminal_width=80)
    assert [line for line in result.stdout.splitlines() if len(line) > 80] == []


def test_the_version_is_the_projects_installed_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--version").stdout.startswith("swim ")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert root._version() == f"{version} (a checkout that is not installed)"


def test_keygen() -> None:
    keys = [run("keygen", "--bits", bits).stdout for bits in ("128", "192", "256")]
    assert [len(base64.b64decode(key)) for key in keys] == [16, 24, 32]
    assert run("keygen").stdout != run("keygen").stdout
    as_hex = run("keygen", "--hex").stdout.strip()
    assert len(bytes.fromhex(as_hex)) == 32
    assert parse_keys([as_hex]) == [bytes.fromhex(as_hex)]


def test_a_missing_extra_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('no click', name='click')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import swim.cli; swim.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == 'swim: the command line needs click and rich: pip install "trio-swim[cli]"\n'


def test_a_key_without_cryptography_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cryptography.py").write_text("raise ModuleNotFoundError('no cryptography')")
    paths = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "swim", "agent", "--bind", "127.0.0.1:0", "--key", "ab" * 16],
        env=environment() | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        'swim agent: encryption needs the package cryptography: pip install "trio-swim[crypto]"\n'
    )


def test_python_dash_m_is_the_same_command() -> None:
    assert swim("--version").stdout == run("--version").stdout
    assert swim("frobnicate").returncode == 2
