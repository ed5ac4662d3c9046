"""Serializers, their options, and serializers of the program's own by their names."""

import json
from prefect.serializers import (
    Serializer,
    PickleSerializer,
    JSONSerializer,
    CompressedSerializer,
    CompressedPickleSerializer,
    CompressedJSONSerializer,
)
from prefect import task, flow


def tried(label, fn):
    try:
        print(label, fn())
    except (TypeError, ValueError):
        print(label, "refused")


for c in (PickleSerializer, JSONSerializer, CompressedPickleSerializer, CompressedJSONSerializer):
    tried(c.__name__, lambda: (c().type, c().loads(c().dumps({"a": [1, 2]})), c() == c()))
tried(
    "comp3",
    lambda: CompressedSerializer(serializer=JSONSerializer(), compressionlib="zlib").loads(
        CompressedSerializer(serializer=JSONSerializer(), compressionlib="zlib").dumps([1])
    ),
)
for lib in ("zlib", "gzip", "bz2", "lzma"):
    tried(
        lib,
        lambda: CompressedPickleSerializer(compressionlib=lib).loads(
            CompressedPickleSerializer(compressionlib=lib).dumps((1, 2))
        ),
    )
tried("badlib", lambda: CompressedSerializer(serializer="json", compressionlib="nope"))
tried("badlib2", lambda: CompressedSerializer(serializer="json", compressionlib="json"))
tried("badser", lambda: CompressedSerializer(serializer="nope"))
tried(
    "picklelib",
    lambda: PickleSerializer(picklelib="pickle").loads(
        PickleSerializer(picklelib="pickle").dumps((1, 2))
    ),
)
tried("picklebad", lambda: PickleSerializer(picklelib="nope"))
tried("picklebad2", lambda: PickleSerializer(picklelib="zlib"))
tried("pickle mod", lambda: PickleSerializer(pickle_modules=["x"]))
tried("default", lambda: JSONSerializer(dumps_kwargs={"default": str}))
tried("hook", lambda: JSONSerializer(loads_kwargs={"object_hook": str}))
tried("unknown", lambda: JSONSerializer(nope=1))
tried(
    "dumps kwargs",
    lambda: JSONSerializer(dumps_kwargs={"sort_keys": True, "indent": 1}).dumps({"b": 1, "a": 2}),
)
tried("encoder name", lambda: JSONSerializer(object_encoder="builtins.str").dumps({"a": 1j}))
tried("decoder None", lambda: JSONSerializer(object_decoder=None).loads(b'{"__class__": "x"}'))
tried("decoder", lambda: JSONSerializer(object_decoder="builtins.list").loads(b'{"a": 1}'))
tried(
    "comp2",
    lambda: (
        CompressedSerializer(serializer="json").type,
        CompressedSerializer(serializer="json").serializer.type,
    ),
)
tried(
    "type",
    lambda: (
        type(Serializer(type="json")).__name__,
        type(Serializer(type="compressed/pickle")).__name__,
    ),
)
tried("type bad", lambda: Serializer(type="nope"))
tried("loads kw", lambda: JSONSerializer(loads_kwargs={"parse_float": "x"}).loads_kwargs)
tried(
    "eq",
    lambda: (
        JSONSerializer() == JSONSerializer(),
        JSONSerializer() == PickleSerializer(),
        JSONSerializer(dumps_kwargs={"indent": 1}) == JSONSerializer(),
        isinstance(JSONSerializer(), Serializer),
    ),
)


class Upper(Serializer):
    type: str = "upper"

    def dumps(self, obj):
        return str(obj).upper().encode()

    def loads(self, blob):
        return blob.decode().lower()


tried("custom", lambda: (Serializer(type="upper").dumps("a"), Upper().type, Upper().loads(b"A")))


class Opt(Serializer):
    type: str = "opt"
    n: int = 1

    def dumps(self, obj):
        return str(obj + self.n).encode()

    def loads(self, blob):
        return int(blob) - self.n


tried("opt", lambda: (Opt(n=3).dumps(1), Serializer(type="opt", n=4).n, Opt() == Opt(n=1)))
tried("opt bad", lambda: Opt(n="x"))
tried(
    "comp custom",
    lambda: CompressedSerializer(serializer="upper", compressionlib="zlib").serializer.type,
)
for s in (
    "upper",
    "json",
    "compressed/json",
    "compressed/pickle",
    "pickle",
    Upper(),
    Opt(n=5),
    JSONSerializer(jsonlib="json"),
    CompressedSerializer(serializer="json"),
    CompressedJSONSerializer(),
    "nope",
):

    def go():
        @task(
            result_serializer=s,
            persist_result=True,
            cache_key_fn=lambda c, p: f"k{p['x']}{s!r}"[:40],
        )
        def t(x):
            return 41

        @flow
        def f():
            return t(1), t(1, return_state=True).name

        return f()

    tried(f"task {s if isinstance(s, str) else type(s).__name__}", go)

# prints: PickleSerializer ('pickle', {'a': [1, 2]}, True)
# prints: JSONSerializer ('json', {'a': [1, 2]}, True)
# prints: CompressedPickleSerializer ('compressed/pickle', {'a': [1, 2]}, True)
# prints: CompressedJSONSerializer ('compressed/json', {'a': [1, 2]}, True)
# prints: comp3 [1]
# prints: zlib (1, 2)
# prints: gzip (1, 2)
# prints: bz2 (1, 2)
# prints: lzma (1, 2)
# prints: badlib refused
# prints: badlib2 refused
# prints: badser refused
# prints: picklelib (1, 2)
# prints: picklebad refused
# prints: picklebad2 refused
# prints: pickle mod refused
# prints: default refused
# prints: hook refused
# prints: unknown refused
# prints: dumps kwargs b'{\n "a": 2,\n "b": 1\n}'
# prints: encoder name b'{"a": "1j"}'
# prints: decoder None {'__class__': 'x'}
# prints: decoder ['a']
# prints: comp2 ('compressed', 'json')
# prints: type ('JSONSerializer', 'CompressedPickleSerializer')
# prints: type bad refused
# prints: loads kw {'parse_float': 'x'}
# prints: eq (True, False, False, True)
# prints: custom (b'A', 'upper', 'a')
# prints: opt (b'4', 4, True)
# prints: opt bad refused
# prints: comp custom upper
# prints: task upper (41, 'Cached')
# prints: task json (41, 'Cached')
# prints: task compressed/json (41, 'Cached')
# prints: task compressed/pickle (41, 'Cached')
# prints: task pickle (41, 'Cached')
# prints: task Upper (41, 'Cached')
# prints: task Opt (41, 'Cached')
# prints: task JSONSerializer (41, 'Cached')
# prints: task CompressedSerializer (41, 'Cached')
# prints: task CompressedJSONSerializer (41, 'Cached')
# prints: task nope refused
