"""Keys of results that a template names: "{parameters[day]}-{task_run.name}"."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from flowspan.core.failures import summary

if TYPE_CHECKING:
    from flowspan.core.runs import Run


def key_from_template(template: str, run: Run, arguments: dict[str, Any]) -> str:
    """The key for a run.

    Args:
        template: With `parameters[name]`, `task_run.…` and `flow_run.…` (id, name, task_name or
            flow_name, tags, run_count) in braces.
        run: The task run.
        arguments: Its arguments by the names of parameters.

    Raises:
        ValueError: The template names something that is not there.
    """
    values = {"parameters": arguments, "task_run": _seen(run, "task_name")}
    if run.flow_run is not None:
        values["flow_run"] = _seen(run.flow_run, "flow_name")
    try:
        return template.format(**values)
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(
            f"result_storage_key={template!r} cannot be filled in ({summary(error)})"
        ) from error


def _seen(run: Run, name_of_function: str) -> SimpleNamespace:
    return SimpleNamespace(
        id=run.record.id,
        name=run.name,
        tags=run.tags,
        run_count=run.run_count,
        parameters=run.parameters,
        **{name_of_function: run.definition.name},
    )
