"""Failures in the words of each protocol."""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import unquote

from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from flowspan_service.api.calls.errors import CODES
from flowspan_service.domain.errors import NotFoundError, OverloadedError
from flowspan_service.transports.http import errors


def test_all_canonical_codes_are_known() -> None:
    assert set(errors._CODES) == set(Code.values()) - {0}
    for number, code in errors._CODES.items():
        name = Code.Name(number).lower()
        assert code.name == ("canceled" if name == "cancelled" else name)
        assert 400 <= code.status < 600
    assert {int(code) for code in CODES.values()} <= set(errors._CODES)


def test_json_has_the_details_in_binary_and_for_people() -> None:
    failure = errors.failure_of(NotFoundError("No run.", advice="List them.", id="x"))
    content = failure.as_json()
    assert (content["code"], content["message"]) == ("not_found", "No run.")
    (detail,) = content["details"]
    assert detail["type"] == "google.rpc.ErrorInfo"
    assert not detail["value"].endswith("=")
    info = ErrorInfo.FromString(b64decode(detail["value"] + "=="))
    assert (info.reason, dict(info.metadata)) == ("NOT_FOUND", {"id": "x", "advice": "List them."})
    assert detail["debug"]["metadata"]["advice"] == "List them."


def test_what_passes_with_time_says_when() -> None:
    failure = errors.failure_of(OverloadedError("Full."))
    assert failure.http_status == 429
    assert failure.headers == ((b"retry-after", b"1"),)
    assert failure.as_json()["details"][1]["debug"] == {"retryDelay": "1s"}
    assert errors.failure_of(NotFoundError("No run.")).headers == ()


def test_trailers_hold_any_text_in_one_line() -> None:
    message = 'Zeile 1\r\ngrpc-status: 0\n100 % "ü" 🐍'
    failure = errors.failure_of(NotFoundError(message))
    lines = failure.as_trailers().decode("ascii").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if line)
    assert list(fields) == ["grpc-status", "grpc-message", "grpc-status-details-bin"]
    assert fields["grpc-status"] == "5"
    assert unquote(fields["grpc-message"]) == message
    status = Status.FromString(b64decode(fields["grpc-status-details-bin"] + "=="))
    assert (status.code, status.message) == (5, message)
