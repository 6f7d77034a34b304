"""The house rules, as tests: who may import whom, what the core may not do, how big
things may grow, and which names are public. (`test_pages` holds what the pages say.)"""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.house import PACKAGE, ROOT, Module, ambient, foreign_writes, modules, set_iterations

MODULES = modules()
NAMES = {module.name for module in MODULES}
CORE = [module for module in MODULES if module.name.startswith(("swim.wire", "swim.protocol"))]

VALUES = ["config", "errors", "events", "messages", "spreading", "statistics", "text", "types"]
FACE = ["cluster", "metrics"]
PACKAGES = {
    "values": 364,
    "swim.wire": 2_275,
    "swim.protocol.view": 620,
    "swim.protocol.base": 450,
    "swim.protocol.gossip": 815,
    "swim.protocol.leadership": 1_510,
    "swim.protocol.membership": 1_000,
    "swim.protocol.detector": 1_340,
    "swim.protocol.exchange": 1_000,
    "swim.protocol.leases": 900,
    "swim.protocol": 775,
    "swim.runtime.arguments": 38,
    "swim.runtime.network": 75,
    "swim.runtime.nurseries": 20,
    "swim.runtime.turns": 45,
    "swim.runtime.sockets": 540,
    "swim.runtime.feeds": 325,
    "swim.runtime.kept": 1_455,
    "swim.runtime": 1_290,
    "face": 588,
    "swim.simulation": 2_200,
    "swim.testing": 1_550,
    "swim.cli": 3_515,
}
"""From the ground up: the modules of each import its own and those of the packages before it in this list. A
new package says here where it belongs. `values` and `face` are the modules of `swim` itself.

How many code lines it may have in all: a little more than it has. To raise one is a line in the CHANGELOG,
with the reason."""
TRIO = ("swim.runtime", *(f"swim.{name}" for name in FACE))
SIMULATION = "swim.simulation"
MAY_IMPORT_TRIO = (*TRIO, "swim.testing", "swim.cli")

MODULE_LINES_MAX = 350
FUNCTION_LINES_MAX = 50

PUBLIC = [
    "Address",
    "AddressInUse",
    "Answer",
    "Broadcast",
    "Cluster",
    "Config",
    "DirectMessage",
    "Event",
    "EventStream",
    "Explanation",
    "HeldOff",
    "JoinError",
    "KeyringError",
    "Lagged",
    "LeaderChanged",
    "Leadership",
    "Lease",
    "LeaseLost",
    "LeaseRefused",
    "Member",
    "MemberFailed",
    "MemberJoined",
    "MemberLeft",
    "MemberRecovered",
    "MemberState",
    "MemberSuspected",
    "MemberUpdated",
    "MessageStream",
    "NameConflict",
    "NameDisputed",
    "PayloadTooLarge",
    "RequestError",
    "SendError",
    "Snapshot",
    "Statistics",
    "SwimError",
    "TagsError",
    "Term",
    "VotersDiffer",
    "VotersError",
    "open_cluster",
    "rendezvous",
]


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Is the module (or something taken from it) part of one of the packages?"""
    return any(name == package or name.startswith(package + ".") for package in packages)


def package_of(name: str) -> str:
    """The entry of `PACKAGES` to which a module belongs."""
    own = name.removeprefix("swim.")
    if own in VALUES:
        return "values"
    if own in FACE or name == "swim":
        return "face"
    if name == "swim.__main__":
        return "swim.cli"
    found = [package for package in PACKAGES if within(name, (package,))]
    assert found, f"add the package of {name} to PACKAGES"
    return max(found, key=len)


def imported(module: Module) -> list[str]:
    """The modules of the library that a module imports anywhere in it; `swim` itself is only a door."""
    found = dict[str, None]()
    for name in module.imports:
        while name not in NAMES and "." in name:
            name = name.rpartition(".")[0]
        if within(name, ("swim",)) and name not in ("swim", module.name):
            found[name] = None
    return sorted(found)


def run_python(*arguments: str, cwd: Path = ROOT, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that finds this checkout."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


# --- imports


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
class TestImports:
    def test_goes_down_only(self, module: Module) -> None:
        order = list(PACKAGES)
        own = order.index(package_of(module.name))
        above = [name for name in imported(module) if order.index(package_of(name)) > own]
        assert above == [], f"{module.name} imports what stands above it"

    def test_wire_imports_nothing_above_it(self, module: Module) -> None:
        if within(module.name, ("swim.wire",)):
            allowed = ("swim.wire", "swim.types", "swim.errors", "swim.config")
            ours = [name for name in module.imports if within(name, ("swim",))]
            assert [name for name in ours if not within(name, allowed)] == []

    def test_the_two_drivers_never_meet(self, module: Module) -> None:
        if within(module.name, (SIMULATION,)):
            assert not any(within(name, TRIO) for name in module.imports)
        if within(module.name, TRIO) or module.name == "swim":
            assert not any(within(name, (SIMULATION,)) for name in module.imports)

    def test_only_the_driver_knows_trio(self, module: Module) -> None:
        if not within(module.name, MAY_IMPORT_TRIO):
            assert not any(within(name, ("trio",)) for name in module.imports)


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter({module.name: imported(module) for module in MODULES}).prepare()


@pytest.mark.parametrize("package", ["swim", "swim.wire", "swim.protocol", "swim.simulation"])
def test_imports_without_trio(package: str) -> None:
    done = run_python("-c", f"import sys; sys.modules['trio'] = None; import {package}")
    assert done.returncode == 0, done.stderr


def test_importing_the_library_does_not_import_an_extra() -> None:
    extras = ["cryptography", "click", "rich", "prometheus_client"]
    blocked = "; ".join(f"sys.modules['{extra}'] = None" for extra in extras)
    done = run_python("-c", f"import sys; {blocked}; import swim; swim.open_cluster")
    assert done.returncode == 0, done.stderr


def test_an_agent_imports_nothing_large_that_it_hardly_needs() -> None:
    large = ["asyncio", "decimal", "statistics", "tomllib", "importlib.metadata", "rich.table"]
    blocked = "; ".join(f"sys.modules['{module}'] = None" for module in large)
    done = run_python("-c", f"import sys; {blocked}; import swim.cli.root, swim.cli.agent")
    assert done.returncode == 0, done.stderr


# --- the core


@pytest.mark.parametrize("module", CORE, ids=lambda module: module.name)
class TestCore:
    def test_has_no_ambient_time_randomness_or_io(self, module: Module) -> None:
        assert list(ambient(module)) == []

    def test_never_iterates_a_set(self, module: Module) -> None:
        assert set_iterations(module) == []

    def test_sets_no_attribute_of_another_part(self, module: Module) -> None:
        assert [write for write in foreign_writes(module) if "self._context.lost" not in write] == []

    def test_is_synchronous(self, module: Module) -> None:
        kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
        assert [node.lineno for node in ast.walk(module.tree) if isinstance(node, kinds)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from datetime import datetime",
        "import os\nos.urandom(8)",
        "import random\nrandom.random()",
        "from random import choice",
        "def f(x):\n    import secrets",
        "hash('text')",
        "print(1)",
        "from socket import socket",
    ],
)
def test_the_search_for_ambient_things_finds(source: str) -> None:
    assert list(ambient(Module("sample", source)))


@pytest.mark.parametrize("source", ["import random\nrng: random.Random = random.Random(1)\nrng.random()"])
def test_the_search_for_ambient_things_allows(source: str) -> None:
    assert not list(ambient(Module("sample", source)))


@pytest.mark.parametrize(
    "source",
    [
        "for x in {1, 2}: pass",
        "[x for x in set(y)]",
        "list({x for x in y})",
        "def f(names: set[str]):\n    for name in names: pass",
        "def f(names: frozenset[str] | None):\n    return tuple(names)",
        "class A:\n    def __init__(self):\n        self.s: set[int] = set()\n    def f(self):\n"
        "        return [x for x in self.s]",
        "class A:\n    def __init__(self):\n        self.s = set()\n    def f(self):\n"
        "        return self.s.pop()",
        "for name in a.keys() - b: pass",
        "def f():\n    s = {1}\n    g(*s)",
        "f(x for x in {1, 2})",
        "rng.choice(set(x))",
    ],
)
def test_the_search_for_set_iteration_finds(source: str) -> None:
    assert set_iterations(Module("sample", source))


@pytest.mark.parametrize(
    "source",
    [
        "for x in sorted({1, 2}): pass",
        "for x in {1: 2}: pass",
        "any(x for x in {1, 2})",
        "x in {1, 2}",
        "len(set(y))",
        "sorted(a.keys() - b)",
        "def f():\n    s = {1}\ndef g(s: list[int]):\n    return [x for x in s]",
    ],
)
def test_the_search_for_set_iteration_allows(source: str) -> None:
    assert not set_iterations(Module("sample", source))


# --- size


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
class TestSize:
    def test_of_the_module(self, module: Module) -> None:
        assert len(module.code_lines) <= MODULE_LINES_MAX

    def test_of_its_functions(self, module: Module) -> None:
        assert {name: n for name, n in module.functions.items() if n > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_size_of_the_package(package: str) -> None:
    own = [module for module in MODULES if package_of(module.name) == package]
    assert own, f"there is no {package}"
    assert sum(len(module.code_lines) for module in own) <= PACKAGES[package]


def test_code_lines_are_counted_without_blanks_comments_and_docstrings() -> None:
    source = '"""Doc.\n\nmore"""\n\n# comment\nx = 1  # one\n\n\n'
    source += 'def f():\n    """Doc."""\n    return (\n        x\n    )\n'
    module = Module("sample", source)
    assert len(module.code_lines) == 5
    assert module.functions == {"f:9": 4}


# --- names and texts


def test_public_names() -> None:
    swim = importlib.import_module("swim")
    assert sorted(swim.__all__) == PUBLIC
    assert [name for name in PUBLIC if not hasattr(swim, name)] == []


def test_people_find_the_public_names_and_the_version_before_they_have_used_them() -> None:
    done = run_python("-c", "import swim; print(swim.__version__, *dir(swim))")
    version, *names = done.stdout.split()
    assert (
        version == tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    )
    assert set(PUBLIC) <= set(names)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_the_library_does_not_print(module: Module) -> None:
    if within(module.name, ("swim.cli",)):
        return
    calls = [node.func for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls)


def test_ctrl_c_strikes_no_task_of_a_node() -> None:
    """A task inherits no protection. Struck in the middle, a node would end without a farewell."""
    nodes = [
        node for module in MODULES if within(module.name, ("swim.runtime",)) for node in ast.walk(module.tree)
    ]
    protected = {
        node.name
        for node in nodes
        if isinstance(node, ast.AsyncFunctionDef)
        and any(ast.unparse(each) == "trio.lowlevel.enable_ki_protection" for each in node.decorator_list)
    }
    started = [
        ast.unparse(node.args[0]).split(".")[-1]
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("start_soon")
    ]
    assert len(started) > 10
    assert [name for name in started if name not in protected] == []


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "trio-swim"
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## (.+)", changelog, re.MULTILINE)
    assert first is not None
    assert first[1].startswith(("Unreleased", project["version"])), "CHANGELOG.md begins with another version"
    for module in MODULES:
        for found in re.findall(r'^__version__\s*=\s*"(.*)"', module.source, re.MULTILINE):
            assert found == project["version"], module.name


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
