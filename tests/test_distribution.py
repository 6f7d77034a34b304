"""What is published: a wheel and a source distribution that install elsewhere, and a reference of the API."""

from __future__ import annotations

import email
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.house import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What .gitignore says, too.
NOT_PUBLISHED = shutil.ignore_patterns(
    ".git", ".*cache", ".hypothesis", "__pycache__", "venv", ".venv", "quick", "build", "dist", "*.egg-info"
)


def run(*arguments: str, cwd: Path, path: str = "") -> str:
    """A fresh interpreter that does not find this checkout."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both distributions, built from a copy, so that the checkout stays as it is."""
    pytest.importorskip("build", reason="needs the extra dev")
    pytest.importorskip("hatchling", reason="needs the extra dev")
    source = tmp_path_factory.mktemp("made") / "source"
    shutil.copytree(ROOT, source, ignore=NOT_PUBLISHED)
    run("-m", "build", "--no-isolation", cwd=source)
    return source / "dist"


def test_both_distributions_are_whole(built: Path) -> None:
    pytest.importorskip("twine", reason="needs the extra dev")
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    assert wheel.name == f"trio_swim-{PROJECT['version']}-py3-none-any.whl"
    assert run("-m", "twine", "check", "--strict", str(wheel), str(sdist), cwd=built).count("PASSED") == 2
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "swim").rglob("*.py")} | {"swim/py.typed"}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(archive.read(metadata))
    assert modules <= names
    assert {name.partition("/")[0] for name in names} == {"swim", metadata.partition("/")[0]}
    with tarfile.open(sdist) as archive:
        published = {name.partition("/")[2] for name in archive.getnames()}
    source = built.parent
    files = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    files -= {f"dist/{path.name}" for path in built.iterdir()}
    assert published - {"PKG-INFO"} == files
    assert about["License-Expression"] == "MIT"
    assert about["Description-Content-Type"] == "text/markdown"
    assert about.get_all("Project-URL")


def test_the_wheel_runs_outside_a_checkout(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    target = tmp_path / "site"
    run(
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
        cwd=tmp_path,
    )
    said = run("-c", "import swim; print(swim.__file__); swim.open_cluster", cwd=tmp_path, path=str(target))
    assert said.startswith(str(target))
    assert PROJECT["version"] in run("-m", "swim", "--version", cwd=tmp_path, path=str(target))


def test_the_reference_is_built_from_the_docstrings_without_a_warning(tmp_path: Path) -> None:
    """By the command that swim/README.md gives."""
    pytest.importorskip("pdoc", reason="needs the extra docs")
    page = (ROOT / "swim/README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^python -m pdoc (.*)$", page, re.MULTILINE)
    arguments = [str(tmp_path) if word == "DIRECTORY" else word for word in shlex.split(command)]
    said = run("-W", "error", "-m", "pdoc", *arguments, cwd=tmp_path, path=str(ROOT))
    assert "Warn" not in said
    for module, names in {
        "swim.html": ("open_cluster", "Cluster.request", "Config.silence_tolerance", "MemberFailed"),
        "swim/simulation.html": ("World",),
        "swim/testing.html": ("World",),
        "swim/metrics.html": ("Collector",),
    }.items():
        text = (tmp_path / module).read_text(encoding="utf-8")
        assert [name for name in names if f'id="{name}"' not in text] == []
