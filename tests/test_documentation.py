"""Every public name is explained, with an example that runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from types import ModuleType

import pytest

import swim

NAMES = [
    "cluster",
    "config",
    "errors",
    "events",
    "messages",
    "simulation",
    "spreading",
    "statistics",
    "testing",
    "text",
    "types",
]
MODULES = [importlib.import_module(f"swim.{name}") for name in NAMES]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_examples_run(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def examples() -> str:
    """The lines of all of them."""
    tests = [test for module in MODULES for test in doctest.DocTestFinder().find(module)]
    return "\n".join(example.source for test in tests for example in test.examples)


@pytest.mark.parametrize("name", swim.__all__)
def test_a_public_name_is_explained_and_shown(name: str) -> None:
    if name != "Event":  # a union of the events, whose module explains it
        assert len(inspect.getdoc(getattr(swim, name)) or "") > 20
    assert re.search(rf"\bswim\.{name}\b|\bimport .*\b{name}\b", examples()), (
        f"swim.{name} is in no example: add one to its docstring or to its module's"
    )


def test_all_modules_with_examples_are_tested() -> None:
    for found in pkgutil.walk_packages(swim.__path__, "swim."):
        if not found.name.startswith(("swim.cli", "swim.__main__", "swim.metrics")):
            module = importlib.import_module(found.name)
            if any(test.examples for test in doctest.DocTestFinder().find(module)):
                assert module in MODULES
