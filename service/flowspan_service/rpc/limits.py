"""The sizes that the protos promise. In bytes unless the name says otherwise."""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20

MAX_MESSAGE = 8 * MIB
MAX_BATCH = 4 * MIB
MAX_UNACKED_EVENTS = 20_000
"""How many events of a session may wait for their commit; a batch has no more than this either."""
MAX_UNACKED = 16 * MIB
"""How much of a session may wait for its commit; what is more is not read from the connection."""
MAX_QUEUED = 96 * MIB
"""How much of all sessions together may wait for its commit."""
MAX_ACK_VERDICTS = MIB
"""The verdicts of a batch are spread over several acks of about this size."""

NAME = 256
SHORT_NAME = 64
STATE_NAME = 128
STATE_MESSAGE = 32 * KIB
FAILURE_TYPE = 1 * KIB
FAILURE_MESSAGE = 32 * KIB
FAILURE_STACK_TRACE = 64 * KIB
FAILURE_DEPTH = 16
PAYLOAD = MIB
DESCRIPTION = 32 * KIB
VARIABLE_NAME = 255
VARIABLE_VALUE = 64 * KIB
PARAMETERS = 512 * KIB
LOG_MESSAGE = 256 * KIB
TRACESTATE = 512
TAG_COUNT = 64
FILTER_VALUES = 100
CAPABILITIES = 64
SECRET_MIN = 16
SECRET = 64
TOKEN = 512

PAGE_RUNS = 1000
PAGE_RUNS_DEFAULT = 100
PAGE_TRANSITIONS = 10_000
PAGE_LOGS = 10_000
PAGE_LOGS_DEFAULT = 1000
PAGE_COMMANDS = 10_000
PAGE_MESSAGE = 2 * MIB
"""Lists end a page early when its message would be larger than about this."""
