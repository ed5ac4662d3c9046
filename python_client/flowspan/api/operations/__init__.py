"""All operations of the API.

There is one module per noun; each function is documented there. The table turns them into
methods of both clients (`flowspan.api.method_kinds`).
"""

from __future__ import annotations

from flowspan.api.method_kinds import asks, lists, streams
from flowspan.api.operations import (
    artifacts,
    flow_runs,
    flows,
    labels,
    logs,
    reports,
    runs,
    service,
    task_runs,
    tokens,
    variables,
    watching,
)


class Operations:
    """The methods common to both clients."""

    create_flow_run = asks(flow_runs.create_flow_run)
    read_flow_run = asks(flow_runs.read_flow_run)
    read_flow_runs = lists(flow_runs.read_flow_runs)
    count_flow_runs = asks(flow_runs.count_flow_runs)
    delete_flow_run = asks(flow_runs.delete_flow_run)
    cancel_flow_run = asks(flow_runs.cancel_flow_run)
    set_flow_run_state = asks(flow_runs.set_flow_run_state)
    read_flow_run_states = asks(flow_runs.read_flow_run_states)
    read_flow_run_transitions = asks(flow_runs.read_flow_run_transitions)
    wait_for_flow_run = asks(watching.wait_for_flow_run)

    read_run = asks(runs.read_run)

    read_task_run = asks(task_runs.read_task_run)
    read_task_runs = lists(task_runs.read_task_runs)
    count_task_runs = asks(task_runs.count_task_runs)
    cancel_task_run = asks(task_runs.cancel_task_run)
    set_task_run_state = asks(task_runs.set_task_run_state)
    read_task_run_states = asks(task_runs.read_task_run_states)
    read_task_run_transitions = asks(task_runs.read_task_run_transitions)

    read_flow = asks(flows.read_flow)
    read_flow_by_name = asks(flows.read_flow_by_name)
    read_flows = lists(flows.read_flows)

    read_logs = lists(logs.read_logs)
    tail_logs = streams(logs.tail_logs)
    watch = streams(watching.watch)
    read_service_info = asks(service.read_service_info)

    report_batch = asks(reports.report_batch)
    watch_commands = streams(reports.watch_commands)

    create_artifact = asks(artifacts.create_artifact)
    update_artifact = asks(artifacts.update_artifact)
    read_artifact = asks(artifacts.read_artifact)
    read_latest_artifact = asks(artifacts.read_latest_artifact)
    read_artifacts = lists(artifacts.read_artifacts)
    read_latest_artifacts = lists(artifacts.read_latest_artifacts)
    delete_artifact = asks(artifacts.delete_artifact)
    delete_artifacts_of_key = asks(artifacts.delete_artifacts_of_key)

    set_variable = asks(variables.set_variable)
    read_variable_by_name = asks(variables.read_variable_by_name)
    read_variables = lists(variables.read_variables)
    delete_variable_by_name = asks(variables.delete_variable_by_name)

    set_labels = asks(labels.set_labels)
    get_labels = asks(labels.get_labels)
    list_labels = lists(labels.list_labels)
    update_flow_run_labels = asks(labels.update_flow_run_labels)

    create_token = asks(tokens.create_token)
    read_tokens = asks(tokens.read_tokens)
    revoke_token = asks(tokens.revoke_token)
