"""The limits of the protocol that the client observes, each defined here only.

The comments in `proto/flowspan/v1` promise them, and the service checks them. Sizes in bytes are
sizes in UTF-8.
"""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20

MAX_NAME_BYTES = 256
"""A flow, task, run, logger, host, tag, version, or the key of an artifact."""
MAX_TAGS = 64
MAX_STATE_NAME_BYTES = 128
MAX_MESSAGE_BYTES = 32 * KIB
"""The message of a state or a failure."""
MAX_FAILURE_TYPE_BYTES = KIB
MAX_TRACE_BYTES = 64 * KIB
"""The stack trace of a failure."""
MAX_CHAIN = 16
"""Failures in a chain of causes."""
MAX_FAILURES = 64
"""A failure with all its causes, in number."""
MAX_FAILURE_BYTES = 1600 * KIB
"""A failure with all its causes, in size."""
MAX_RUN_DESCRIPTION_BYTES = 4 * KIB
"""The description of a flow run or task run."""
MAX_INPUTS = 1000
"""The upstream runs of a run, in number."""
MAX_FILE_PATH_BYTES = KIB
"""The file of a function."""
MAX_PREVIEW_BYTES = 64 * KIB
"""The preview of the arguments of a task run."""
MAX_PAYLOAD_BYTES = MIB
"""The content of an artifact, or the reference to a result."""
MAX_PARAMETERS_BYTES = 512 * KIB
"""All arguments of a flow run together."""
MAX_TRACESTATE_BYTES = 512
MAX_LOG_BYTES = 256 * KIB
"""The message of a log record. Longer texts are sent as several records."""
MAX_DESCRIPTION_BYTES = 32 * KIB
"""The description of an artifact."""
MAX_TYPE_BYTES = 64
"""The type of an artifact."""
MAX_VARIABLE_NAME = 255
"""Characters, all of them ASCII."""
MAX_FILTER_TEXT_BYTES = 256
"""The text that log messages must contain."""
MAX_RESOURCE_ATTRIBUTES = 64
"""The attributes of a process's OpenTelemetry resource."""
MAX_RESOURCE_KEY_BYTES = 256
MAX_RESOURCE_VALUE_BYTES = KIB
MAX_OTLP_URL_BYTES = 1 << 10
SECRET_BYTES = 16
"""The secret of a session: the smallest size that the service accepts."""
PAGE_TRANSITIONS = 10_000
"""Transitions in one page of a history."""
