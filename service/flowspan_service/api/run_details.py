"""The details of runs: description, code location, attempts, inputs, labels.

Their encoded form is that of a FlowRun or TaskRun, which have the same numbers for these fields, so
that the bytes can be merged into an answer without decoding them in Python.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from flowspan.v1 import flow_run_pb2, task_run_pb2
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import check_id, check_required_text, check_text, invalid
from flowspan_service.api.labels import check_labels
from flowspan_service.domain.errors import TooLargeError
from flowspan_service.domain.runs import Definition, RunDetails

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan.v1 import report_pb2
    from flowspan_service.domain.runs import Run

    WireRun = flow_run_pb2.FlowRun | task_run_pb2.TaskRun

_MAX_INT32 = 2**31 - 1
_KEPT_DEFINITIONS = 1000
_KEY_BYTES = 16
_Facts = tuple[str, int, str, int, str]
_NO_FACTS: _Facts = ("", 0, "", 0, "")

_definitions: dict[_Facts, Definition] = {}
"""The definitions of recent creations. Most runs of a report repeat one, which is checked and
encoded once."""


def read_details(
    wire: report_pb2.RunCreated | flow_run_pb2.FlowRun,
    labels: Mapping[str, str],
    field: str = "",
) -> RunDetails | None:
    """Check and return the details of a creation; None if it has none.

    Args:
        wire: The creation.
        labels: Its labels.
        field: The prefix of the creation's field names: "flow_run.", or empty.

    Raises:
        InvalidFieldError: A field has a forbidden value.
        TooLargeError: A field exceeds its limit.
    """
    definition = inputs = None
    if wire.description or wire.max_attempts or wire.HasField("code"):
        definition = _definition(wire, field)
    if wire.inputs:
        inputs = _encoded_inputs(wire.inputs, field)
    if labels:
        check_labels(labels, "labels")
    elif definition is None and inputs is None:
        return None
    return RunDetails(definition, inputs, dict(labels) if labels else None)


def _definition(
    wire: report_pb2.RunCreated | flow_run_pb2.FlowRun, field: str
) -> Definition | None:
    code = wire.code
    facts = (wire.description, wire.max_attempts, code.file_path, code.line, code.function)
    known = _definitions.get(facts)
    if known is None and facts != _NO_FACTS:
        known = _new_definition(wire, field)
        if len(_definitions) >= _KEPT_DEFINITIONS:
            _definitions.clear()
        _definitions[facts] = known
    return known


def _new_definition(wire: report_pb2.RunCreated | flow_run_pb2.FlowRun, field: str) -> Definition:
    check_text(wire.description, f"{field}description", limits.RUN_DESCRIPTION)
    if not 0 <= wire.max_attempts <= _MAX_INT32:
        raise invalid(f"{field}max_attempts", f"{wire.max_attempts} is negative")
    code = wire.code
    check_text(code.file_path, f"{field}code.file_path", limits.CODE_FILE)
    check_text(code.function, f"{field}code.function", limits.NAME)
    if code.line < 0:
        raise invalid(f"{field}code.line", f"{code.line} is negative")
    message = flow_run_pb2.FlowRun(description=wire.description, max_attempts=wire.max_attempts)
    if code.file_path or code.function or code.line:
        # Field by field: fields of a newer client are not kept.
        message.code.file_path = code.file_path
        message.code.line = code.line
        message.code.function = code.function
    data = message.SerializeToString(deterministic=True)
    return Definition(blake2b(data, digest_size=_KEY_BYTES).digest(), data)


def _encoded_inputs(inputs: Any, field: str) -> bytes:
    if len(inputs) > limits.RUN_INPUTS:
        raise TooLargeError(
            f"{field}inputs: {len(inputs)} inputs exceed the limit of {limits.RUN_INPUTS}",
            field=f"{field}inputs",
            limit=str(limits.RUN_INPUTS),
        )
    message = flow_run_pb2.FlowRun()
    add = message.inputs.add
    for each in inputs:
        run_id, parameter = each.run_id, each.parameter
        check_id(run_id, f"{field}inputs.run_id")
        check_required_text(parameter, f"{field}inputs.parameter", limits.NAME)
        add(run_id=run_id, parameter=parameter)
    return message.SerializeToString()


def put_details(wire: WireRun, run: Run) -> None:
    """Set the details of a run in place."""
    details = run.details
    if details is None:
        return
    if details.definition is not None:
        wire.MergeFromString(details.definition.data)
    if details.inputs is not None:
        wire.MergeFromString(details.inputs)


def shorten(wire: WireRun) -> None:
    """Leave out the fields that lists and watches do not have, so that many runs stay small."""
    if wire.description:
        wire.ClearField("description")
    if len(wire.inputs) > limits.LISTED_INPUTS:
        wire.ClearField("inputs")
