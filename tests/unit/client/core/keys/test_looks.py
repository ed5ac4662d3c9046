"""The key of a value does not depend on accesses to it, or on pickling it or its class."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib

LOOKED_AT = """
import array, collections, contextlib, copy, dataclasses, functools, io, pickle, sys
import attrs, cloudpickle
import numpy as np
from flowspan.core.keys.hashing import stable_hash

@dataclasses.dataclass(slots=True)
class Slotted:
    n: int = 1

@dataclasses.dataclass(slots=True)
class OfSlotted(Slotted):
    more: list = dataclasses.field(default_factory=list)

@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlotted:
    n: int = 1

class BelowSlotted(Slotted):
    pass

class Slots:
    __slots__ = ("a",)
    def __init__(self, **state):
        for name, item in state.items():
            setattr(self, name, item)

class Hiding:
    __slots__ = ("__hidden",)
    def __init__(self):
        self.__hidden = 1

class Both(Slots):
    __slots__ = ("__dict__", "b")

class OwnList(list):
    __slots__ = ("a",)

class OwnNumber(float):
    __slots__ = ("a",)

class OwnArray(array.array):
    __slots__ = ("a",)

class OwnQueue(collections.deque):
    __slots__ = ("a",)

class OwnPartial(functools.partial):
    pass

class OwnBytes(io.BytesIO):
    pass

@attrs.define
class Defined:
    n: int = 1
    @functools.cached_property
    def twice(self):
        return 2 * self.n

class OfDefined(Defined):
    pass

@attrs.frozen(cache_hash=True)
class Frozen:
    n: int = 1

class OwnError(Exception):
    pass

class WithFields(Exception):
    def __init__(self, a):
        self.a = a

class SlottedError(Exception):
    __slots__ = ("a",)

class AsItIs(OSError):
    def __reduce__(self):
        return super().__reduce__()

class OwnMasked(np.ma.MaskedArray):
    pass

def made(kind, *args, **state):
    value = kind(*args)
    for name, item in state.items():
        object.__setattr__(value, name, item)
    return value

def values():
    return [
        Slotted(), OfSlotted(2, [1]), FrozenSlotted(), made(BelowSlotted, 1, more=1),
        Slots(), Slots(a=1), Both(), Both(a=1), Both(a=1, b=2, c=3),
        made(OwnList, [1], a=1), OwnList([1]), made(OwnNumber, 1, a=1), OwnNumber(1),
        OwnArray("i", [1]), made(OwnQueue, [1], a=1), OwnQueue([1]),
        OwnPartial(int, 1), functools.partial(int, 1), made(OwnPartial, int, 1, a=1),
        OwnBytes(b"a"), io.BytesIO(b"a"), io.StringIO("a"), made(OwnBytes, b"a", a=1),
        Defined(), OfDefined(), Frozen(),
        ValueError(1), FileNotFoundError(2, "a", "b"), made(ValueError, 1, a=1), OwnError(1),
        made(OwnError, 1, a=1), SlottedError(1),
        AsItIs(2, "a"), ImportError("a", name="b"), ExceptionGroup("a", [ValueError(1)]),
        np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1.5]), np.ma.array(1),
        np.ma.masked_all((1, 2), dtype=object), OwnMasked([1, 2], mask=[0, 1]), np.ma.masked,
        np.ma.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    ]

def lossy():  # what does not come back from a pickle as it was, or not at all
    return [
        Hiding(), made(OwnArray, "i", [1], a=1), made(OfDefined, 1, more=1),
        WithFields(1), made(SlottedError, 1, a=1),
    ]

def look_at(value):
    ways = (vars, repr, hash, copy.copy, pickle.dumps)
    for way in (*ways, lambda it: it.fill_value, lambda it: it.twice):
        with contextlib.suppress(Exception):
            way(value)

def key(value):
    return stable_hash(value), stable_hash([value, value]), stable_hash({"in": (value,)})

if __name__ == "__main__":
    for is_lossy, value in [*((False, it) for it in values()), *((True, it) for it in lossy())]:
        keys = [key(value), key(value)]
        look_at(value)
        keys.append(key(value))
        if not is_lossy:
            keys.append(key(pickle.loads(pickle.dumps(value))))
        print(type(value).__name__, [each == keys[0] for each in keys])
    with open("values", "wb") as file:
        file.write(cloudpickle.dumps((key, values(), [key(value) for value in values()])))
"""

READ = """
import pickle
from flowspan.core.keys.qualified_names import set_program_name

set_program_name("__main__")  # as in worker processes
key, values, keys = pickle.load(open("values", "rb"))
for value, known in zip(values, keys):
    first = key(value) == known
    getattr(value, "__dict__", None)
    print(type(value).__name__, [first, key(value) == known])
"""


def test_whoever_looked_at_a_value_or_pickled_it_changes_nothing(tmp_path: pathlib.Path) -> None:
    """The same holds for its class, which is pickled by value if the program itself defines it."""
    for name, program in (("program.py", LOOKED_AT), ("read.py", READ)):
        (tmp_path / name).write_text(program)
        found = subprocess.run(
            [sys.executable, name], capture_output=True, check=True, text=True, cwd=tmp_path
        ).stdout.splitlines()
        assert len(found) >= 40
        assert not [line for line in found if "False" in line]
