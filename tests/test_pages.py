"""What the pages say is true: their programs run, their links and commands and paths exist, their figures are
those of the code; and no file cites a document that is not in the repository."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swim.cli.verbs import VERBS
from swim.config import Config
from swim.protocol.detector.states import TRANSITIONS, Evidence, State
from tests.house import ROOT
from tests.test_house import run_python

README = ROOT / "README.md"
GUIDE = ROOT / "examples/README.md"
OPERATIONS = ROOT / "swim/README.md"
TOUR = ROOT / "swim/protocol/README.md"
FOLDERS = ("swim", "tests", "examples", "benchmarks", ".github", ".ci")
WRITTEN = (".md", ".py", ".toml", ".go", ".yaml", ".yml", "")

SET_UP = ('pip install -e ".[cli]" && swim demo', 'pip install -e ".[test]" && pytest')
README_LINES = range(150, 201)
README_WIDTH_MAX = 90
"""For terminals; one line of its program needs so much."""
PROGRAM_SECONDS_MAX = 120


def files(*suffixes: str) -> Iterator[Path]:
    """What people have written: of these suffixes, without what tools have put beside it."""
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.suffix in suffixes)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            inner = path.relative_to(ROOT).parts[1:]
            if path.is_file() and path.suffix in suffixes and not {"venv", "__pycache__"} & set(inner):
                yield path


PAGES = list(files(".md"))


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def programs() -> list[tuple[str, str]]:
    """The Python programs of all pages, in order, each with its place."""
    return [
        (f"{path.relative_to(ROOT)}:{number}", program)
        for path in PAGES
        for number, program in enumerate(
            re.findall(r"^```python\n(.*?)^```", text_of(path), re.MULTILINE | re.DOTALL)
        )
    ]


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text_of(path), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("command", SET_UP)
def test_the_readme_gives_the_set_up_on_one_line(command: str) -> None:
    assert command in [line.strip() for line in text_of(README).splitlines()]


def test_ci_runs_what_the_readme_says() -> None:
    script = text_of(ROOT / ".ci/run")
    assert "README.md" in script, ".ci/run must take its test command from the README"
    assert not re.search(r"^\s*pytest", script, re.MULTILINE), (
        ".ci/run must not have a test command of its own"
    )


def test_the_readme_is_read_in_a_few_minutes_and_on_a_package_index() -> None:
    lines = text_of(README).splitlines()
    assert len(lines) in README_LINES
    assert max(map(len, lines)) <= README_WIDTH_MAX
    links = re.findall(r"\]\(([^)]+)\)", text_of(README))
    assert [link for link in links if not link.startswith(("https://", "#"))] == [], "only absolute links"


def test_the_paths_that_the_readme_names_exist() -> None:
    named = re.findall(r"`([\w./]+\.md)`", text_of(README))
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_agents_of_one_cluster_have_the_same_seeds(page: Path) -> None:
    """Else the first of them, when it is started again, leads beside the others for a moment."""
    for block in re.findall(r"^```sh\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL):
        agents = [line for line in block.splitlines() if line.startswith("swim agent ")]
        assert len({"".join(re.findall(r"--join (\S+)", line)) for line in agents}) <= 1


def test_the_guides_have_programs() -> None:
    pages = [place.partition(":")[0] for place, _ in programs()]
    assert "README.md" in pages
    assert pages.count("examples/README.md") > 5


@pytest.mark.parametrize("program", [pytest.param(text, id=place) for place, text in programs()])
def test_a_program_on_a_page_runs(program: str, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(program, encoding="utf-8")
    done = run_python(str(path), cwd=tmp_path, seconds=PROGRAM_SECONDS_MAX)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if not link.startswith(("https://", "http://")):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of the titles."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_no_file_cites_a_document_that_is_not_in_the_repository() -> None:
    missing = []
    for path in files(*WRITTEN):
        for name in re.findall(r"[\w./-]*\w\.md\b", text_of(path)):
            if not any((folder / name).exists() for folder in (path.parent, ROOT)):
                missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert missing == []


def test_all_commands_are_explained_and_exist() -> None:
    pytest.importorskip("click")
    import click

    from swim.cli.root import cli

    context: Any = click.Context(click.Command("swim"))
    named = set(re.findall(r"^(?:\$ |\| `)?swim (\w+)", text_of(OPERATIONS), re.MULTILINE))
    own_page = VERBS.keys()
    assert named - own_page == set(cli.list_commands(context)) - own_page


def test_defaults_are_those_of_the_code() -> None:
    guide = text_of(GUIDE)
    lan, wan, local = Config.lan(), Config.wan(), Config.local()
    assert f"`silence_tolerance` ({lan.silence_tolerance:g} s)" in guide
    assert f"`pause_tolerance` ({lan.pause_tolerance:g} s)" in guide
    for profile in (wan, local):
        changed = [
            f"`{field.name}={getattr(profile, field.name):g}`"
            for field in dataclasses.fields(Config)
            if getattr(profile, field.name) != getattr(lan, field.name)
        ]
        assert changed
        assert [text for text in changed if text not in guide] == []


def diagram() -> str:
    """All transitions, for Mermaid; what is so in every state is drawn once."""
    anywhere = (Evidence.LOSSY, Evidence.REPLACED)
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, evidence), following in TRANSITIONS.items():
        if evidence not in anywhere:
            arrows.setdefault((state, following), []).append(evidence.value)
    ended = ", ".join(evidence.value for evidence in anywhere)
    lines = ["stateDiagram-v2", f"    [*] --> {_node(State.ANSWERING)}"]
    lines += [f"    {_node(a)} --> {_node(b)}: {', '.join(labels)}" for (a, b), labels in arrows.items()]
    return "\n".join([*lines, f"    {_node(State.GIVEN_UP)} --> [*]: (from everywhere: {ended})"])


def _node(state: State) -> str:
    return state.value.replace("-", "_")


def test_the_diagram_of_states_is_drawn_from_their_transitions() -> None:
    assert f"```mermaid\n{diagram()}\n```" in text_of(TOUR)
