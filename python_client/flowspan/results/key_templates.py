"""Result keys from templates, such as "{parameters[day]}-{task_run.name}"."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from flowspan.core.failures import summary

if TYPE_CHECKING:
    from flowspan.core.run import Run

_OF_FLOW_RUNS = (
    *("id", "name", "tags", "parameters", "run_count", "flow_name", "flow_version"),
    *("scheduled_start_time", "parent_flow_run_id", "root_flow_run_id", "parent_deployment_id"),
    *("job_variables", "api_url", "ui_url"),
)
"""The attributes of `flowspan.runtime.flow_run`."""


def key_from_template(template: str, run: Run, arguments: dict[str, Any]) -> str:
    """Format the template of a key for a run.

    The run names that flowspan generates ("load-0") recur in the next flow run, but a key must not.
    So `task_run.name` gets a part of the id as a suffix, unless the task names its runs itself.

    Args:
        template: A format string with `parameters[name]` and the attributes of `flowspan.runtime`:
            `task_run.…`, `flow_run.…`, `deployment.…`.
        run: The task run.
        arguments: Its arguments by parameter name.

    Raises:
        ValueError: The template refers to an unknown name.
    """
    flow_run = _flow_run(run.flow_run)
    deployment = SimpleNamespace(
        id=None,
        name=None,
        version=None,
        flow_run_id=flow_run.id,
        parameters=flow_run.parameters,
    )
    told = {"task_run": _task_run(run), "flow_run": flow_run, "deployment": deployment}
    package = SimpleNamespace(runtime=SimpleNamespace(**told))
    try:
        return template.format(parameters=arguments, flowspan=package, prefect=package, **told)
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(
            f"result_storage_key={template!r} cannot be filled in ({summary(error)})"
        ) from error


def _task_run(run: Run) -> SimpleNamespace:
    is_numbered = run.definition.run_name is None
    return SimpleNamespace(
        id=run.record.id,
        name=f"{run.name}-{run.record.id[-12:]}" if is_numbered else run.name,
        tags=run.tags,
        parameters=run.parameters,
        run_count=run.run_count,
        task_name=run.definition.name,
        api_url=None,
        ui_url=None,
    )


def _flow_run(run: Run | None) -> SimpleNamespace:
    values: dict[str, Any] = dict.fromkeys(_OF_FLOW_RUNS)
    if run is None:
        values |= {"tags": [], "parameters": {}, "run_count": 0}
    else:
        around = run.parent.flow_run if run.parent is not None else None
        values |= {name: getattr(run, name) for name in ("name", "tags", "parameters")}
        values |= {
            "id": run.record.id,
            "run_count": run.run_count,
            "flow_name": run.definition.name,
            "flow_version": run.definition.version or None,
            "scheduled_start_time": run.expected_start_time,
            "parent_flow_run_id": around.record.id if around is not None else None,
            "root_flow_run_id": _root_id(run),
            "job_variables": {},
        }
    return SimpleNamespace(**values)


def _root_id(run: Run) -> str:
    while run.parent is not None and run.parent.flow_run is not None:
        run = run.parent.flow_run
    return run.record.root_run_id if run.parent is None else run.record.id
