"""The values of *args and **kwargs are passed on unchanged, whatever their annotation."""

import asyncio

from prefect import flow
from pydantic import BaseModel


class Model(BaseModel):
    n: int = 3


@flow
def options(**options: dict):
    return options


@flow
def numbers(*args: int, **kwargs: int):
    return args, kwargs


@flow
def mixed(x: int, *rest: list, flag: bool = False, **models: Model):
    return x, rest, flag, models


@flow
async def later(*args: str, **options: dict):
    return args, options


print(options(a=1, b="x"))
print(numbers("1", a="2"))
print(mixed("1", 2, flag="yes", m={"n": 1}))
print(asyncio.run(later(1, a=2)))

# prints: {'a': 1, 'b': 'x'}
# prints: (('1',), {'a': '2'})
# prints: (1, (2,), True, {'m': {'n': 1}})
# prints: ((1,), {'a': 2})
