"""The limits of the protocol in the client, in the service, and in the comments of the protos."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from flowspan.core import limits as client
from flowspan.reporter.intake import MAX_BATCH_BYTES, MAX_BATCH_EVENTS
from flowspan_service.api import limits as service

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "proto/flowspan/v1"
CLIENT = ROOT / "python_client/flowspan"
KIB, MIB = 1 << 10, 1 << 20

SAME = {
    "MAX_NAME_BYTES": "NAME",
    "MAX_TAGS": "TAG_COUNT",
    "MAX_STATE_NAME_BYTES": "STATE_NAME",
    "MAX_FAILURE_TYPE_BYTES": "FAILURE_TYPE",
    "MAX_TRACE_BYTES": "FAILURE_STACK_TRACE",
    "MAX_CHAIN": "FAILURE_DEPTH",
    "MAX_FAILURES": "FAILURE_COUNT",
    "MAX_RUN_DESCRIPTION_BYTES": "RUN_DESCRIPTION",
    "MAX_INPUTS": "RUN_INPUTS",
    "MAX_FILE_PATH_BYTES": "CODE_FILE",
    "MAX_PREVIEW_BYTES": "TASK_PARAMETERS",
    "MAX_FAILURE_BYTES": "FAILURE",
    "MAX_PAYLOAD_BYTES": "PAYLOAD",
    "MAX_PARAMETERS_BYTES": "PARAMETERS",
    "MAX_TRACESTATE_BYTES": "TRACESTATE",
    "MAX_OTLP_URL_BYTES": "OTLP_URL",
    "MAX_LOG_BYTES": "LOG_MESSAGE",
    "MAX_DESCRIPTION_BYTES": "DESCRIPTION",
    "MAX_TYPE_BYTES": "SHORT_NAME",
    "MAX_VARIABLE_NAME": "VARIABLE_NAME",
    "MAX_FILTER_TEXT_BYTES": "NAME",
    "MAX_RESOURCE_ATTRIBUTES": "RESOURCE_COUNT",
    "MAX_RESOURCE_KEY_BYTES": "RESOURCE_KEY",
    "MAX_RESOURCE_VALUE_BYTES": "RESOURCE_VALUE",
    "SECRET_BYTES": "SECRET_MIN",
    "PAGE_TRANSITIONS": "PAGE_TRANSITIONS",
}
"""The limits of the client, and their names in the service."""

PROMISED = [
    ("error.proto", "report 4 MiB and 160 KiB", service.MAX_BATCH),
    ("error.proto", "report 4 MiB and 160 KiB", service.HELLO),
    ("artifact.proto", "At most 256 bytes", client.MAX_NAME_BYTES),
    ("artifact.proto", "At most 64 bytes", client.MAX_TYPE_BYTES),
    ("artifact.proto", "At most 32 KiB", client.MAX_DESCRIPTION_BYTES),
    ("artifact.proto", "At most 1 MiB", client.MAX_PAYLOAD_BYTES),
    ("code_location.proto", "At most 1024 bytes", client.MAX_FILE_PATH_BYTES),
    ("code_location.proto", "At most 256 bytes", client.MAX_NAME_BYTES),
    ("failure.proto", "A chain of more than 16 errors", client.MAX_CHAIN),
    ("failure.proto", "at most 1600 KiB", service.FAILURE),
    ("failure.proto", "at most 64 errors", client.MAX_FAILURES),
    ("failure.proto", "At most 32 KiB", client.MAX_MESSAGE_BYTES),
    ("failure.proto", "At most 64 KiB", client.MAX_TRACE_BYTES),
    ("flow_run.proto", "At most 256 bytes", client.MAX_NAME_BYTES),
    ("flow_run.proto", "At most 512 KiB", client.MAX_PARAMETERS_BYTES),
    ("flow_run_service.proto", "1 to 10000", client.PAGE_TRANSITIONS),
    ("flow_run.proto", "At most 4 KiB", client.MAX_RUN_DESCRIPTION_BYTES),
    ("flow_run.proto", "At most 1000", client.MAX_INPUTS),
    ("flow_run.proto", "more than 20", service.LISTED_INPUTS),
    ("flow_run_service.proto", "At most 64", service.LABEL_COUNT),
    ("log.proto", "At most 256 KiB", client.MAX_LOG_BYTES),
    ("log_service.proto", "At most 256 bytes", client.MAX_FILTER_TEXT_BYTES),
    ("payload.proto", "At most 1 MiB", client.MAX_PAYLOAD_BYTES),
    ("payload.proto", "at most 500 levels", service.JSON_DEPTH),
    ("report.proto", "At most 64, of at most 256 bytes each", client.MAX_TAGS),
    ("report.proto", "At most 512 KiB", client.MAX_PARAMETERS_BYTES),
    ("report.proto", "more than 64 KiB is not stored", client.MAX_PREVIEW_BYTES),
    ("report.proto", "At most 4 KiB", client.MAX_RUN_DESCRIPTION_BYTES),
    ("report.proto", "At most 1000", client.MAX_INPUTS),
    ("run_input.proto", "At most 256 bytes", client.MAX_NAME_BYTES),
    ("report_service.proto", "events: at most 20,000", service.MAX_UNACKED_EVENTS),
    ("single_run_service.proto", "At most 256 bytes", client.MAX_NAME_BYTES),
    ("single_run_service.proto", "At most 512 KiB", client.MAX_PARAMETERS_BYTES),
    ("single_run_service.proto", "At most 64, of at most 256 bytes each", client.MAX_TAGS),
    ("single_run_service.proto", "At most 4 KiB", client.MAX_RUN_DESCRIPTION_BYTES),
    ("single_run_service.proto", "At most 256 KiB", service.LOG_MESSAGE),
    ("single_run_service.proto", "At most 1000, and 1 MiB in all", service.RUN_LOGS),
    ("single_run_service.proto", "At most 1000, and 1 MiB in all", service.RUN_LOGS_BYTES),
    ("single_run_service.proto", "At most 1 MiB", client.MAX_PAYLOAD_BYTES),
    ("single_run_service.proto", "At most 32 KiB", client.MAX_MESSAGE_BYTES),
    ("state.proto", "At most 128 bytes", client.MAX_STATE_NAME_BYTES),
    ("state.proto", "At most 32 KiB", client.MAX_MESSAGE_BYTES),
    ("task_run.proto", "At most 64 KiB", client.MAX_PREVIEW_BYTES),
    ("task_run.proto", "more than 2 KiB", service.LISTED_TASK_PARAMETERS),
    ("task_run.proto", "At most 4 KiB", client.MAX_RUN_DESCRIPTION_BYTES),
    ("task_run.proto", "At most 1000", client.MAX_INPUTS),
    ("task_run.proto", "more than 20", service.LISTED_INPUTS),
    ("task_run_service.proto", "1 to 10000", client.PAGE_TRANSITIONS),
    ("trace.proto", "At most 512 bytes", client.MAX_TRACESTATE_BYTES),
    ("variable.proto", "At most 255 bytes", client.MAX_VARIABLE_NAME),
    ("variable.proto", "At most 64 KiB", service.VARIABLE_VALUE),
]
"""The file, its words, and the number that they must state."""

UNITS = {"KiB": KIB, "MiB": MIB}


def constants(module: object) -> dict[str, int]:
    return {
        name: value
        for name, value in vars(module).items()
        if name.isupper() and type(value) is int and name not in {"KIB", "MIB"}
    }


def numbers(text: str) -> set[int]:
    """Return the numbers in a text, with KiB and MiB as bytes."""
    found = re.findall(r"(\d[\d,]*)(?: (KiB|MiB))?", text)
    return {int(digits.replace(",", "")) * UNITS.get(unit, 1) for digits, unit in found}


def test_every_limit_of_the_client_is_the_services() -> None:
    ours = constants(client)
    assert set(ours) == {*SAME, "MAX_MESSAGE_BYTES"}
    assert {name: ours[name] for name in SAME} == {
        name: getattr(service, of_service) for name, of_service in SAME.items()
    }
    assert client.MAX_MESSAGE_BYTES == service.STATE_MESSAGE == service.FAILURE_MESSAGE


def test_the_batches_of_the_reporter_fit() -> None:
    # The last event of a batch may exceed its size: at most a payload and its surroundings.
    assert MAX_BATCH_BYTES + 2 * client.MAX_PAYLOAD_BYTES <= service.MAX_BATCH
    assert MAX_BATCH_EVENTS <= service.MAX_UNACKED_EVENTS


@pytest.mark.parametrize(("proto", "words", "limit"), PROMISED)
def test_the_protos_promise_them(proto: str, words: str, limit: int) -> None:
    comments = re.findall(r"^\s*//(.*)$", (PROTOS / proto).read_text(), re.MULTILINE)
    assert words in " ".join(" ".join(comments).split()), "the promise has other words now"
    assert limit in numbers(words)


def test_no_other_module_of_the_client_repeats_one() -> None:
    ours = constants(client)
    copies = []
    for path in sorted(CLIENT.rglob("*.py")):
        if path == CLIENT / "core/limits.py" or path.parent == CLIENT / "v1":
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id.lstrip("_")
                if name in ours:
                    copies.append(f"{path.relative_to(CLIENT)}: {name}")
    assert not copies
