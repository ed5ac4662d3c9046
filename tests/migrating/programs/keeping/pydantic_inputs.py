"""Keys of pydantic inputs: a model with a serializer counts by what it dumps."""

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    computed_field,
    field_serializer,
    model_serializer,
)
from prefect import flow, task
from prefect.cache_policies import INPUTS


class M(BaseModel):
    a: int
    b: int = 0

    @model_serializer
    def ser(self):
        return {"a": self.a}


class W(BaseModel):
    a: int
    b: int = 0

    @model_serializer(mode="wrap")
    def ser(self, nxt):
        d = nxt(self)
        d.pop("b")
        return d


class F(BaseModel):
    a: int
    b: int = 0

    @field_serializer("b")
    def ser(self, v):
        return 0


class X(BaseModel):
    a: int
    b: int = Field(0, exclude=True)


class D(BaseModel):
    a: int
    b: int = 0

    def model_dump(self, **kw):
        return {"a": self.a}


class P(BaseModel):
    a: int
    _b: int = PrivateAttr(0)


class E(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class C(BaseModel):
    a: int

    @computed_field
    @property
    def b(self) -> int:
        return len(seen)


class S(BaseModel):
    a: int
    b: int = 0


class T(BaseModel):
    a: int
    b: int = 0


class R(BaseModel):
    a: int

    @model_serializer
    def ser(self):
        raise RuntimeError("no")


class Al(BaseModel):
    a: int = Field(alias="z")


class Fl(BaseModel):
    a: object = 1


seen = []


def key(v):
    try:
        return INPUTS.compute_key(None, {"x": v}, {})
    except Exception as e:
        return type(e).__name__ + str(id(v))


def same(n, x, y):
    print(n, key(x) == key(y))


same("model_serializer", M(a=1, b=1), M(a=1, b=2))
same("model_serializer other", M(a=1, b=1), M(a=2, b=1))
same("wrap", W(a=1, b=1), W(a=1, b=2))
same("field", F(a=1, b=1), F(a=1, b=2))
same("exclude", X(a=1, b=1), X(a=1, b=2))
same("model_dump", D(a=1, b=1), D(a=1, b=2))
p, q = P(a=1), P(a=1)
q._b = 3
same("private", p, q)
same("extra", E(a=1, c=1), E(a=1, c=2))
c = C(a=1)
k = key(c)
seen.append(1)
print("computed", key(c) == k)
same("set", S(a=1), S(a=1, b=0))
same("types", S(a=1), T(a=1))
same("nested", [M(a=1, b=1)], [M(a=1, b=2)])


class N(BaseModel):
    m: M
    s: S


same("in model", N(m=M(a=1, b=1), s=S(a=1)), N(m=M(a=1, b=2), s=S(a=1)))


class Base(BaseModel):
    a: int


class Sub(Base):
    b: int


class H(BaseModel):
    base: Base


same("subclass in field", H(base=Sub(a=1, b=1)), H(base=Sub(a=1, b=2)))
same("raises", R(a=1), R(a=1))
same("raises2", R(a=1), R(a=2))
same("float/int", Fl(a=1), Fl(a=1.0))
same("tuple/list", Fl(a=(1,)), Fl(a=[1]))
from dataclasses import dataclass
from pydantic.dataclasses import dataclass as pd


@pd
class PD:
    a: int
    b: int = 0

    @model_serializer
    def ser(self):
        return {"a": self.a}


same("pydantic dataclass", PD(a=1, b=1), PD(a=1, b=2))


@pd
class PF:
    a: int
    b: int = 0

    @field_serializer("b")
    def ser(self, v):
        return 0


same("pyd dc field", PF(a=1, b=1), PF(a=1, b=2))


@dataclass
class DC:
    a: int
    m: M


same("dataclass with model", DC(1, M(a=1, b=1)), DC(1, M(a=1, b=2)))
from typing import Annotated
from pydantic import PlainSerializer


class An(BaseModel):
    a: int
    b: Annotated[int, PlainSerializer(lambda v: 0)] = 0


same("annotated", An(a=1, b=1), An(a=1, b=2))


class Child(M):
    c: int = 0


same("inherited", Child(a=1, c=1), Child(a=1, c=2))
from pydantic import RootModel


class RM(RootModel[list[int]]):
    @model_serializer
    def ser(self):
        return len(self.root)


same("root", RM([1]), RM([2]))

# prints: model_serializer True
# prints: model_serializer other False
# prints: wrap True
# prints: field True
# prints: exclude True
# prints: model_dump True
# prefect prints: private True
# flowspan prints: private False
# prints: extra False
# prefect prints: computed False
# prefect prints: set True
# flowspan prints: computed True
# flowspan prints: set False
# prints: types False
# prints: nested True
# prints: in model True
# prefect prints: subclass in field True
# flowspan prints: subclass in field False
# prints: raises True
# prints: raises2 False
# prints: float/int False
# prefect prints: tuple/list True
# flowspan prints: tuple/list False
# prints: pydantic dataclass True
# prints: pyd dc field True
# prints: dataclass with model True
# prints: annotated True
# prints: inherited True
# prints: root True
# because: what a function can see keeps keys apart, where the model does not say how it is dumped
