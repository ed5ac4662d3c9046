from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, PlainSerializer, field_serializer, model_serializer

from flowspan.core.keys.hashing import stable_hash


class Said(BaseModel):
    x: int
    seen_at: float = 0.0

    @model_serializer
    def said(self) -> dict[str, int]:
        return {"x": self.x}


class SaidOfFields(BaseModel):
    x: int
    seen_at: float = 0.0
    secret: str = Field(default="", exclude=True)

    @field_serializer("seen_at")
    def rounded(self, _value: float) -> int:
        return 0


class SaidByDump(BaseModel):
    x: int
    seen_at: float = 0.0

    def model_dump(self, **_options: Any) -> dict[str, Any]:
        return {"x": self.x}


class SaidByType(BaseModel):
    x: int
    seen_at: Annotated[float, PlainSerializer(lambda _value: 0)] = 0.0


class Refuses(BaseModel):
    x: int
    seen_at: float = 0.0

    @model_serializer
    def said(self) -> dict[str, int]:
        raise RuntimeError


@pytest.mark.parametrize("kind", [Said, SaidOfFields, SaidByDump, SaidByType])
def test_models_that_say_how_they_are_dumped_count_by_that(kind: Any) -> None:
    assert stable_hash(kind(x=1, seen_at=1.5)) == stable_hash(kind(x=1, seen_at=2.5))
    assert stable_hash([kind(x=1, seen_at=1.5)]) != stable_hash([kind(x=2, seen_at=1.5)])
    others = [each(x=1) for each in (Said, SaidOfFields, SaidByDump, SaidByType)]
    assert len({stable_hash(each) for each in others}) == len(others)


def test_a_model_that_cannot_be_dumped_counts_by_its_state() -> None:
    assert stable_hash(Refuses(x=1)) == stable_hash(Refuses(x=1))
    assert stable_hash(Refuses(x=1, seen_at=1)) != stable_hash(Refuses(x=1, seen_at=2))
