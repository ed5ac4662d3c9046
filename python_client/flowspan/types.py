"""Types for parameters that pydantic validates, as in Prefect."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from flowspan.core import definition as definitions
from flowspan.prefect_names import refusing

__all__ = [
    "BANNED_CHARACTERS",
    "ListOfNonEmptyStrings",
    "LogLevel",
    "Name",
    "NonNegativeFloat",
    "NonNegativeInteger",
    "PositiveInteger",
    "SecondsTimeDelta",
    "StatusCode",
]

BANNED_CHARACTERS = list(definitions.BANNED_CHARACTERS)

PositiveInteger = Annotated[int, Field(gt=0)]
NonNegativeInteger = Annotated[int, Field(ge=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
StatusCode = Annotated[int, Field(ge=100, le=599)]
Name = Annotated[str, Field(pattern=rf"^[^{''.join(BANNED_CHARACTERS)}]+$")]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _as_timedelta(value: object) -> object:
    return timedelta(seconds=value) if isinstance(value, (int, float)) else value


def _without_blank(value: object) -> object:
    if not isinstance(value, (list, tuple, set, frozenset)):
        return value
    return [str(item) for item in value if str(item).strip()]


LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
]
SecondsTimeDelta = Annotated[timedelta, BeforeValidator(_as_timedelta)]
ListOfNonEmptyStrings = Annotated[list[str], BeforeValidator(_without_blank)]

__getattr__ = refusing(__name__)
