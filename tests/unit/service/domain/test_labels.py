"""Changes of the labels of a run."""

from __future__ import annotations

from flowspan_service.domain.labels import LabelChange


def test_labels_are_merged_and_ordered_by_key() -> None:
    change = LabelChange({"a": "1", "m": ""})
    assert list(change.applied_to({"z": "9", "a": "0"}).items()) == [
        ("a", "1"),
        ("m", ""),
        ("z", "9"),
    ]


def test_removed_keys_are_removed_and_absent_ones_ignored() -> None:
    change = LabelChange({"b": "2"}, frozenset({"a", "absent"}))
    assert change.applied_to({"a": "1"}) == {"b": "2"}


def test_an_empty_change_changes_nothing() -> None:
    before = {"a": "1"}
    after = LabelChange().applied_to(before)
    assert after == before
    assert after is not before
