"""The explicitly set fields of pydantic models, at any depth, which JSON does not preserve.

`model_dump(exclude_unset=True)`, PATCH requests and merged settings depend on them. Models are
addressed by their path: field names, dictionary keys and sequence indexes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from flowspan.core.values.inspection import declared_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Path = tuple[str | int, ...]


def differing(value: Any, other: Any) -> list[list[Any]]:
    """Return the set fields of the models in a value that differ from those in its copy.

    Args:
        value: A model.
        other: The same model, rebuilt.

    Returns:
        Pairs of the path to a model in the value, and the sorted names of its set fields.
    """
    others = dict(_models_in(other, ()))
    return [
        [list(path), sorted(_set_fields(model))]
        for path, model in _models_in(value, ())
        if path in others and _set_fields(model) != _set_fields(others[path])
    ]


def apply(value: Any, marks: Iterable[list[Any]]) -> Any:
    """Restore the set fields of the models in a value.

    Args:
        value: A rebuilt model.
        marks: The result of `differing`.

    Returns:
        The value.

    Raises:
        ValueError: A path does not lead to a model.
    """
    for path, names in marks:
        model = value
        try:
            for step in path:
                model = _part(model, step)
        except (AttributeError, LookupError, TypeError) as error:
            raise ValueError(f"there is no model at {path}") from error
        if not _is_model(model):
            raise ValueError(f"there is no model at {path}")
        object.__setattr__(model, "__pydantic_fields_set__", set(names))
    return value


def _models_in(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if _is_model(value):
        yield path, value
    for step, part in _parts(value):
        yield from _models_in(part, (*path, step))


def _parts(value: Any) -> Iterable[tuple[str | int, Any]]:
    # Items of sets have no index, so models in sets are not found.
    if isinstance(value, dict):
        return [(key, part) for key, part in value.items() if type(key) in {str, int}]
    if isinstance(value, (list, tuple, deque)):
        return enumerate(value)
    names: list[str] = []
    if _is_model(value):
        names = [*type(value).__pydantic_fields__, *(value.__pydantic_extra__ or ())]
    elif not isinstance(value, type):
        names = list(declared_fields(type(value)) or ())
    return [(name, getattr(value, name)) for name in names if hasattr(value, name)]


def _part(holder: Any, step: str | int) -> Any:
    if isinstance(holder, (dict, list, tuple, deque)):
        return holder[step]  # type: ignore[index] # a wrong step raises, and the caller handles it
    return getattr(holder, str(step))


def _is_model(value: Any) -> bool:
    return hasattr(type(value), "__pydantic_fields__") and hasattr(type(value), "model_fields_set")


def _set_fields(model: Any) -> set[str]:
    return set(model.model_fields_set)
