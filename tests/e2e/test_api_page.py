"""The examples of two pages work as shown, and the client page names existing API only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.flow_processes import run_code

from flowspan.api.operations import Operations

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "api-client.md").read_text()
OBJECTS_PAGE = (DOCS / "artifacts-and-variables.md").read_text()

FAILS = """
from flowspan import flow

@flow(log_prints=True)
def etl():
    print("begins")
    raise ValueError("no data")

etl(return_state=True)
"""


SHOWS = """
print(latest.value, found.value, is_new)
"""


def programs_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def test_the_programs_of_the_pages(service: ServiceProcess) -> None:
    programs = programs_of(PAGE)
    assert len(programs) == 6
    report, reading, variables = programs_of(OBJECTS_PAGE)
    shown = (reading + SHOWS, variables + "print(limit)")
    # Each example is complete and needs no names of the ones before it.
    code = "\n".join(f"exec({each!r}, {{}})" for each in (FAILS, *programs, report, *shown))
    output = run_code(code, home=service.home / "client", address=service.address).splitlines()
    (failed,) = [line for line in output if line.startswith("etl ")]
    assert failed.endswith("Failed ValueError: no data")
    assert any(line.endswith(" begins") for line in output)
    assert any(line.startswith("NOT_FOUND - ") for line in output)
    assert output[-2:] == ["[{'city': 'Ulm', 'sales': 5}] {'x': 1} True", "600"]


def test_the_page_names_every_method() -> None:
    table = PAGE.partition("## Methods")[2].partition("\n\nEach")[0]
    there_are = {name for name in vars(Operations) if not name.startswith("_")}
    assert set(re.findall(r"`(\w+)`", table)) == there_are
