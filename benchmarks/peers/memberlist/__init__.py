"""Builds the Go program beside this file against Debian's memberlist, outside the source tree.

`python -m benchmarks.peers.memberlist` builds it and prints where it is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.peers import Absent, Peer

__all__ = ["INSTALL", "build", "find"]

INSTALL = "apt-get install -y golang-go golang-github-hashicorp-memberlist-dev"
SOURCE = Path(__file__).with_name("main.go")
GOPATH = Path("/usr/share/gocode")  # where Debian's -dev packages are
PACKAGE = GOPATH / "src/github.com/hashicorp/memberlist"
BUILD_SECONDS_MAX = 300


def build() -> Path | Absent:
    """Compile the program unless this very one is in the cache already."""
    go = shutil.which("go")
    if go is None:
        return Absent("memberlist", "there is no Go compiler", INSTALL)
    if not PACKAGE.is_dir():
        return Absent("memberlist", f"there is no {PACKAGE}", INSTALL)
    program = _cache() / f"memberlist-{_fingerprint(go)}"
    if not program.exists():
        failure = _compile(go, program)
        if failure:
            return Absent("memberlist", f"go build failed: {failure}", INSTALL)
    return program


def find() -> Peer | Absent:
    """The program, built, as a peer."""
    program = build()
    if isinstance(program, Absent):
        return program
    return Peer("memberlist", (str(program),), _package_version())


def _compile(go: str, program: Path) -> str:
    """Build next to the target and move it there, so that two builders at once do no harm."""
    program.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "GOPATH": str(GOPATH),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
        "GOCACHE": os.environ.get("GOCACHE", str(program.parent / "go-build")),
    }
    with tempfile.TemporaryDirectory(dir=program.parent) as directory:
        output = Path(directory) / program.name
        try:
            done = subprocess.run(
                [go, "build", "-o", str(output), str(SOURCE)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=BUILD_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"not done within {BUILD_SECONDS_MAX} s"
        if done.returncode != 0:
            return done.stderr.strip()
        output.replace(program)
    return ""


def _fingerprint(go: str) -> str:
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    parts = (SOURCE.read_text(encoding="utf-8"), version, _package_version())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _package_version() -> str:
    query = ["dpkg-query", "-W", "-f", "${Version}", "golang-github-hashicorp-memberlist-dev"]
    if shutil.which(query[0]) is None:
        return "unknown"
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _cache() -> Path:
    """`$XDG_CACHE_HOME` or `~/.cache`; a directory of our own under /tmp where the home is read-only."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trio-swim"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError:
        base = Path(tempfile.gettempdir()) / f"trio-swim-{os.getuid()}"
    return base
