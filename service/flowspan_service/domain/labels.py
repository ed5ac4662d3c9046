"""Labels: key/value pairs on runs, set by programs and people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Label(NamedTuple):
    """A label of a run; see flowspan.v1.Label."""

    run_id: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class LabelChange:
    """A change of the labels of a run. No key is both set and removed."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """The values to set, by key."""
    removed_keys: frozenset[str] = frozenset()

    def applied_to(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return the labels of a run after the change, ordered by key."""
        kept = {key: value for key, value in labels.items() if key not in self.removed_keys}
        return dict(sorted((kept | dict(self.labels)).items()))
