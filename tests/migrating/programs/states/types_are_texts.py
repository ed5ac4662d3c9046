"""The type of a state equals its name as text, wherever a text is expected."""

import copy
import json
import pickle

from prefect import State, flow, task
from prefect.states import Cancelled, Completed, Failed, Running, StateType

kind = Completed().type
print(kind == "COMPLETED", kind == "FAILED", kind != "FAILED", kind is StateType.COMPLETED)
print(kind.value, kind.name, kind.lower(), isinstance(kind, str))
print(str(kind), repr(kind), f"{kind}", f"{kind:>22}", f"{kind!r}")
print("%s" % kind, "{}".format(kind), "type " + kind)
print(json.dumps({"type": kind, "all": [Failed().type]}), json.dumps({kind: 1}))
print(pickle.loads(pickle.dumps(kind)) is kind, copy.deepcopy(kind) is kind)
print({"COMPLETED": 1}[kind], kind in {"COMPLETED"}, hash(kind) == hash("COMPLETED"))
print(StateType("FAILED") is StateType.FAILED, StateType["FAILED"] is StateType.FAILED)
for wrong in ("Failed", "X", 6, None):
    try:
        StateType(wrong)
    except ValueError:
        print("no type:", wrong)
print(State(type="FAILED", message="m").is_failed(), State(type="FAILED").name)
print({StateType.FAILED: "alert"}.get(Failed().type), Failed().type in ("FAILED", "CRASHED"))
match Cancelled().type:
    case "CANCELLED":
        print("matched")
print(sorted([Running().type, Failed().type])[0].value)
print(str(Completed()), str(Failed(message="m")), str(Completed(name="Skipped", message="m")))
print(f"{Completed(name='Skipped')}")


def alert(thing, run, state):
    if state.type == "FAILED":
        print("alert:", state.type.value, state.name, run.state_type == "FAILED")


@task(on_failure=[alert])
def fail():
    raise ValueError("no")


@flow(on_failure=[alert])
def main():
    future = fail.submit()
    future.wait()
    print(future.state.type == "FAILED", json.dumps(future.state.type))
    fail()


state = main(return_state=True)
print(state.type == "FAILED", state.type.value)

# prints: True False True True
# prints: COMPLETED COMPLETED completed True
# prints: StateType.COMPLETED StateType.COMPLETED StateType.COMPLETED    StateType.COMPLETED StateType.COMPLETED
# prints: StateType.COMPLETED StateType.COMPLETED type COMPLETED
# prints: {"type": "COMPLETED", "all": ["FAILED"]} {"COMPLETED": 1}
# prints: True True
# prints: 1 True True
# prints: True True
# prints: no type: Failed
# prints: no type: X
# prints: no type: 6
# prints: no type: None
# prints: True Failed
# prints: alert True
# prints: matched
# prints: FAILED
# prints: Completed() Failed('m') Skipped('m', type=COMPLETED)
# prints: Skipped(type=COMPLETED)
# prints: alert: FAILED Failed True
# prints: True "FAILED"
# prints: alert: FAILED Failed True
# prints: alert: FAILED Failed True
# prints: True FAILED
