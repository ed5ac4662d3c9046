"""Write the OpenAPI document of the HTTP interface, from the descriptors of proto/.

    python scripts/openapi.py DESCRIPTORS > openapi.json

DESCRIPTORS is a FileDescriptorSet with source info. `make gen` runs this, and
`make gen-check` compares the result with the committed document.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
)

PACKAGE = "flowspan.v1"

_Schema = dict[str, Any]
_Field = FieldDescriptorProto

_INT32 = {"type": "integer", "format": "int32"}
_INT64 = {"type": "string", "format": "int64"}
_NUMBER = {"type": "number", "format": "double"}
_SCALARS: dict[int, _Schema] = {
    _Field.TYPE_DOUBLE: _NUMBER,
    _Field.TYPE_FLOAT: _NUMBER,
    _Field.TYPE_INT64: _INT64,
    _Field.TYPE_UINT64: _INT64,
    _Field.TYPE_SINT64: _INT64,
    _Field.TYPE_FIXED64: _INT64,
    _Field.TYPE_SFIXED64: _INT64,
    _Field.TYPE_INT32: _INT32,
    _Field.TYPE_UINT32: _INT32,
    _Field.TYPE_SINT32: _INT32,
    _Field.TYPE_FIXED32: _INT32,
    _Field.TYPE_SFIXED32: _INT32,
    _Field.TYPE_BOOL: {"type": "boolean"},
    _Field.TYPE_STRING: {"type": "string"},
    _Field.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: dict[str, _Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?[0-9]+(\.[0-9]+)?s$",
        "examples": ["2.5s"],
    },
    "google.protobuf.Empty": {"type": "object"},
}
_CODES = [
    *("canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found"),
    *("already_exists", "permission_denied", "resource_exhausted", "failed_precondition"),
    *("aborted", "out_of_range", "unimplemented", "internal", "unavailable", "data_loss"),
    "unauthenticated",
]
_ERROR: _Schema = {
    "type": "object",
    "description": "The failure of a call.",
    "required": ["code"],
    "properties": {
        "code": {"type": "string", "enum": _CODES},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "value"],
                "properties": {
                    "type": {
                        "type": "string",
                        "description": "The type of the detail, such as google.rpc.ErrorInfo.",
                    },
                    "value": {
                        "type": "string",
                        "contentEncoding": "base64",
                        "description": "The detail in binary.",
                    },
                    "debug": {
                        "type": "object",
                        "description": "The detail as JSON, for people: an ErrorInfo has a "
                        "reason (see flowspan.v1.ErrorReason) and metadata with advice.",
                    },
                },
            },
        },
    },
}
_PARAMETERS: dict[str, _Schema] = {
    "connect-protocol-version": {
        "name": "connect-protocol-version",
        "in": "header",
        "description": "Sent by generated clients. Without it, unknown fields are refused.",
        "schema": {"type": "string", "const": "1"},
    },
    "connect-timeout-ms": {
        "name": "connect-timeout-ms",
        "in": "header",
        "description": "The deadline of the call, in milliseconds from now.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,10}$"},
    },
}
_ENVELOPES = (
    "The answer is a stream. In the request and the answer, each message has an envelope: a byte "
    "of flags (0; 2 for the last one of the answer, which has the error if there is one), the "
    "length in four bytes, big-endian, and the message."
)


class Document:
    """The document of a set of descriptors."""

    def __init__(self, found: FileDescriptorSet) -> None:
        self._comments: dict[str, str] = {}
        self._maps: dict[str, DescriptorProto] = {}
        self._schemas: dict[str, _Schema] = {"connect.Error": _ERROR}
        self._paths: dict[str, _Schema] = {}
        self._tags: list[_Schema] = []
        files = [file for file in found.file if file.package == PACKAGE]
        for file in files:
            self._read_comments(file)
        for file in files:
            for kind in file.enum_type:
                self._add_enum(kind, f"{PACKAGE}.{kind.name}")
            for message in file.message_type:
                self._add_message(message, f"{PACKAGE}.{message.name}")
        for file in files:
            for service in file.service:
                self._add_service(service.name, list(service.method))

    def as_json(self) -> _Schema:
        """Return the document."""
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "flowspan",
                "version": "v1",
                "summary": "Workflow orchestration: runs, states, logs, artifacts.",
                "description": "The methods of a flowspan service over HTTP, in the Connect "
                "protocol. Fields with their default values are left out of answers.",
                "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": self._tags,
            "paths": dict(sorted(self._paths.items())),
            "components": {
                "schemas": dict(sorted(self._schemas.items())),
                "parameters": _PARAMETERS,
                "responses": {
                    "error": {
                        "description": "The call failed.",
                        "content": {"application/json": {"schema": _reference("connect.Error")}},
                    }
                },
            },
        }

    def _read_comments(self, file: FileDescriptorProto) -> None:
        """Read the comments of a file, by the full name of what they describe."""
        names: dict[tuple[int, ...], str] = {}
        for index, message in enumerate(file.message_type):
            _name_message(message, PACKAGE, (4, index), names)
        for index, kind in enumerate(file.enum_type):
            _name_enum(kind, PACKAGE, (5, index), names)
        for index, service in enumerate(file.service):
            names[6, index] = f"{PACKAGE}.{service.name}"
            for number, method in enumerate(service.method):
                names[6, index, 2, number] = f"{PACKAGE}.{service.name}.{method.name}"
        for location in file.source_code_info.location:
            name = names.get(tuple(location.path))
            if name is not None:
                self._comments[name] = _flowing(location.leading_comments)

    def _described(self, name: str, schema: _Schema) -> _Schema:
        comment = self._comments.get(name, "")
        return {**schema, "description": comment} if comment else schema

    def _add_enum(self, kind: EnumDescriptorProto, name: str) -> None:
        lines = [self._comments.get(name, ""), ""]
        lines += [
            f"- {value.name}: {self._comments.get(f'{name}.{value.name}', '')}"
            for value in kind.value
        ]
        self._schemas[name] = {
            "type": "string",
            "enum": [value.name for value in kind.value],
            "description": "\n".join(lines).strip(),
        }

    def _add_message(self, message: DescriptorProto, name: str) -> None:
        for nested in message.nested_type:
            if nested.options.map_entry:
                self._maps[f".{name}.{nested.name}"] = nested
            else:
                self._add_message(nested, f"{name}.{nested.name}")
        for kind in message.enum_type:
            self._add_enum(kind, f"{name}.{kind.name}")
        schema: _Schema = {"type": "object"}
        properties = {
            field.json_name: self._described(f"{name}.{field.name}", self._field(field))
            for field in message.field
        }
        if properties:
            schema["properties"] = properties
        schema = self._described(name, schema)
        if choices := _choices(message):
            text = "\n\n".join([schema.get("description", ""), *choices]).strip()
            schema["description"] = text
        self._schemas[name] = schema

    def _field(self, field: FieldDescriptorProto) -> _Schema:
        if field.type_name in self._maps:
            value = next(each for each in self._maps[field.type_name].field if each.number == 2)
            return {"type": "object", "additionalProperties": self._value(value)}
        value_schema = self._value(field)
        if field.label == _Field.LABEL_REPEATED:
            return {"type": "array", "items": value_schema}
        return value_schema

    def _value(self, field: FieldDescriptorProto) -> _Schema:
        if field.type in (_Field.TYPE_MESSAGE, _Field.TYPE_ENUM):
            name = field.type_name.removeprefix(".")
            return dict(_WELL_KNOWN.get(name) or _reference(name))
        return dict(_SCALARS[field.type])

    def _add_service(self, name: str, methods: list[MethodDescriptorProto]) -> None:
        self._tags.append(self._described(f"{PACKAGE}.{name}", {"name": name}))
        for method in methods:
            if not method.client_streaming:  # HTTP/1.1 has no room for frames in both directions
                self._paths[f"/{PACKAGE}.{name}/{method.name}"] = self._path(name, method)

    def _path(self, service: str, method: MethodDescriptorProto) -> _Schema:
        request = _reference(method.input_type.removeprefix("."))
        answer = _reference(method.output_type.removeprefix("."))
        comment = self._comments.get(f"{PACKAGE}.{service}.{method.name}", "")
        media = "application/connect+json" if method.server_streaming else "application/json"
        if method.server_streaming:
            comment = f"{comment}\n\n{_ENVELOPES}"
        common: _Schema = {
            "tags": [service],
            "summary": re.split(r"(?<=\.)\s", comment, maxsplit=1)[0].rstrip("."),
            "description": comment,
        }
        responses = {
            "200": {"description": "The answer.", "content": {media: {"schema": answer}}},
            "default": {"$ref": "#/components/responses/error"},
        }
        path: _Schema = {
            "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in _PARAMETERS],
            "post": {
                **common,
                "operationId": f"{service}_{method.name}",
                "requestBody": {"required": True, "content": {media: {"schema": request}}},
                "responses": responses,
            },
        }
        is_read = method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS
        if is_read and not method.server_streaming:
            path["get"] = {
                **common,
                "operationId": f"{service}_{method.name}_get",
                "parameters": _query(request),
                "responses": responses,
            }
        return path


def _query(request: _Schema) -> list[_Schema]:
    return [
        {
            "name": "message",
            "in": "query",
            "description": "The request as JSON; {} if it is left out.",
            "content": {"application/json": {"schema": request}},
        },
        {
            "name": "encoding",
            "in": "query",
            "schema": {"type": "string", "enum": ["json"], "default": "json"},
        },
    ]


def _name_message(
    message: DescriptorProto, parent: str, path: tuple[int, ...], names: dict[tuple[int, ...], str]
) -> None:
    name = f"{parent}.{message.name}"
    names[path] = name
    for index, field in enumerate(message.field):
        names[*path, 2, index] = f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        _name_message(nested, name, (*path, 3, index), names)
    for index, kind in enumerate(message.enum_type):
        _name_enum(kind, name, (*path, 4, index), names)


def _name_enum(
    kind: EnumDescriptorProto,
    parent: str,
    path: tuple[int, ...],
    names: dict[tuple[int, ...], str],
) -> None:
    name = f"{parent}.{kind.name}"
    names[path] = name
    for index, value in enumerate(kind.value):
        names[*path, 2, index] = f"{name}.{value.name}"


def _choices(message: DescriptorProto) -> list[str]:
    """Return a sentence for each group of fields of which at most one is set."""
    found = []
    for index in range(len(message.oneof_decl)):
        fields = [
            field.json_name
            for field in message.field
            if field.HasField("oneof_index")
            and field.oneof_index == index
            and not field.proto3_optional
        ]
        if len(fields) > 1:
            found.append(f"At most one of these is set: {', '.join(fields)}.")
    return found


def _reference(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _flowing(comment: str) -> str:
    """Return a comment with one line per paragraph; lists and tables keep their lines."""
    paragraphs = []
    for paragraph in comment.strip().split("\n\n"):
        lines = [line.strip() for line in paragraph.strip().split("\n")]
        is_list = any(line.startswith(("-", "|", "*")) for line in lines)
        paragraphs.append(("\n" if is_list else " ").join(lines))
    return "\n\n".join(each for each in paragraphs if each)


def main() -> None:
    """Run the command line."""
    found = FileDescriptorSet.FromString(Path(sys.argv[1]).read_bytes())
    json.dump(Document(found).as_json(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
