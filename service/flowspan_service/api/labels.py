"""Labels of runs: LabelService, and the checks and conversion of labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowspan.v1 import label_pb2
from flowspan.v1 import label_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import (
    Checks,
    all_of,
    check_id,
    check_required_text,
    check_text,
    invalid,
    shown,
    with_page,
)
from flowspan_service.api.fields.paging import Paging
from flowspan_service.app.labels import SetLabels, get_labels
from flowspan_service.app.ports.labels import LabelQuery
from flowspan_service.domain.errors import TooLargeError
from flowspan_service.domain.labels import LabelChange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sized

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.domain.labels import Label

# ruff: noqa: N802 - methods are named as in the protos

_is_key = re.compile(r"[a-z0-9._/-]*").fullmatch


class LabelService:
    """The servicer of LabelService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def SetLabels(self, request: pb.SetLabelsRequest, _: Call) -> pb.SetLabelsResponse:
        """Set and remove labels of a run."""
        change = LabelChange(dict(request.labels), frozenset(request.removed_keys))
        labels = await self._backend.write(
            SetLabels(request.run_id, change, max_labels=limits.LABEL_COUNT)
        )
        return pb.SetLabelsResponse(labels=labels)

    async def GetLabels(self, request: pb.GetLabelsRequest, _: Call) -> pb.GetLabelsResponse:
        """Return all labels of a run."""
        labels = await self._backend.read(get_labels, self._backend.store, request.run_id)
        return pb.GetLabelsResponse(labels=labels)

    async def ListLabels(self, request: pb.ListLabelsRequest, _: Call) -> pb.ListLabelsResponse:
        """Return a page of the labels with a key, the newest run first."""
        value = request.value if request.HasField("value") else None
        selection = request.key if value is None else f"{request.key}\0{value}"
        paging = Paging(self._backend.page_tokens, request, b"labels\0" + selection.encode())
        page = await self._backend.read(
            self._backend.store.labels.list,
            LabelQuery(
                key=request.key,
                value=value,
                after_run_id=paging.after(),
                limit=paging.limit,
                limit_bytes=limits.PAGE_MESSAGE,
            ),
        )
        return pb.ListLabelsResponse(
            labels=[label_message(each) for each in page.items],
            next_page_token=paging.token_after(page, lambda each: each.run_id),
        )


def _check_key(key: str, field: str) -> None:
    check_required_text(key, field, limits.LABEL_KEY)
    if not _is_key(key):
        raise invalid(
            field,
            f"{shown(key)} contains characters other than lower-case letters, digits, dots,"
            " underscores, slashes and dashes",
        )


def _check_count(items: Sized, field: str) -> None:
    if len(items) > limits.LABEL_COUNT:
        raise TooLargeError(
            f"{field}: {len(items)} labels exceed the limit of {limits.LABEL_COUNT}",
            field=field,
            limit=str(limits.LABEL_COUNT),
        )


def check_labels(labels: Mapping[str, str], field: str) -> None:
    """Check labels to set."""
    _check_count(labels, field)
    for key, value in labels.items():
        _check_key(key, field)
        check_text(value, f"{field}[{key}]", limits.LABEL_VALUE)


def _check_change(request: pb.SetLabelsRequest) -> None:
    check_id(request.run_id, "run_id")
    check_labels(request.labels, "labels")
    _check_count(request.removed_keys, "removed_keys")
    for key in request.removed_keys:
        _check_key(key, "removed_keys")
        if key in request.labels:
            raise invalid("removed_keys", f"{shown(key)} is also set in labels")


def _check_run(request: pb.GetLabelsRequest) -> None:
    check_id(request.run_id, "run_id")


def _check_selection(request: pb.ListLabelsRequest) -> None:
    _check_key(request.key, "key")
    check_text(request.value, "value", limits.LABEL_VALUE)


CHECKS: Checks = {
    pb.SetLabelsRequest: _check_change,
    pb.GetLabelsRequest: _check_run,
    pb.ListLabelsRequest: all_of(_check_selection, with_page(limits.PAGE_RUNS)),
}


def label_message(label: Label) -> label_pb2.Label:
    """Return the message of a label."""
    return label_pb2.Label(run_id=label.run_id, key=label.key, value=label.value)
