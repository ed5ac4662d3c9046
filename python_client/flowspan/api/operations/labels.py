"""Operations on the labels of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from flowspan.api import convert, models
from flowspan.api.requests import call, pages
from flowspan.core.values.inspection import encodable
from flowspan.v1 import label_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from flowspan.api.requests import Answer, Items

_SERVICE = "LabelService"

LabelValue: TypeAlias = "str | int | float | bool"
"""The value of a label; the service stores its text."""


def set_labels(
    run_id: UUID | str, labels: Mapping[str, LabelValue], *, removed_keys: Iterable[str] = ()
) -> Answer[dict[str, str]]:
    """Set and remove labels of a flow run or task run. Idempotent; its other labels stay.

    Args:
        run_id: The run. It may have ended.
        labels: The values by key. A key has 1 to 64 lower-case letters, digits, dots, underscores,
            slashes and dashes, a value at most 256 bytes. Numbers are stored as text, True and
            False as "true" and "false".
        removed_keys: The keys to remove. Absent ones are ignored.

    Returns:
        All labels of the run, by key. At most 64.

    Raises:
        TypeError: A value is not a string, a number or a boolean.
        ObjectNotFound: There is no such run.
        ApiError: INVALID_ARGUMENT, a key or value is invalid, or there are too many labels.
    """
    request = pb.SetLabelsRequest(run_id=str(run_id), removed_keys=map(encodable, removed_keys))
    for key, value in labels.items():
        request.labels[encodable(key)] = _text(key, value)
    answer = yield from call(f"{_SERVICE}/SetLabels", request, pb.SetLabelsResponse)
    return convert.labels(answer.labels)


def get_labels(run_id: UUID | str) -> Answer[dict[str, str]]:
    """Return all labels of a flow run or task run, by key.

    Raises:
        ObjectNotFound: There is no such run.
    """
    request = pb.GetLabelsRequest(run_id=str(run_id))
    answer = yield from call(f"{_SERVICE}/GetLabels", request, pb.GetLabelsResponse)
    return convert.labels(answer.labels)


def list_labels(
    key: str, value: LabelValue | None = None, *, limit: int | None = None, page_size: int = 0
) -> Items[models.Label]:
    """Iterate over the labels of all runs with a key, newest run first.

    Args:
        key: The key.
        value: The only value to include; None for all.
        limit: The maximum number of labels; None for all.
        page_size: The number fetched at a time, 1 to 1000; 0 for the service's default.

    Raises:
        ApiError: INVALID_ARGUMENT, the key or the value is invalid.
    """
    request = pb.ListLabelsRequest(key=encodable(key), page_size=page_size)
    if value is not None:
        request.value = _text(key, value)
    yield from pages(
        f"{_SERVICE}/ListLabels",
        request,
        pb.ListLabelsResponse,
        lambda page: map(convert.label, page.labels),
        limit=limit,
    )


def update_flow_run_labels(
    flow_run_id: UUID | str, labels: Mapping[str, LabelValue]
) -> Answer[None]:
    """Set labels of a flow run, as in Prefect; `set_labels` returns them and can remove others.

    Args:
        flow_run_id: The run.
        labels: The values by key, as for `set_labels`. The run's other labels stay.

    Raises:
        TypeError, ObjectNotFound, ApiError: As for `set_labels`.
    """
    yield from set_labels(flow_run_id, labels)


def _text(key: str, value: LabelValue) -> str:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    msg = (
        f"the value of label {key!r} is of type {type(value).__name__}. Use a string, a number or"
        " a boolean."
    )
    raise TypeError(msg)
