from __future__ import annotations

import inspect
from typing import Any

import pytest

from flowspan import Flow, Task, flow, task
from flowspan.flows import FlowOptions
from flowspan.tasks import TaskOptions


@pytest.mark.parametrize(
    ("kind", "options"), [(Flow, FlowOptions), (Task, TaskOptions)], ids=["flow", "task"]
)
def test_type_checkers_know_the_options_of_the_constructor(kind: Any, options: Any) -> None:
    parameters = inspect.signature(kind).parameters
    assert list(options.__annotations__) == [name for name in parameters if name != "fn"]
    assert options.__optional_keys__ == set(options.__annotations__)


@pytest.mark.parametrize("decorator", [flow, task])
def test_an_unknown_option_is_refused(decorator: Any) -> None:
    with pytest.raises(TypeError, match="retry"):
        decorator(retry=1)(lambda: None)
