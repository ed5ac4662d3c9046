"""Drawing a flow reports nothing to the service; afterwards it runs normally."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support import run_queries as queries
from tests.support.flow_processes import run_code

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

CODE = """
    import asyncio, os, pathlib
    from flowspan import flow, task
    from flowspan.exceptions import ParameterError

    @task
    {a}def one(x=0):
        return 1

    @flow
    {a}def outer(number: int = 0):
        return {w}one({w}one())

    async def in_a_loop():
        return outer.generate_mermaid_graph()

    assert "n0 --> n1" in outer.generate_mermaid_graph() == asyncio.run(in_a_loop())
    # Graphviz is replaced by a script that saves its input.
    os.chdir(os.environ["FLOWSPAN_HOME"])
    dot = pathlib.Path("dot")
    dot.write_text('#!/bin/sh\\ncat > "$3"\\n')
    dot.chmod(0o755)
    os.environ["PATH"] = f"{{dot.parent.absolute()}}:{{os.environ['PATH']}}"
    assert "n0 -> n1" in outer.visualize().read_text() == outer.generate_dot_graph()

    assert outer.validate_parameters({{"number": "5"}}) == {{"number": 5}}
    try:
        outer.validate_parameters({{"number": "many"}})
    except ParameterError as error:
        assert "'number'" in str(error)
    else:
        raise AssertionError
    assert outer.serialize_parameters({{"x": (1, 2)}}) == {{"x": [1, 2]}}
    assert {run} == 1
"""


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_drawn_and_then_run(service: ServiceProcess, is_async: bool) -> None:
    code = CODE.format(
        a="async " if is_async else "",
        w="await " if is_async else "",
        run="asyncio.run(outer())" if is_async else "outer()",
    )
    run_code(code, home=service.home / "client", address=service.address)
    assert len(queries.flow_runs(service.channel)) == 1
    assert len(queries.task_runs(service.channel)) == 2
