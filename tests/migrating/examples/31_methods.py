"""Flows and tasks as methods of classes: a client, a pipeline, and their variants."""

from dataclasses import dataclass, field

from prefect import flow, task
from prefect.cache_policies import NO_CACHE


class Client:
    version = "v1"

    def __init__(self, url: str):
        self.url = url
        self.calls = 0

    @task(cache_policy=NO_CACHE, retries=1)
    def get(self, path: str) -> str:
        self.calls += 1
        if self.calls == 1:
            raise ConnectionError("first call")
        return f"{self.url}/{path}"

    @classmethod
    @task
    def endpoint(cls, name: str) -> str:
        return f"{cls.version}/{name}"

    @staticmethod
    @task
    def parse(text: str) -> list[str]:
        return text.split("/")

    @flow
    def fetch_all(self, paths: list[str]) -> list[str]:
        first = self.get(paths[0])
        others = [self.get.submit(path) for path in paths[1:]]
        return [first, *[future.result() for future in others]]


class NewClient(Client):
    version = "v2"


@dataclass
class Pipeline:
    name: str
    steps: list[str] = field(default_factory=list)

    @task(task_run_name="{self.name}-{step}")
    def run_step(self, step: str) -> int:
        self.steps.append(step)
        return len(self.steps)

    @flow(name="pipeline")
    def run(self, *steps: str) -> list[int]:
        return [self.run_step(step) for step in steps]

    @flow
    async def run_async(self, step: str = "async") -> str:
        return f"{self.name}: {step}"


class Doubler:
    factor = 2

    @task
    def __call__(self, x: int) -> int:
        return x * self.factor


client = Client("http://api")
print(client.fetch_all(["users", "orders", "items"]), client.calls)
print(Client.endpoint("x"), NewClient.endpoint("x"), client.endpoint("y"))
print(Client.parse("a/b"), client.parse("c/d"))
pipeline = Pipeline("daily")
print(pipeline.run("extract", "load"), pipeline.steps)
other = Pipeline("weekly")
print(other.run("extract"), pipeline.steps, other.steps)

import asyncio

print(asyncio.run(pipeline.run_async()))
print(Doubler()(21))


@flow
def with_objects():
    return client.get.map(["a", "b"]).result(), Doubler().__call__.submit(4).result()


print(with_objects())
print(Client.fetch_all.name, Pipeline.run.name, Client.get.name)

# prints: ['http://api/users', 'http://api/orders', 'http://api/items'] 4
# prints: v1/x v2/x v1/y
# prints: ['a', 'b'] ['c', 'd']
# prints: [1, 2] ['extract', 'load']
# prints: [1] ['extract', 'load'] ['extract']
# prints: daily: async
# prints: 42
# prints: (['http://api/a', 'http://api/b'], 8)
# prints: fetch-all pipeline get
