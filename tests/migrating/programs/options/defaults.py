"""Defaults of a flow's parameters are validated and coerced like arguments that are given."""

import asyncio
import datetime
from typing import Annotated, Literal, Optional

from prefect import flow, task
from prefect.runtime import flow_run
from pydantic import BaseModel, Field


class Model(BaseModel):
    n: int = 3


shared = []
made = Model()


@flow
def text(x: int = "3", m: Model = {"n": "7"}):
    return x, m, flow_run.parameters["x"], flow_run.parameters["m"]


@flow
async def later(x: int = "3"):
    return x


@flow
def values(x: int = "3"):
    yield x


@flow
def mutable(x: list = shared):
    x.append(1)
    return len(x)


@flow
def same(x: Model = made):
    return x is made


@flow
def field(x: int = Field(default=4, gt=0)):
    return x


@flow
def optional(x: Optional[int] = "5", *, y: float = "2.5", d: datetime.date = "2024-01-02"):
    return x, y, d.day


@flow
def by_position(x: int = "1", /, y: int = "2"):
    return x, y


@flow
def none(x: int = None):
    return x


@flow
def out_of_range(x: Annotated[int, Field(gt=0)] = -1):
    return x


@flow
def literal(x: Literal["a", "b"] = "c"):
    return x


@flow(validate_parameters=False)
def unchecked(x: int = "3"):
    return x


@task
def in_task(x: int = "3"):
    return x


print(text())
print(asyncio.run(later()), list(values()))
print(mutable(), mutable(), shared)
print(same(), field(), optional(), by_position(), by_position("7"))
for refused in (none, out_of_range, literal):
    print(refused(return_state=True).name)
print(none(5), repr(unchecked()), repr(in_task()))

# prints: (3, Model(n=7), 3, Model(n=7))
# prints: 3 [3]
# prints: 1 1 []
# prints: True 4 (5, 2.5, 2) (1, 2) (7, 2)
# prints: Failed
# prints: Failed
# prints: Failed
# prints: 5 '3' '3'
