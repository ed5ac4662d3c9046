"""Wait for a person: pause a run, and go on with what they typed."""

from prefect import flow, pause_flow_run, resume_flow_run, suspend_flow_run, task
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import wait_for_flow_run
from prefect.input import RunInput, receive_input, send_input
from prefect.logging import get_run_logger
from prefect.states import Paused, Suspended


class Approval(RunInput):
    approved: bool
    reason: str = ""


@task
def train() -> float:
    return 0.91


@task
def publish(score: float) -> str:
    return f"published with {score}"


@flow(name="train-and-approve")
def train_and_approve():
    logger = get_run_logger()
    score = train()
    try:
        answer = pause_flow_run(
            wait_for_input=Approval.with_initial_data(description=f"The score is {score}"),
            timeout=3600,
        )
    except FlowPauseTimeout:
        return "no one answered"
    if not answer.approved:
        logger.warning("refused: %s", answer.reason)
        return suspend_flow_run(timeout=7200)
    return publish(score)


@flow
async def ask_until_it_is_right():
    async for name in receive_input(str, timeout=60):
        await send_input(f"hello {name}", flow_run_id=name)


async def approve(flow_run_id):
    await resume_flow_run(flow_run_id, run_input={"approved": True})
    run = await wait_for_flow_run(flow_run_id, timeout=60)
    return isinstance(run.state, (type(Paused()), type(Suspended())))


if __name__ == "__main__":
    print(train_and_approve())
