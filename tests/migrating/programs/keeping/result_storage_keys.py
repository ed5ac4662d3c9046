"""The key of a result is its result_storage_key, whatever task asks, unless caching is off."""

from prefect import flow, task
from prefect.cache_policies import INPUTS, DEFAULT, NO_CACHE, TASK_SOURCE

ran = []


@task(result_storage_key="k-{parameters[x]}")
def one(x):
    ran.append(("one", x))
    return ("one", x)


@task(result_storage_key="k-{parameters[x]}")
def two(x):
    ran.append(("two", x))
    return ("two", x)


def st(s):
    return (s.name, s.result())


@flow
def f():
    print(
        st(one(1, return_state=True)),
        st(one(1, return_state=True)),
        st(two(1, return_state=True)),
        st(two(2, return_state=True)),
    )


f()
f()
print(ran)
ran.clear()


@task(result_storage_key="k-{parameters[x]}", cache_policy=INPUTS)
def three(x):
    ran.append(("three", x))
    return ("three", x)


@flow
def g():
    print(st(three(1, return_state=True)), st(three(1, return_state=True)))


g()
g()
print(ran)
ran.clear()


@task(result_storage_key="k-{parameters[x]}", cache_policy=NO_CACHE)
def four(x):
    ran.append(("four", x))
    return ("four", x)


@flow
def g4():
    print(st(four(1, return_state=True)), st(four(1, return_state=True)))


g4()
g4()
print(ran)
ran.clear()


@task(result_storage_key="k-{parameters[x]}", cache_policy=DEFAULT)
def five(x):
    ran.append(("five", x))
    return ("five", x)


@flow
def g5():
    print(st(five(1, return_state=True)), st(five(1, return_state=True)))


g5()
g5()
print(ran)
ran.clear()


@task(result_storage_key="r-{flow_run.flow_name}-{flow_run.name}")
def six(x):
    ran.append(("six", x))
    return ("six", x)


@flow(flow_run_name="same")
def g6():
    print(st(six(1, return_state=True)), st(six(2, return_state=True)))


g6()
g6()
print(ran)
ran.clear()


@task(result_storage_key="t-{task_run.name}-{task_run.task_name}")
def seven(x):
    ran.append(("seven", x))
    return ("seven", x)


@flow
def g7():
    print(st(seven(1, return_state=True)), st(seven(2, return_state=True)))


g7()
g7()
print(ran)
ran.clear()
for tpl in (
    "x-{nope}",
    "fixed",
    "",
    "{prefect.runtime.flow_run.name}",
    "{flow_run.parameters[z]}",
    "sub/dir/{parameters[x]}",
):
    try:

        @task(result_storage_key=tpl)
        def e(x):
            ran.append(x)
            return x

        @flow(flow_run_name="same")
        def ge(z=3):
            print(tpl.split(".")[-1], st(e(1, return_state=True)), st(e(2, return_state=True)))

        ge()
        ge()
        print(ran)
    except Exception as ex:
        print(tpl, type(ex).__name__, str(ex)[:80])
    ran.clear()


@task(result_storage_key="p-{parameters[x]}", persist_result=False)
def np(x):
    ran.append(x)
    return x


@flow
def gn():
    print(st(np(1, return_state=True)), st(np(1, return_state=True)))


gn()
gn()
print(ran)
ran.clear()


@task(result_storage_key="rf-{parameters[x]}", refresh_cache=True)
def rf(x):
    ran.append(x)
    return x


@flow
def gr():
    print(st(rf(1, return_state=True)), st(rf(1, return_state=True)))


gr()
print(ran)
ran.clear()


@task(result_storage_key="d-{parameters[x]}-{parameters[y]}")
def dflt(x, y=4):
    ran.append(x)
    return x


@flow
def gd():
    print(
        st(dflt(1, return_state=True)),
        st(dflt(1, y=4, return_state=True)),
        st(dflt(1, y=5, return_state=True)),
    )


gd()
print(ran)
ran.clear()
dflt(1)
print(ran)
ran.clear()
print(st(one(1, return_state=True)), ran)


@task(result_storage_key="fk-{parameters[x]}", cache_key_fn=lambda c, p: "fn")
def both(x):
    ran.append(x)
    return x


@flow
def gb():
    print(st(both(1, return_state=True)), st(both(2, return_state=True)))


gb()
print(ran)
ran.clear()

# prints: ('Completed', ('one', 1)) ('Cached', ('one', 1)) ('Cached', ('one', 1)) ('Completed', ('two', 2))
# prints: ('Cached', ('one', 1)) ('Cached', ('one', 1)) ('Cached', ('one', 1)) ('Cached', ('two', 2))
# prints: [('one', 1), ('two', 2)]
# prints: ('Cached', ('one', 1)) ('Cached', ('one', 1))
# prints: ('Cached', ('one', 1)) ('Cached', ('one', 1))
# prints: []
# prints: ('Completed', ('four', 1)) ('Completed', ('four', 1))
# prints: ('Completed', ('four', 1)) ('Completed', ('four', 1))
# prints: [('four', 1), ('four', 1), ('four', 1), ('four', 1)]
# prints: ('Cached', ('one', 1)) ('Cached', ('one', 1))
# prints: ('Cached', ('one', 1)) ('Cached', ('one', 1))
# prints: []
# prints: ('Completed', ('six', 1)) ('Cached', ('six', 1))
# prints: ('Cached', ('six', 1)) ('Cached', ('six', 1))
# prints: [('six', 1)]
# prints: ('Completed', ('seven', 1)) ('Completed', ('seven', 2))
# prints: ('Completed', ('seven', 1)) ('Completed', ('seven', 2))
# prints: [('seven', 1), ('seven', 2), ('seven', 1), ('seven', 2)]
# prefect prints: x-{nope} KeyError 'nope'
# flowspan prints: x-{nope} ('Completed', 1) ('Completed', 2)
# flowspan prints: x-{nope} ('Completed', 1) ('Completed', 2)
# flowspan prints: [1, 2, 1, 2]
# prints: fixed ('Completed', 1) ('Cached', 1)
# prints: fixed ('Cached', 1) ('Cached', 1)
# prints: [1]
# prints:  ('Completed', 1) ('Completed', 2)
# prints:  ('Completed', 1) ('Completed', 2)
# prints: [1, 2, 1, 2]
# prints: name} ('Completed', 1) ('Cached', 1)
# prints: name} ('Cached', 1) ('Cached', 1)
# prints: [1]
# prints: parameters[z]} ('Completed', 1) ('Cached', 1)
# prints: parameters[z]} ('Cached', 1) ('Cached', 1)
# prints: [1]
# prints: sub/dir/{parameters[x]} ('Completed', 1) ('Completed', 2)
# prints: sub/dir/{parameters[x]} ('Cached', 1) ('Cached', 2)
# prints: [1, 2]
# prints: ('Completed', 1) ('Completed', 1)
# prints: ('Completed', 1) ('Completed', 1)
# prints: [1, 1, 1, 1]
# prints: ('Completed', 1) ('Completed', 1)
# prints: [1, 1]
# prints: ('Completed', 1) ('Cached', 1) ('Completed', 1)
# prints: [1, 1]
# prints: []
# prints: ('Cached', ('one', 1)) []
# prints: ('Completed', 1) ('Completed', 2)
# prints: [1, 2]
# because: a run whose template cannot be filled in has its result all the same; the log says why it is not stored
