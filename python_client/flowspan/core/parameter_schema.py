"""JSON schemas of flow parameters: `my_flow.parameters`."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from flowspan.core.type_hints import Unresolved, signature_of, type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REFERENCES = "#/definitions/{model}"
_VARIADIC: dict[Any, tuple[dict[str, Any], Any]] = {
    inspect.Parameter.VAR_POSITIONAL: ({"type": "array", "items": {}}, []),
    inspect.Parameter.VAR_KEYWORD: ({"type": "object", "additionalProperties": True}, {}),
}

_OWNERS = frozenset({"self", "cls"})
"""The implicit first parameters of methods, which are left out as in Prefect."""


@dataclass
class ParameterSchema:
    """A JSON schema of the parameters of a flow.

    Attributes:
        title: "Parameters".
        type: "object".
        properties: The schema of each parameter by name, with its `title` and its `position`.
        required: The parameters without a default, in order.
        definitions: The schemas of models that parameters refer to, by name.
    """

    title: str = "Parameters"
    type: str = "object"
    properties: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    definitions: dict[str, Any] = field(default_factory=dict)

    def model_dump(self) -> dict[str, Any]:
        """Return the schema as a dictionary."""
        return asdict(self)

    def model_dump_for_openapi(self) -> dict[str, Any]:
        """Return the schema as a dictionary, without `required` if it is empty."""
        dumped = asdict(self)
        if not self.required:
            del dumped["required"]
        return dumped


def parameter_schema(fn: Callable[..., Any], names: Mapping[str, Any]) -> ParameterSchema:
    """Return the schema of a function's parameters.

    Args:
        fn: The function. A parameter whose annotation has no schema accepts any value.
        names: The values of names that the annotations use, from the enclosing scopes; see
            `flowspan.core.type_hints.outer_names`.
    """
    schema = ParameterSchema()
    hints = type_hints(fn, names)
    for position, (name, parameter) in enumerate(signature_of(fn).parameters.items()):
        if name in _OWNERS:
            continue
        variadic = _VARIADIC.get(parameter.kind)
        if variadic is not None:
            found, default = dict(variadic[0]), variadic[1]
        else:
            found, default = _schema_of(hints.get(name, Any), schema), parameter.default
        found.update(title=name, position=position)
        if default is parameter.empty:
            schema.required.append(name)
        else:
            _add_default(found, default)
        schema.properties[name] = found
    return schema


def _schema_of(hint: Any, into: ParameterSchema) -> dict[str, Any]:
    """Return the schema of one annotation, and add its referenced models to the definitions."""
    if isinstance(hint, Unresolved) or hint is Any:
        return {}
    from pydantic import ConfigDict, create_model  # noqa: PLC0415 - startup time

    try:
        config = ConfigDict(arbitrary_types_allowed=True)
        model = create_model("Parameters", __config__=config, value=(hint, ...))
        made = model.model_json_schema(ref_template=_REFERENCES)
    except Exception:  # noqa: BLE001 - schema hooks of classes are user code
        return {}
    into.definitions.update(made.get("$defs", {}))
    return dict(made["properties"]["value"])


def _add_default(found: dict[str, Any], default: Any) -> None:
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - startup time

    if type(default).__name__ == "FieldInfo":
        default = default.get_default()
    try:
        found["default"] = to_jsonable_python(default)
    except Exception:  # noqa: BLE001 - a value that JSON cannot hold
        return
