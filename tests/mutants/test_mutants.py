"""The runner of mutants, and a sample of them. All: `python -m tests.mutants leadership` (or `detection`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import PACKAGES, ROOT, judge, main, sample, tree
from tests.mutants.mutant import AnchorLost, Mutant, Package

SAMPLE = {"leadership": 5, "detection": 4, "leases": 3}
EVERY = [(name, mutant) for name, package in PACKAGES.items() for mutant in package.mutants]


def test_every_mutant_can_be_applied() -> None:
    for _, mutant in EVERY:
        mutant.applied(ROOT)


def test_no_two_mutants_have_one_name_or_do_the_same() -> None:
    for package in PACKAGES.values():
        assert len({mutant.name for mutant in package.mutants}) == len(package.mutants)
        assert len({(each.path, each.old, each.new) for each in package.mutants}) == len(package.mutants)


@pytest.mark.long
@pytest.mark.parametrize(
    "mutant",
    [mutant for name, count in SAMPLE.items() for mutant in sample(PACKAGES[name], count)],
    ids=lambda mutant: mutant.name,
)
def test_a_mutant_of_a_sample_is_noticed(mutant: Mutant) -> None:
    with tree() as copy:
        assert judge(copy, mutant.tests, mutant) is not None


# --- the runner

CODE = "def double(number):\n    return 2 * number\n"
TEST = "from swim.code import double\n\n\ndef test_double():\n    assert double(2) == 4\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A tree with one function, and a test that does not look closely."""
    for name, text in {
        "swim/__init__.py": "",
        "swim/code.py": CODE,
        "tests/__init__.py": "",
        "tests/test_code.py": TEST,
        "pyproject.toml": "[tool.pytest.ini_options]\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def changed(new: str, old: str = "2 * number") -> Mutant:
    return Mutant("a change", "swim/code.py", old, new)


def test_a_mutant_that_a_test_notices(small: Path) -> None:
    with tree(small) as copy:
        assert judge(copy, ("tests",)) is None
        assert judge(copy, ("tests",), changed("3 * number")) == "tests/test_code.py::test_double"
        assert (copy / "swim/code.py").read_text() == CODE
    assert (small / "swim/code.py").read_text() == CODE


def test_a_mutant_that_survives(small: Path) -> None:
    with tree(small) as copy:
        assert judge(copy, ("tests",), changed("number ** 2")) is None


def test_an_anchor_that_is_gone_or_not_the_only_one(small: Path) -> None:
    for old in ("no such text", "number"):
        with pytest.raises(AnchorLost):
            changed("x", old).applied(small)


def test_a_mutant_that_is_no_python_is_none(small: Path) -> None:
    with pytest.raises(SyntaxError):
        changed("2 *").applied(small)


def test_tests_that_cannot_be_run_notice_nothing(small: Path) -> None:
    with tree(small) as copy, pytest.raises(RuntimeError, match="could not be run"):
        judge(copy, ("tests/no_such_test.py",), changed("3 * number"))


def test_a_lost_anchor_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = Mutant("a change", "tests/mutants/mutant.py", "no such " + "text", "")
    monkeypatch.setitem(PACKAGES, "detection", Package(("tests",), (lost,)))
    assert main(["detection"]) == 1
    assert "LOST" in capsys.readouterr().out
