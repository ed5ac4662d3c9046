"""What docs/api-client.md shows works as it is shown, and names what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.flows import run_code

from flowspan.api.operations import Operations

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api-client.md").read_text()

FAILS = """
from flowspan import flow

@flow(log_prints=True)
def etl():
    print("begins")
    raise ValueError("no data")

etl(return_state=True)
"""


def test_the_programs_of_the_page(service: ServiceProcess) -> None:
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(programs) == 4
    code = "\n".join((FAILS, *programs))
    output = run_code(code, home=service.home / "client", address=service.address).splitlines()
    (failed,) = [line for line in output if line.startswith("etl ")]
    assert failed.endswith("Failed ValueError: no data")
    assert any(line.endswith(" begins") for line in output)
    assert any(line.startswith("NOT_FOUND - ") for line in output)


def test_the_page_names_every_method() -> None:
    table = PAGE.partition("## What there is")[2].partition("\n\nEach")[0]
    there_are = {name for name in vars(Operations) if not name.startswith("_")}
    assert set(re.findall(r"`(\w+)`", table)) == there_are
