"""Attributes of functions and tasks in the identity of a task."""

from __future__ import annotations

import functools
import pickle
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import cloudpickle  # type: ignore[import-untyped] # untyped
import pytest
from tests.unit.client.core.keys.test_task_identity import POLICIES, Loader, key

from flowspan import flow, task
from flowspan.cache_policies import INPUTS
from flowspan.core.keys.function_state import attributes_of_definition
from flowspan.core.keys.task_identity import identity_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.cache_policies import CachePolicy


def with_prefix(prefix: Any) -> Any:
    def decorate(fn: Any) -> Any:
        @functools.wraps(fn)
        def wrapper(*args: Any) -> Any:
            return wrapper.prefix, fn(*args)  # type: ignore[attr-defined] # set below

        wrapper.prefix = prefix  # type: ignore[attr-defined] # under test
        return wrapper

    return decorate


def by_decorator(prefix: Any) -> Any:
    @task
    @with_prefix(prefix)
    def load(day: str) -> Any:
        return day

    return load


def below_a_decorator(prefix: Any) -> Any:
    @task
    @functools.lru_cache
    @with_prefix(prefix)
    def load(day: str) -> Any:
        return day

    return load


def of_a_helper(prefix: Any) -> Any:
    def helper(day: str) -> Any:
        return day

    helper.prefix = prefix  # type: ignore[attr-defined] # under test

    @task
    def load(day: str) -> Any:
        return helper.prefix, helper(day)  # type: ignore[attr-defined] # set above

    return load


def of_its_function(prefix: Any) -> Any:
    def load(day: str) -> Any:
        return load.prefix, day  # type: ignore[attr-defined] # set below

    load.prefix = prefix  # type: ignore[attr-defined] # under test
    return task(load)


def of_a_function_without_closure(prefix: Any) -> Any:
    def load(day: str) -> Any:
        return day

    made = task(load)
    load.prefix = prefix  # type: ignore[attr-defined] # under test
    return made


def of_the_task(prefix: Any) -> Any:
    @task
    def load(day: str) -> Any:
        return load.prefix, day  # type: ignore[attr-defined] # set below

    load.prefix = prefix  # type: ignore[attr-defined] # under test
    return load


def of_another_task(prefix: Any) -> Any:
    helper = of_the_task(prefix)

    @task
    def load(day: str) -> Any:
        return helper.prefix, day

    return load


def of_a_partial(prefix: Any) -> Any:
    load: Any = functools.partial(lambda day: day)
    load.prefix = prefix
    return task(name="load")(load)


def of_a_cached_function(prefix: Any) -> Any:
    @functools.lru_cache
    def load(day: str) -> Any:
        return load.prefix, day  # type: ignore[attr-defined] # set below

    load.prefix = prefix  # type: ignore[attr-defined] # under test
    return task(load)


def by_what_is_wrapped(prefix: Any) -> Any:
    def load(day: str) -> Any:
        return prefix, day

    @functools.wraps(load)
    def wrapper(*args: Any) -> Any:
        return wrapper.__wrapped__(*args)

    return task(wrapper)


def of_a_methods_function(prefix: Any) -> Any:
    class Local:
        def load(self, day: str) -> Any:
            return type(self).load.prefix, day  # type: ignore[attr-defined] # set below

    Local.load.prefix = prefix  # type: ignore[attr-defined] # under test
    return task(Local().load)


def of_an_asynchronous(prefix: Any) -> Any:
    async def load(day: str) -> Any:
        return load.prefix, day  # type: ignore[attr-defined] # set below

    load.prefix = prefix  # type: ignore[attr-defined] # under test
    return task(load)


def of_a_generator(prefix: Any) -> Any:
    def load(day: str) -> Any:
        yield load.prefix, day  # type: ignore[attr-defined] # set below

    load.prefix = prefix  # type: ignore[attr-defined] # under test
    return task(load)._collected


MAKERS: list[Callable[[Any], Any]] = [
    *(by_decorator, below_a_decorator, of_a_helper, of_its_function),
    *(of_a_function_without_closure, of_the_task, of_another_task, of_a_partial),
    *(of_a_cached_function, by_what_is_wrapped, of_a_methods_function, of_an_asynchronous),
    of_a_generator,
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_attributes_tell_tasks_apart(policy: CachePolicy, make: Callable[[Any], Any]) -> None:
    prefixes = ["a", "b", 1, 1.0, True, ["a"], {"a": 1}, Loader("a"), Loader("b"), len]
    tasks = [make(prefix) for prefix in prefixes]
    keys = [key(policy, each) for each in tasks]
    assert None not in keys
    assert len(set(keys)) == len(prefixes)
    assert keys == [key(policy, each) for each in tasks]
    assert keys == [key(policy, make(prefix)) for prefix in prefixes]
    assert not any(each.code.first_seen.local for each in tasks)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_an_attribute_counts_as_it_is_at_the_call(policy: CachePolicy) -> None:
    for make in (of_its_function, of_a_function_without_closure):
        load = make("a")
        before = key(policy, load)
        load.fn.prefix = "b"
        assert key(policy, load) != before
        load.fn.prefix = "a"
        assert key(policy, load) == before
    load = of_the_task("a")
    before = key(policy, load)
    load.prefix = "b"
    assert key(policy, load) != before


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_copy_in_another_process_is_the_same_task(policy: CachePolicy) -> None:
    for make in MAKERS:
        if make is below_a_decorator or make is of_a_cached_function:
            continue  # cloudpickle cannot copy them.
        load = make("a")
        copied = pickle.loads(cloudpickle.dumps(load))  # noqa: S301 - pickled by this test
        assert key(policy, load) == key(policy, copied)


def counted(fn: Any) -> Any:
    """Decorate a function with a wrapper that keeps changing data in function attributes."""

    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        wrapper.calls += 1  # type: ignore[attr-defined] # set below
        wrapper.last_at = time.time()  # type: ignore[attr-defined] # set below
        wrapper.seen.append(args)  # type: ignore[attr-defined] # set below
        wrapper.cache[args] = args  # type: ignore[attr-defined] # set below
        fn.calls = len(args)
        return fn(*args)

    attributes: Any = wrapper
    attributes.calls, attributes.last_at, attributes.seen, attributes.cache = 0, None, [], {}
    attributes.lock, attributes.done = threading.Lock(), threading.Event()
    attributes.function, attributes.reference = fn, weakref.ref(fn)
    attributes.count = lambda: len(attributes.cache)
    return wrapper


def of_a_counter(prefix: Any) -> Any:
    @task
    @with_prefix(prefix)
    @counted
    def load(day: str) -> Any:
        return day

    return load


def of_a_counter_around(prefix: Any) -> Any:
    @task
    @counted
    @with_prefix(prefix)
    def load(day: str) -> Any:
        return day

    return load


@pytest.mark.parametrize("make", [of_a_counter, of_a_counter_around])
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_what_a_decorator_changes_makes_no_other_task(policy: CachePolicy, make: Any) -> None:
    tasks = [make("a"), make("b")]
    keys = [key(policy, each) for each in tasks]
    assert len(set(keys)) == 2
    for each in tasks:
        each.fn("m")
        each.fn("n")
    assert keys == [key(policy, each) for each in tasks]
    assert keys == [key(policy, make(prefix)) for prefix in "ab"]
    assert not any(each.code.first_seen.local for each in tasks)


def test_what_a_function_changes_hides_no_other_attribute() -> None:
    load: Any = counted(with_prefix("a")(lambda day: day))
    made = task(name="load")(load)
    load.more = 1
    before = key(INPUTS, made)
    load("m")
    assert key(INPUTS, made) == before
    load.more = 2
    assert key(INPUTS, made) != before


def test_what_cannot_be_hashed_is_known_in_this_process() -> None:
    tasks = [of_its_function(open(__file__)) for _ in range(2)]  # noqa: SIM115 - closed below
    keys = [key(INPUTS, each) for each in tasks]
    assert len(set(keys)) == 2
    assert keys == [key(INPUTS, each) for each in tasks]
    for each in tasks:
        assert set(each.code.first_seen.local) == {"prefix"}
        each.fn.prefix.close()


def test_nothing_of_the_users_is_run() -> None:
    class Owner:
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            raise AssertionError(f"{name} was asked for")

        @property
        def made_up(self) -> Any:
            raise AssertionError("it was asked for")

    assert key(INPUTS, of_its_function(Owner()))


def test_many_decorators_cost_no_more_than_their_number() -> None:
    load: Any = lambda day: day  # noqa: E731 - decorated below
    for each in range(40):
        load = counted(with_prefix(each)(load))
    began = time.perf_counter()
    identity_of(task(name="load")(load))
    assert time.perf_counter() - began < 5


def test_functions_that_hold_each_other_are_told_apart_in_this_process() -> None:
    functions: list[Any] = [lambda day, number=number: (day, number) for number in range(8)]
    for each in functions:
        for number, other in enumerate(functions):
            setattr(each, f"other_{number}", other)
    tasks = [task(name="load")(each) for each in functions]
    identities = [identity_of(each) for each in tasks]
    assert len(set(identities)) == len(tasks)
    assert identities == [identity_of(each) for each in tasks]
    assert all("refer to each other" in str(each.code.first_seen.local) for each in tasks)


def test_a_task_may_hold_many_functions() -> None:
    functions = [lambda day, number=number: (day, number) for number in range(3_000)]
    identities = [identity_of(of_its_function(functions[:n])) for n in (2_999, 3_000)]
    assert len(set(identities)) == 2
    load = of_its_function(functions)
    assert identity_of(load) == identities[1]
    assert not load.code.first_seen.local


def test_a_flow_and_a_task_have_no_attributes_of_the_users() -> None:
    @task(name="a", retries=2, tags=["x"], cache_policy=INPUTS)
    def load(day: str) -> Any:
        return day

    @flow(name="a", retries=2)
    def around() -> Any:
        return load("m")

    class Owner:
        @task
        @classmethod
        def of_class(cls) -> Any:
            yield cls

        @task
        def of_object(self) -> Any:
            return self

    made: list[Any] = [load, around, load.with_options(name="b"), around.with_options(name="b")]
    made += [Owner.of_class, Owner.of_object, Owner().of_object, Owner.of_class._collected]
    for each in made:
        assert each.binding is not None
        assert identity_of(each)
        assert attributes_of_definition(each) == {}
