"""The sizes that the protos promise, in bytes unless the name says otherwise."""

from __future__ import annotations

from flowspan_service.domain.verdicts import KEPT_EVENTS

KIB = 1 << 10
MIB = 1 << 20

MAX_MESSAGE = 8 * MIB
MAX_BATCH = 4 * MIB
MAX_CALLS_OF_A_CONNECTION = 256
"""Concurrent calls and streams of one connection; its client holds back any others. gRPC also
counts calls that were reset and not yet handled. Without a limit, these filled the only queue of
calls, and gRPC dropped calls of other connections from it."""
MAX_UNACKED_EVENTS = KEPT_EVENTS
"""The most events of a session that may wait for their commit, and the most in one batch."""
MAX_UNACKED = 16 * MIB
"""The most bytes of a session that may wait for their commit; more are not read."""
MAX_QUEUED = 96 * MIB
"""The most bytes of all sessions together that may wait for their commit."""
MAX_ACK_VERDICTS = MIB
"""The verdicts of a batch are spread over several acks of about this size. In the one answer of
ReportBatch, and in a Welcome, those after it are short."""
MAX_COMMANDS = 1000
"""Commands in one answer of ReportBatch; the others come with the next."""
COMMAND_KEEPALIVE_S = 15.0
"""WatchCommands sends a frame at least this often."""
BRIEF_TEXT = 1000
"""The message of a state in a verdict, or the reason of a command, in characters."""

NAME = 256
SHORT_NAME = 64
STATE_NAME = 128
STATE_MESSAGE = 32 * KIB
REASON = 4 * KIB
FAILURE_TYPE = 1 * KIB
FAILURE_MESSAGE = 32 * KIB
FAILURE_STACK_TRACE = 64 * KIB
FAILURE_DEPTH = 16
FAILURE_COUNT = 64
FAILURE = 1600 * KIB
"""A failure with all its causes: a little more than the longest chain of the largest ones."""
PAYLOAD = MIB
JSON_DEPTH = 500
"""The nesting of JSON, outside reports."""
RUN_DESCRIPTION = 4 * KIB
RUN_INPUTS = 1000
CODE_FILE = KIB
TASK_PARAMETERS = 64 * KIB
"""The parameters of a task run, which are a preview."""
DESCRIPTION = 32 * KIB
VARIABLE_NAME = 255
VARIABLE_VALUE = 64 * KIB
LABEL_KEY = 64
LABEL_VALUE = 256
LABEL_COUNT = 64
PARAMETERS = 512 * KIB
LOG_MESSAGE = 256 * KIB
RUN_LOGS = 1000
"""The log records in a call about a single run."""
RUN_LOGS_BYTES = MIB
"""The text of these records, in all."""
TRACESTATE = 512
RESOURCE_COUNT = 64
RESOURCE_KEY = 256
RESOURCE_VALUE = 1 * KIB
OTLP_URL = 1 * KIB
TAG_COUNT = 64
FILTER_VALUES = 100
CAPABILITIES = 64
SECRET_MIN = 16
SECRET = 64
TOKEN = 512
ACCESS_TOKEN_NAME = 64
ACCESS_TOKEN_RATE = 1_000_000
"""Calls per second."""
ACCESS_TOKEN_REQUEST_MIN = KIB

REQUEST = 64 * KIB
"""A request before it is parsed: far more than any valid one has, as newer clients may send more
fields. The exceptions follow."""
HELLO = 160 * KIB
"""The first frame of a stream before it is parsed; its resource alone may have 80 KiB."""
MAX_FRAME = MAX_BATCH + HELLO
"""Any other frame of a stream, and a request of ReportBatch, which has a Hello and a batch."""
REQUESTS = {
    # A filter has up to 400 values of at most 256 bytes.
    **dict.fromkeys(
        (
            "ListFlowRuns",
            "CountFlowRuns",
            "ListTaskRuns",
            "CountTaskRuns",
            "ListArtifacts",
            "Watch",
        ),
        256 * KIB,
    ),
    "SetVariable": 256 * KIB,
    "CreateArtifact": 2 * MIB,
    "UpdateArtifact": 2 * MIB,
    # A state has a result, or a chain of failures of 97 KiB each.
    "CreateFlowRun": 4 * MIB,
    "SetFlowRunState": 4 * MIB,
    "SetTaskRunState": 4 * MIB,
    "ReportBatch": MAX_FRAME,
    # Parameters, tags, labels and a resource.
    "StartRun": MIB,
    # The text of log records, and 300 bytes beside the text of each.
    "TouchRun": 2 * MIB,
    # A result or a failure, and log records.
    "FinishRun": 4 * MIB,
}
"""The largest requests of methods that take more than the others, before they are parsed."""

PAGE_RUNS = 1000
PAGE_RUNS_DEFAULT = 100
RUNS_AT_ONCE = 100
"""Runs of a page that are read at once, with their payloads in memory together."""
LISTED_INPUTS = 20
"""A list leaves out the inputs of a run that has more."""
LISTED_TASK_PARAMETERS = 2 * KIB
"""A list leaves out larger parameters of a task run."""
PAGE_TRANSITIONS = 10_000
WHOLE_HISTORY = 50_000
"""The most transitions of a history that is read without pages."""
PAGE_LOGS = 10_000
PAGE_LOGS_DEFAULT = 1000
PAGE_COMMANDS = 10_000
PAGE_MESSAGE = 2 * MIB
"""Lists end a page early if its message would exceed about this size."""
WHOLE_MESSAGE = 6 * MIB
"""A larger history that is read without pages is refused; with its last transition, the message is
below 8 MiB."""

MIN_PING_TIMEOUT_MS = 20_000
"""The shortest time after which a connection ends whose pings are not answered."""
BROKEN_OFF_WITHIN_MS = 15_000
"""The longest silence of a client before the other side ends its connection: with the default
lease, a client sends a frame every ten seconds. Pings without an answer end no connection earlier.
"""
