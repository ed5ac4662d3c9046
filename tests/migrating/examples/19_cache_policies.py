"""Cache policies, added and subtracted, and the results that they keep."""

from collections import Counter

from prefect import flow, task
from prefect.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
)

CALLS: Counter = Counter()


class Connection:
    """Something that cannot be hashed."""

    def __init__(self):
        import threading

        self.lock = threading.Lock()


@task(cache_policy=INPUTS - "connection" - "debug", persist_result=True)
def query(connection: Connection, sql: str, debug: bool = False) -> str:
    CALLS["query"] += 1
    return sql.upper()


@task(cache_policy=DEFAULT - "verbose", persist_result=True)
def summarise(rows: list[int], verbose: bool) -> int:
    CALLS["summarise"] += 1
    return sum(rows)


@task(cache_policy=RUN_ID, persist_result=True)
def once_a_run(anything: object) -> int:
    CALLS["once_a_run"] += 1
    return CALLS["once_a_run"]


@task(cache_policy=TASK_SOURCE + INPUTS, persist_result=True)
def by_source(x: int) -> int:
    CALLS["by_source"] += 1
    return x * 2


@task(cache_policy=FLOW_PARAMETERS, persist_result=True)
def by_flow(x: int) -> int:
    CALLS["by_flow"] += 1
    return x


@task(cache_policy=NO_CACHE, persist_result=True)
def never(x: int) -> int:
    CALLS["never"] += 1
    return x


def first_letter(context, arguments):
    return "letter-" + arguments["word"][0]


@task(cache_policy=CacheKeyFnPolicy(cache_key_fn=first_letter), persist_result=True)
def by_letter(word: str) -> str:
    CALLS["by_letter"] += 1
    return word


@flow
def analyse(region: str):
    connection = Connection()
    answers = [query(connection, "select 1"), query(Connection(), "select 1", debug=True)]
    sums = [summarise([1, 2], verbose=True), summarise([1, 2], verbose=False)]
    counts = [once_a_run("a"), once_a_run("b")]
    values = [by_source(1), by_source(1), by_flow(1), by_flow(2), never(1), never(1)]
    words = [by_letter("apple"), by_letter("avocado"), by_letter("banana")]
    return answers, sums, counts, values, words


for region in ["north", "south", "north"]:
    print(region, *analyse(region))
for name, times in sorted(CALLS.items()):
    print(name, times)
print(type(INPUTS + TASK_SOURCE).__name__, (INPUTS - "x").exclude)

# prints: north ['SELECT 1', 'SELECT 1'] [3, 3] [1, 1] [2, 2, 1, 1, 1, 1] ['apple', 'apple', 'banana']
# prints: south ['SELECT 1', 'SELECT 1'] [3, 3] [2, 2] [2, 2, 1, 1, 1, 1] ['apple', 'apple', 'banana']
# prints: north ['SELECT 1', 'SELECT 1'] [3, 3] [3, 3] [2, 2, 1, 1, 1, 1] ['apple', 'apple', 'banana']
# prints: by_flow 2
# prints: by_letter 2
# prints: by_source 1
# prints: never 6
# prints: once_a_run 3
# prints: query 1
# prints: summarise 3
# prints: CompoundCachePolicy ['x']
