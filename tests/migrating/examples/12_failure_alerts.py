"""Tell the team when a flow fails, and the dashboard when it does not."""

from prefect import flow, tags, task
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.flows import Flow

SENT: list[str] = []


def send(channel: str, text: str):
    SENT.append(f"#{channel} {text}")


def alert(flow: Flow, flow_run: FlowRun, state: State):
    if state.type == "FAILED":
        send("alerts", f"{flow.name}/{flow_run.name} failed: {state.message}")
    if state.type == StateType.CRASHED:
        send("alerts", f"{flow.name}/{flow_run.name} crashed")


def page_someone(flow, flow_run, state):
    if "production" in flow_run.tags:
        send("oncall", f"{flow_run.name} with {flow_run.parameters}")


def celebrate(flow: Flow, flow_run: FlowRun, state: State):
    emoji = {StateType.COMPLETED: ":tada:"}.get(state.type, ":question:")
    send("dashboard", f"{emoji} {flow_run.name} is {state.name.lower()}, {state.is_completed()}")


def broken_hook(flow, flow_run, state):
    send("dashboard", "before it breaks")
    raise RuntimeError("Slack is down")


@task(retries=1, retry_delay_seconds=0)
def divide(a: int, b: int) -> float:
    return a / b


@flow(
    name="ratios",
    flow_run_name="ratio-{a}-{b}",
    on_failure=[alert, page_someone],
    on_crashed=[alert],
    on_completion=[broken_hook, celebrate],
    on_running=[lambda flow, flow_run, state: send("dashboard", f"{flow_run.name} {state.name}")],
)
def ratios(a: int, b: int) -> float:
    return divide(a, b)


@ratios.on_failure
def count_failures(flow, flow_run, state):
    send("metrics", f"failures of {flow.name}: {flow_run.run_count}")


@flow(flow_run_name="vague-run", on_failure=[alert], on_crashed=[alert], retries=1)
def vague(answer: str):
    raise SystemError(f"nothing known about {answer!r}")


print(ratios(6, 3))
with tags("production", "eu"):
    state = ratios(1, 0, return_state=True)
print(state.type == "FAILED", state.type.value, state.type in ("FAILED", "CRASHED"))
state = vague("life", return_state=True)
for line in SENT:
    print(line)

# prints: 2.0
# prints: True FAILED True
# prints: #dashboard ratio-6-3 Running
# prints: #dashboard before it breaks
# prints: #dashboard :tada: ratio-6-3 is completed, True
# prints: #dashboard ratio-1-0 Running
# prefect prints: #alerts ratios/ratio-1-0 failed: Flow run encountered an exception: ZeroDivisionError: division by zero
# flowspan prints: #alerts ratios/ratio-1-0 failed: ZeroDivisionError: division by zero
# prints: #oncall ratio-1-0 with {'a': 1, 'b': 0}
# prints: #metrics failures of ratios: 1
# prefect prints: #alerts vague/vague-run failed: Flow run encountered an exception: SystemError: nothing known about 'life'
# flowspan prints: #alerts vague/vague-run failed: SystemError: nothing known about 'life'
# because: a message is the error alone
