"""The messages in stored runs, as spans show them."""

from __future__ import annotations

from flowspan.v1 import failure_pb2, flow_run_pb2
from flowspan_service.domain.span_facts import CodeFacts, ErrorFacts, InputFacts


class MessageDecoder:
    """Implementation of domain.span_facts.SpanDecoder."""

    def errors(self, failure: bytes) -> list[ErrorFacts]:
        """Return the errors of a flowspan.v1.Failure: the error itself, then its causes.

        The causes of an error follow it, `cause` before `other_causes`.
        """
        errors = []
        waiting = [failure_pb2.Failure.FromString(failure)]
        while waiting:
            error = waiting.pop()
            errors.append(ErrorFacts(error.type, error.message, error.stack_trace))
            waiting += reversed(error.other_causes)
            if error.HasField("cause"):
                waiting.append(error.cause)
        return errors

    def code(self, definition: bytes) -> CodeFacts:
        """Return the place of the function (see api.run_details)."""
        code = flow_run_pb2.FlowRun.FromString(definition).code
        return CodeFacts(code.function, code.file_path, code.line)

    def inputs(self, inputs: bytes) -> list[InputFacts]:
        """Return the inputs of a run (see api.run_details)."""
        message = flow_run_pb2.FlowRun.FromString(inputs)
        return [InputFacts(each.run_id, each.parameter) for each in message.inputs]
