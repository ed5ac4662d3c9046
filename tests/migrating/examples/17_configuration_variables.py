"""Configuration that is kept in variables, with another one for each environment."""

from prefect import flow, task
from prefect.variables import Variable

Variable.set("env_name", "staging")
Variable.set("staging_limits", {"rows": 3, "sources": ["a", "b"]}, tags=["limits"])
Variable.set("retry_count", 2)


@task
def read_limits(environment: str) -> dict:
    limits = Variable.get(f"{environment}_limits", default={"rows": 1, "sources": []})
    print(f"limits of {environment}: {limits}")
    return limits


@task
def fetch(source: str, rows: int) -> list[str]:
    return [f"{source}{number}" for number in range(rows)]


@flow
def ingest(environment: str | None = None) -> list[str]:
    environment = environment or Variable.get("env_name")
    limits = read_limits(environment)
    batches = [fetch(source, limits["rows"]) for source in limits["sources"]]
    return [row for batch in batches for row in batch]


@flow
async def bump(name: str) -> int:
    value = await Variable.aget(name, default=0)
    await Variable.aset(name, value + 1, overwrite=True)
    return await Variable.aget(name)


print(ingest())
print(ingest("production"))
print(Variable.get("no_such_variable"), Variable.get("no_such_variable", default="fallback"))
try:
    Variable.set("env_name", "production")
except ValueError as error:
    print("ValueError:", "already exists" in str(error))
Variable.set("env_name", "production", overwrite=True)
print(Variable.get("env_name"))
print(Variable.unset("env_name"), Variable.unset("env_name"), Variable.get("env_name"))


async def main():
    print(await bump("retry_count"), await bump("counter"))


import asyncio

asyncio.run(main())
for name in ["staging_limits", "retry_count", "counter"]:
    Variable.unset(name)

# prints: limits of staging: {'rows': 3, 'sources': ['a', 'b']}
# prints: ['a0', 'a1', 'a2', 'b0', 'b1', 'b2']
# prints: limits of production: {'rows': 1, 'sources': []}
# prints: []
# prints: None fallback
# prints: ValueError: True
# prints: production
# prints: True False None
# prints: 3 1
