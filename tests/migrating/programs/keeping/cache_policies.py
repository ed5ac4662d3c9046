"""Cache policies are values: equal, added, subtracted from, configured, derived from."""

import copy, pickle, dataclasses
from prefect import flow, task
from prefect.cache_policies import (
    CachePolicy,
    CacheKeyFnPolicy,
    CompoundCachePolicy,
    Inputs,
    RunId,
    TaskSource,
    FlowParameters,
    _None,
    INPUTS,
    RUN_ID,
    TASK_SOURCE,
    FLOW_PARAMETERS,
    NO_CACHE,
    NONE,
    DEFAULT,
)

print(
    INPUTS == Inputs(),
    RUN_ID == RunId(),
    NO_CACHE == NONE,
    NO_CACHE is NONE,
    NO_CACHE == _None(),
    INPUTS == RUN_ID,
    INPUTS == 1,
    INPUTS != Inputs(),
)
print(
    INPUTS + RUN_ID == INPUTS + RUN_ID,
    INPUTS + RUN_ID == RUN_ID + INPUTS,
    DEFAULT == INPUTS + TASK_SOURCE + RUN_ID,
)
print(
    INPUTS - "a" == Inputs(exclude=["a"]),
    (INPUTS - "a" - "b").exclude,
    Inputs(exclude=["a", "b"]) == Inputs(exclude=["b", "a"]),
)
print(
    [type(p).__name__ for p in (INPUTS + TASK_SOURCE + RUN_ID).policies],
    type((INPUTS + RUN_ID).policies).__name__,
)
print([type(p).__name__ for p in ((INPUTS + TASK_SOURCE) + (RUN_ID + FLOW_PARAMETERS)).policies])
print([type(p).__name__ for p in (RUN_ID + (INPUTS + TASK_SOURCE)).policies])
x = (INPUTS - "b") + (INPUTS - "a") + RUN_ID
for p in (
    RUN_ID,
    TASK_SOURCE,
    FLOW_PARAMETERS,
    NO_CACHE,
    RUN_ID + TASK_SOURCE,
    CacheKeyFnPolicy(cache_key_fn=len),
):
    print(type(p).__name__, (p - "x") is p, (p - "x") == p)
for p in (INPUTS, RUN_ID, INPUTS + RUN_ID):
    try:
        p - 1
    except TypeError:
        print("TypeError")
for p in (INPUTS, RUN_ID, DEFAULT, NO_CACHE):
    try:
        hash(p)
        print("hash")
    except TypeError:
        print("TypeError")
for p in (INPUTS - "x", DEFAULT, NO_CACHE, RUN_ID.configure(key_storage="x")):
    print(pickle.loads(pickle.dumps(p)) == p, copy.deepcopy(p) == p, copy.copy(p) == p)
c = INPUTS.configure(key_storage="/tmp/x", isolation_level="SERIALIZABLE")
print(c.key_storage, c.isolation_level, c is INPUTS, c == INPUTS, INPUTS.key_storage)
print(c.configure(key_storage="y").isolation_level)
print(
    (c + RUN_ID).key_storage,
    (RUN_ID + c).isolation_level,
    (c - "a").key_storage,
    ((c + RUN_ID) - "a").key_storage,
)
for a, b in (
    (INPUTS.configure(key_storage="a"), RUN_ID.configure(key_storage="b")),
    (
        INPUTS.configure(isolation_level="SERIALIZABLE"),
        RUN_ID.configure(isolation_level="READ_COMMITTED"),
    ),
):
    try:
        a + b
    except ValueError:
        print("ValueError")
print(INPUTS + NONE is INPUTS, NONE + INPUTS is INPUTS)
print(
    dataclasses.is_dataclass(INPUTS),
    [f.name for f in dataclasses.fields(Inputs)],
    [f.name for f in dataclasses.fields(CompoundCachePolicy)],
    [f.name for f in dataclasses.fields(CacheKeyFnPolicy)],
)
print(CachePolicy(key_storage="z").key_storage, CachePolicy() == CachePolicy())
try:
    CachePolicy().compute_key(None, {}, {})
except NotImplementedError:
    print("NotImplementedError")
print(
    INPUTS.compute_key(None, {}, {}),
    INPUTS.compute_key(task_ctx=None, inputs=None, flow_parameters={}),
    NO_CACHE.compute_key(None, {}, {}),
    RUN_ID.compute_key(None, {}, {}),
    TASK_SOURCE.compute_key(None, {}, {}),
    FLOW_PARAMETERS.compute_key(None, {}, {}),
)
k = INPUTS.compute_key(None, {"a": 1}, {})
print(
    type(k).__name__,
    len(k),
    k == INPUTS.compute_key(None, {"a": 1}, {}),
    k == INPUTS.compute_key(None, {"a": 2}, {}),
    k == (INPUTS - "b").compute_key(None, {"a": 1, "b": 3}, {}),
    (INPUTS - "a").compute_key(None, {"a": 1}, {}) is None,
)
print(DEFAULT.compute_key(None, {"a": 1}, {}) is not None, DEFAULT.compute_key(None, {}, {}))
print(
    FLOW_PARAMETERS.compute_key(None, {}, {"a": 1})
    == FLOW_PARAMETERS.compute_key(None, {"z": 1}, {"a": 1})
)
print(
    CacheKeyFnPolicy(cache_key_fn=lambda c, p: f"k{p['a']}").compute_key(None, {"a": 4}, {}),
    CacheKeyFnPolicy().compute_key(None, {}, {}),
    CachePolicy.from_cache_key_fn(len) == CacheKeyFnPolicy(cache_key_fn=len),
)
a = INPUTS - "a"
a.exclude.append("zz")
print(a.exclude, INPUTS.exclude)


@dataclasses.dataclass
class Mine(CachePolicy):
    prefix: str = "p"

    def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
        return f"{self.prefix}-{task_ctx.task.name}-{sorted(inputs.items())}-{flow_parameters}"


print(Mine(prefix="z") == Mine(prefix="z"), type(Mine() + INPUTS).__name__)


class Plain(CachePolicy):
    def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
        return f"plain-{inputs['x']}"


class Init(CachePolicy):
    def __init__(self, n):
        self.n = n

    def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
        return f"init-{self.n}-{inputs['x']}"


print((Init(3) + RUN_ID).policies[0].n, Init(3) == Init(3), Plain() == Plain(), (Init(3) - "a").n)
print(
    (INPUTS - "b" + RUN_ID - "a").policies[-1].exclude,
    dataclasses.replace(INPUTS, exclude=["q"]).exclude,
)
print(
    len(CompoundCachePolicy(policies=[INPUTS, RUN_ID + INPUTS]).policies),
    CompoundCachePolicy().policies,
)
ran = []
for pol in (
    Mine(),
    Plain(),
    Init(5),
    INPUTS,
    INPUTS - "y",
    Plain() + RUN_ID,
    None,
    NO_CACHE,
    INPUTS + NO_CACHE,
    CacheKeyFnPolicy(cache_key_fn=lambda c, p: "k"),
):

    @task(cache_policy=pol, persist_result=True)
    def t(x, y=0):
        ran.append((x, y))
        return x

    @flow
    def f(z=1):
        return [
            t(1, return_state=True).name,
            t(1, y=2, return_state=True).name,
            t(1, return_state=True).name,
            t(2, return_state=True).name,
        ]

    print(type(pol).__name__, f(), len(ran))
    ran.clear()

# prints: True True True False True False False False
# prints: True True True
# prints: True ['a', 'b'] False
# prints: ['TaskSource', 'RunId', 'Inputs'] list
# prints: ['TaskSource', 'RunId', 'FlowParameters', 'Inputs']
# prints: ['RunId', 'TaskSource', 'Inputs']
# prints: RunId True True
# prints: TaskSource True True
# prints: FlowParameters True True
# prints: _None True True
# prints: CompoundCachePolicy True True
# prints: CacheKeyFnPolicy True True
# prints: TypeError
# prints: TypeError
# prints: TypeError
# prints: TypeError
# prints: TypeError
# prints: TypeError
# prints: TypeError
# prints: True True True
# prints: True True True
# prints: True True True
# prints: True True True
# prints: /tmp/x SERIALIZABLE False False None
# prints: SERIALIZABLE
# prints: /tmp/x SERIALIZABLE /tmp/x /tmp/x
# prints: ValueError
# prints: ValueError
# prints: True True
# prints: True ['key_storage', 'isolation_level', 'lock_manager', 'exclude'] ['key_storage', 'isolation_level', 'lock_manager', 'policies'] ['key_storage', 'isolation_level', 'lock_manager', 'cache_key_fn']
# prints: z True
# prints: NotImplementedError
# prints: None None None None None None
# prints: str 32 True False True False
# prints: True None
# prints: True
# prints: k4 None True
# prints: ['a', 'zz'] []
# prints: True CompoundCachePolicy
# prints: 3 True True 3
# prints: ['a', 'b'] ['q']
# prints: 2 []
# prints: Mine ['Completed', 'Completed', 'Cached', 'Completed'] 3
# prints: Plain ['Completed', 'Cached', 'Cached', 'Completed'] 2
# prints: Init ['Completed', 'Cached', 'Cached', 'Completed'] 2
# prints: Inputs ['Completed', 'Completed', 'Cached', 'Completed'] 3
# prints: Inputs ['Completed', 'Cached', 'Cached', 'Completed'] 2
# prints: CompoundCachePolicy ['Completed', 'Cached', 'Cached', 'Completed'] 2
# prints: NoneType ['Completed', 'Completed', 'Completed', 'Completed'] 4
# prints: _None ['Completed', 'Completed', 'Completed', 'Completed'] 4
# prints: Inputs ['Cached', 'Cached', 'Cached', 'Cached'] 0
# prints: CacheKeyFnPolicy ['Completed', 'Cached', 'Cached', 'Cached'] 1
