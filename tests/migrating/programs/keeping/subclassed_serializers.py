"""Serializers that a program derives from those that there are, by instance and by name."""

from prefect import flow, task
from prefect.serializers import CompressedSerializer, JSONSerializer, PickleSerializer, Serializer

ran = []


class Marked(PickleSerializer):
    def dumps(self, obj):
        return b"X" + super().dumps(obj)

    def loads(self, blob):
        return super().loads(blob[1:])


class Wrapped(JSONSerializer):
    type: str = "wrapped"

    def dumps(self, obj):
        return super().dumps({"wrapped": obj})

    def loads(self, blob):
        return super().loads(blob)["wrapped"]


print(issubclass(Wrapped, Serializer), issubclass(PickleSerializer, Serializer))
print(issubclass(dict, Serializer), isinstance(Marked(), Serializer))
print(Serializer(type="wrapped").loads(b'{"wrapped": 1}'))
for number, serializer in enumerate(
    (Marked(), Wrapped(), "wrapped", CompressedSerializer(serializer="wrapped"))
):

    @task(result_serializer=serializer, cache_key_fn=lambda _context, _given: f"key-{number}")
    def keeps():
        ran.append(number)
        return {"a": [1, None]}

    @flow
    def calls():
        keeps()
        state = keeps(return_state=True)
        return state.name, state.result()

    print(calls())
print(ran)
for bad in (5, "no.such"):
    try:
        JSONSerializer(object_encoder=bad).dumps({1})
    except Exception:
        print("refused")

# prints: True True
# prints: False True
# prints: 1
# prints: ('Cached', {'a': [1, None]})
# prints: ('Cached', {'a': [1, None]})
# prints: ('Cached', {'a': [1, None]})
# prints: ('Cached', {'a': [1, None]})
# prints: [0, 1, 2, 3]
# prints: refused
# prints: refused
