"""Flows that return states and futures: the value for the caller, and the end of the run."""

from dataclasses import dataclass

from prefect import State, flow, task
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun
from prefect.states import Cancelled, Completed, Crashed, Failed


NAMES = {CrashedRun: "CrashedRun", FailedRun: "FailedRun", CancelledRun: "CancelledRun"}


def named(error):
    return NAMES.get(type(error)) or type(error).__name__


def shown(value):
    """States by their names and what is in them, so that both print the same."""
    if isinstance(value, State):
        if not value.is_final():
            return f"{value.name}"
        if value.is_cancelled():
            return f"{value.name} {value.message}"
        inside = value.result(raise_on_failure=False, _sync=True)
        return f"{value.name}<{shown(inside)}>"
    if isinstance(value, (list, tuple, set)):
        ends = {list: "[]", tuple: "()", set: "{}"}[type(value)]
        return ends[0] + ", ".join(sorted(map(shown, value))) + ends[1]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, BaseException):
        return f"{named(value)}({value})"
    return repr(value)


@task
def ok(x=1):
    return x


@task
def bad():
    raise ValueError("bad")


@task
def off():
    return Cancelled(message="off")


@task
def after(x):
    return x


@flow
def child():
    return 5


@flow
def bad_child():
    raise KeyError("child")


@dataclass
class Box:
    item: object


FORMS = {
    "future": lambda: ok.submit(),
    "failed future": lambda: bad.submit(),
    "state": lambda: ok(return_state=True),
    "failed state": lambda: bad(return_state=True),
    "subflow's state": lambda: child(return_state=True),
    "failed subflow's state": lambda: bad_child(return_state=True),
    "futures": lambda: [ok.submit(), ok.submit(2)],
    "futures, one failed": lambda: [ok.submit(), bad.submit()],
    "futures, all failed": lambda: [bad.submit(), bad.submit()],
    "one failed": lambda: [bad.submit()],
    "tuple": lambda: (ok.submit(), bad.submit()),
    "set": lambda: {bad.submit()},
    "states": lambda: [ok(return_state=True), bad(return_state=True)],
    "tuple with a value": lambda: (1, bad.submit()),
    "list with a value": lambda: [ok.submit(), bad(return_state=True), 3],
    "dict": lambda: {"a": bad.submit(), "b": ok.submit()},
    "nested": lambda: [[bad.submit()], [ok.submit()]],
    "nested with values": lambda: {"a": [1, ok.submit()], "b": bad.submit()},
    "cancelled and failed": lambda: [off.submit(), bad.submit()],
    "cancelled and completed": lambda: [off.submit(), ok.submit()],
    "all cancelled": lambda: [off.submit(), off.submit()],
    "not ready": lambda: [after.submit(bad.submit()), ok.submit()],
    "map": lambda: ok.map([1, 2]),
    "map, one failed": lambda: after.map([bad.submit(), 1]),
    "map's states": lambda: ok.map([1, 2], return_state=True),
    "made by hand": lambda: [Completed(data=1), Failed(data=ValueError("made"))],
    "made by hand, crashed": lambda: [Completed(data=1), Crashed(message="gone")],
    "made by hand, completed": lambda: [Completed(data=1), Completed(data=2)],
    "made in a dict": lambda: {"a": Failed(message="x")},
    "empty": lambda: [],
    "in a dataclass": lambda: type(Box(bad(return_state=True)).item).__name__,
}


for name, make in FORMS.items():

    @flow(name="returns")
    def returns():
        return make()

    @flow(name="calls")
    def calls():
        try:
            given = shown(returns())
        except BaseException as error:
            given = f"raises {named(error)}"
        state = returns(return_state=True)
        try:
            state.result()
            result = "result"
        except BaseException as error:
            result = f"raises {named(error)}"
        inside = state.result(raise_on_failure=False)
        print(f"{name}: {given} | {state.type.value} {shown(inside)} {result}")

    calls()

# prints: future: Completed<1> | COMPLETED Completed<1> result
# prints: failed future: raises ValueError | FAILED Failed<ValueError(bad)> raises ValueError
# prints: state: Completed<1> | COMPLETED Completed<1> result
# prints: failed state: raises ValueError | FAILED Failed<ValueError(bad)> raises ValueError
# prints: subflow's state: Completed<5> | COMPLETED Completed<5> result
# prints: failed subflow's state: raises KeyError | FAILED Failed<KeyError('child')> raises KeyError
# prints: futures: [Completed<1>, Completed<2>] | COMPLETED [Completed<1>, Completed<2>] result
# prints: futures, one failed: [Completed<1>, Failed<ValueError(bad)>] | FAILED [Completed<1>, Failed<ValueError(bad)>] raises ValueError
# prints: futures, all failed: [Failed<ValueError(bad)>, Failed<ValueError(bad)>] | FAILED [Failed<ValueError(bad)>, Failed<ValueError(bad)>] raises ValueError
# prints: one failed: [Failed<ValueError(bad)>] | FAILED [Failed<ValueError(bad)>] raises ValueError
# prints: tuple: (Completed<1>, Failed<ValueError(bad)>) | FAILED (Completed<1>, Failed<ValueError(bad)>) raises ValueError
# prints: set: {Failed<ValueError(bad)>} | FAILED {Failed<ValueError(bad)>} raises ValueError
# prints: states: [Completed<1>, Failed<ValueError(bad)>] | FAILED [Completed<1>, Failed<ValueError(bad)>] raises ValueError
# prints: tuple with a value: (1, Failed<ValueError(bad)>) | COMPLETED (1, Failed<ValueError(bad)>) result
# prints: list with a value: [3, Completed<1>, Failed<ValueError(bad)>] | COMPLETED [3, Completed<1>, Failed<ValueError(bad)>] result
# prints: dict: {a: Failed<ValueError(bad)>, b: Completed<1>} | COMPLETED {a: Failed<ValueError(bad)>, b: Completed<1>} result
# prints: nested: [[Completed<1>], [Failed<ValueError(bad)>]] | COMPLETED [[Completed<1>], [Failed<ValueError(bad)>]] result
# prints: nested with values: {a: [1, Completed<1>], b: Failed<ValueError(bad)>} | COMPLETED {a: [1, Completed<1>], b: Failed<ValueError(bad)>} result
# prints: cancelled and failed: [Cancelled off, Failed<ValueError(bad)>] | CANCELLED [Cancelled off, Failed<ValueError(bad)>] raises CancelledRun
# prints: cancelled and completed: [Cancelled off, Completed<1>] | CANCELLED [Cancelled off, Completed<1>] raises CancelledRun
# prints: all cancelled: [Cancelled off, Cancelled off] | CANCELLED [Cancelled off, Cancelled off] raises CancelledRun
# prefect prints: not ready: [Completed<1>, NotReady] | FAILED [Completed<1>, NotReady] raises ValueError
# flowspan prints: not ready: [Completed<1>, NotReady] | FAILED [Completed<1>, NotReady] raises UpstreamFailed
# prints: map: [Completed<1>, Completed<2>] | COMPLETED [Completed<1>, Completed<2>] result
# prefect prints: map, one failed: [Completed<1>, NotReady] | FAILED [Completed<1>, NotReady] raises ValueError
# flowspan prints: map, one failed: [Completed<1>, NotReady] | FAILED [Completed<1>, NotReady] raises UpstreamFailed
# prints: map's states: [Completed<1>, Completed<2>] | COMPLETED [Completed<1>, Completed<2>] result
# prints: made by hand: [Completed<1>, Failed<ValueError(made)>] | FAILED [Completed<1>, Failed<ValueError(made)>] raises ValueError
# prints: made by hand, crashed: [Completed<1>, Crashed<CrashedRun(gone)>] | FAILED [Completed<1>, Crashed<CrashedRun(gone)>] raises CrashedRun
# prints: made by hand, completed: [Completed<1>, Completed<2>] | COMPLETED [Completed<1>, Completed<2>] result
# prints: made in a dict: {a: Failed<FailedRun(x)>} | COMPLETED {a: Failed<FailedRun(x)>} result
# prints: empty: [] | COMPLETED [] result
# prints: in a dataclass: 'State' | COMPLETED 'State' result
# because: a run that never began raises UpstreamFailed, and Prefect's ValueError says nothing of why
