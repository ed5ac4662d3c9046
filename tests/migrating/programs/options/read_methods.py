"""Flows that are methods have the parameters that callers give."""

from prefect import flow


class Pipeline:
    @flow
    def run(self, x: int, y: str = "a") -> int:
        return x

    @classmethod
    @flow
    def make(cls, z: int) -> int:
        return z

    @flow
    def alone(self) -> None: ...


for made in (Pipeline.run, Pipeline().run, Pipeline.make, Pipeline().make, Pipeline.alone):
    print(made.name, sorted(made.parameters.properties), made.parameters.required)
print(Pipeline().run(3), Pipeline.make("4"))

# prints: run ['x', 'y'] ['x']
# prints: run ['x', 'y'] ['x']
# prints: make ['z'] ['z']
# prints: make ['z'] ['z']
# prints: alone [] []
# prints: 3 4
