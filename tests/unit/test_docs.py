"""The documents against the code: names and rules."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from flowspan import states
from flowspan_service.domain.rules.transitions import (
    ALLOWED,
    INITIAL_TYPES,
    RETRY_STARTS,
    RETRYABLE_TYPES,
    RULES,
)
from flowspan_service.domain.states import TERMINAL_TYPES, StateType

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "python_client" / "flowspan", ROOT / "service" / "flowspan_service")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
STATES = (ROOT / "docs" / "states.md").read_text()

NO_NAMES = {"Ack", "Batch", "CREATED", "Completed", "await", "head"}
"""Code in the walks that these folders do not define, such as messages and states."""


@cache
def definitions(path: Path) -> frozenset[str]:
    """Return the names that a module defines, and of its methods ``name`` and ``Class.name``."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ClassDef):
            for child in node.body:
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                    found |= {child.name, f"{node.name}.{child.name}"}
    return frozenset(found)


def modules(path: str) -> list[Path]:
    """Return the modules with this path, in the client and in the service."""
    return [source / path for source in SOURCES if (source / path).is_file()]


def walk() -> str:
    """Return the sections of the architecture that follow a transition and a cancel."""
    return ARCHITECTURE.partition("## One transition")[2].partition("\n## What happens")[0]


def links_of(page: Path) -> set[Path]:
    """Return the files in the repository that a page links to."""
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    return {(page.parent / target).resolve() for target in targets}


def test_every_page_is_linked_from_the_readme_or_a_page_that_it_links_and_no_link_is_dead() -> None:
    found, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        found.add(page)
        dead = {target for target in links_of(page) if not target.exists()}
        assert not dead, f"links of {page.name}"
        todo += {each for each in links_of(page) if each.suffix == ".md"} - found - {*todo}
    pages = {*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")}
    pages |= {*ROOT.glob("examples/*.md"), *ROOT.glob("examples/*/*.md")}
    assert len(pages) > 20
    assert not pages - found


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    code = re.compile(r"^```.*?^```", re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", code.sub("", page.read_text()), re.M)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", each) for each in headings)
    }


def test_every_anchor_is_that_of_a_heading() -> None:
    dead = []
    for page in sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")}):
        for target, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)]*)\)", page.read_text()):
            other = (page.parent / target).resolve() if target else page
            if other.suffix == ".md" and anchor not in anchors_of(other):
                dead.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert dead == []


def test_modules_that_the_architecture_names_exist() -> None:
    paths = set(re.findall(r"`([\w/]+\.py)`", ARCHITECTURE))
    assert paths
    assert not {path for path in paths if not modules(path)}


def test_what_the_architecture_names_in_a_module_is_there() -> None:
    pairs = re.findall(r"`([\w/]+\.py)`\s+·\s+`([\w.]+)`", ARCHITECTURE)
    assert len(pairs) > 30
    missing = [
        (path, name)
        for path, name in pairs
        if not any(name in definitions(module) for module in modules(path))
    ]
    assert not missing


def test_every_name_of_the_walk_is_somewhere() -> None:
    everything = {
        name for source in SOURCES for path in source.rglob("*.py") for name in definitions(path)
    }
    named = set(re.findall(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)`", walk()))
    named = {name for name in named if not name.endswith(".py")} - NO_NAMES
    assert len(named) > 15
    assert not named - everything


def types(text: str) -> set[StateType]:
    """Return the types that a cell of the table of arrows represents."""
    if text == "every non-terminal type":
        return set(StateType) - set(TERMINAL_TYPES)
    return {kind for kind in StateType if re.search(rf"\b{kind.name}\b", text)}


def arrows() -> dict[str, tuple[str, str]]:
    """Return the start and the end of each lettered arrow."""
    rows = re.findall(r"^\| ([A-Q]) \| ([^|]+) \| ([^|]+) \|", STATES, re.MULTILINE)
    return {letter: (start.strip(), end.strip()) for letter, start, end in rows}


def test_the_arrows_are_the_rules() -> None:
    found = arrows()
    assert "".join(found) == "ABCDEFGHIJKLMNOPQ"
    drawn: dict[StateType, set[StateType]] = {kind: set() for kind in StateType}
    for letter in "BCDEFGHIJKLM":
        start, end = found[letter]
        for kind in types(start):
            drawn[kind] |= {kind} if end == "the same type" else types(end)
    assert drawn == {kind: set(ALLOWED[kind]) for kind in StateType}
    assert types(found["A"][1]) == INITIAL_TYPES
    assert types(found["P"][0]) == RETRYABLE_TYPES
    assert types(found["P"][1]) == RETRY_STARTS


def test_the_rules_are_told_in_their_order() -> None:
    section = STATES.partition("## The rules")[2]
    told = re.findall(r"^\| `(\w+)` \|", section.partition("Before a run's state")[0], re.MULTILINE)
    told.remove("silence_is_overruled")  # These are exceptions to a rule.
    told.remove("completed_may_be_rolled_back")
    assert told == [rule.__name__ for rule in RULES]


def test_the_page_on_flows_names_every_state_that_can_be_made() -> None:
    page = (ROOT / "docs" / "flows-and-tasks.md").read_text()
    (told,) = re.findall(r"`flowspan\.states` defines (.*?)\n\nAll of them take", page, re.DOTALL)
    makers = {name for name, made in vars(states).items() if isinstance(made, states.StateMaker)}
    assert set(re.findall(r"`(\w+)`", told)) == makers
