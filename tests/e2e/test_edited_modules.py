"""Modules that are edited while a program with worker processes has them imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import run_code

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

PROGRAM = """
import importlib, os, sys
from flowspan import flow, task
from flowspan.cache_policies import INPUTS, TASK_SOURCE
from flowspan.task_runners import ProcessPoolTaskRunner

home = os.environ["FLOWSPAN_HOME"]
sys.dont_write_bytecode = True

def write(version):
    with open(os.path.join(home, "edited.py"), "w") as file:
        file.write(MODULE.replace("VERSION", version))

MODULE = '''
import threading
from flowspan import task
from flowspan.cache_policies import TASK_SOURCE
{top}

def helper():
    return "VERSION"

@task(cache_policy=TASK_SOURCE, persist_result={persists})
def load():
    # VERSION
    return "VERSION-" + helper() + {more}

@task(persist_result={persists})
def of_inputs(number, text="VERSION"):
    return text + str(number) + {more}
'''

write("old")
import edited
write("newer")

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def sends():
    return [
        edited.load.submit().result(),
        edited.load.submit().result(),
        *edited.of_inputs.map([1, 2]).result(),
        edited.load(),
    ]
"""


def program(*, top: str = "", more: str = "''", persists: bool = True) -> str:
    code = PROGRAM
    for name, value in (("top", top), ("more", more), ("persists", str(persists))):
        code = code.replace("{" + name + "}", value)
    return code


def test_a_worker_runs_what_the_program_has_imported(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = program() + "\nprint(sends())\nwrite('old')\n"
    expected = "['old-old', 'old-old', 'old1', 'old2', 'old-old']"
    assert expected in run_code(code, home=flowspan_home, address=service.address)
    again = "import edited; print(edited.load())"
    assert run_code(again, home=flowspan_home, address=service.address).strip() == "old-old"


def test_a_program_of_the_new_version_does_not_find_the_old_results(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    run_code(program() + "\nsends()", home=flowspan_home, address=service.address)
    again = "import edited; print(edited.load())"
    assert run_code(again, home=flowspan_home, address=service.address).strip() == "newer-newer"


@pytest.mark.parametrize("persists", [True, False])
def test_what_cannot_go_by_value_is_not_stored_as_another_version(
    persists: bool, service: ServiceProcess, flowspan_home: Path
) -> None:
    code = program(top="lock = threading.Lock()", more="str(lock.locked())", persists=persists)
    code += """
try:
    print(sends())
except Exception as error:
    print(type(error).__name__, error)
"""
    printed = run_code(code, home=flowspan_home, address=service.address)
    if persists:
        assert "NotPortable Module 'edited' was edited after this program imported it" in printed
    else:
        assert "'newer-newerFalse'" in printed


def test_a_function_that_cannot_be_loaded_does_not_spoil_the_worker(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = program()
    code += """
@task
def good():
    return "good"

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def goes_on():
    with open(os.path.join(home, "edited.py"), "w") as file:
        file.write("raise RuntimeError('no longer a module')")
    bad = edited.load.submit()
    bad.wait()
    return bad.state.name, good.submit().result()

print(goes_on())
"""
    printed = run_code(code, home=flowspan_home, address=service.address)
    assert "('Failed', 'good')" in printed
