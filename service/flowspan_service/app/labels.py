"""Labels of runs: set, remove, read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.errors import NotFoundError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import Store, UnitOfWork
    from flowspan_service.domain.labels import LabelChange


class SetLabels:
    """Set and remove labels of a run; return all its labels, by key. Idempotent."""

    __slots__ = ("change", "max_labels", "run_id", "run_ids", "weight")

    def __init__(self, run_id: str, change: LabelChange, *, max_labels: int) -> None:
        """Initialize the operation.

        Args:
            run_id: The run.
            change: The change of its labels.
            max_labels: The maximum number of labels of a run.
        """
        self.run_id = run_id
        self.change = change
        self.max_labels = max_labels
        self.run_ids: Sequence[str] = (run_id,)
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> dict[str, str]:
        """Change the labels.

        Raises:
            NotFoundError: There is no such run.
            TooLargeError: The run would have too many labels.
        """
        run = uow.runs.get(self.run_id)
        if run is None or uow.deletions.covers(run):
            raise _run_not_found(self.run_id)
        before = uow.labels.get(self.run_id)
        after = self.change.applied_to(before)
        if len(after) > self.max_labels:
            raise TooLargeError(
                f"The run would have {len(after)} labels; at most {self.max_labels} are allowed.",
                advice="Remove labels of the run in the same call.",
                field="labels",
                limit=str(self.max_labels),
                run_id=self.run_id,
            )
        if after != before:
            uow.labels.put(
                self.run_id, {key: after[key] for key in after if before.get(key) != after[key]}
            )
            uow.labels.remove(self.run_id, [key for key in before if key not in after])
        return after


def get_labels(store: Store, run_id: str) -> dict[str, str]:
    """Return the labels of a run, by key.

    Raises:
        NotFoundError: There is no such run.
    """
    labels = store.labels.get(run_id)
    if labels is None:
        raise _run_not_found(run_id)
    return labels


def _run_not_found(run_id: str) -> NotFoundError:
    return NotFoundError(f"There is no run {run_id}.", run_id=run_id)
