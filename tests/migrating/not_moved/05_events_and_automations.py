"""Tell the world what happened, and let automations answer."""

import os
from datetime import timedelta

from prefect import flow, runtime, task
from prefect import get_client
from prefect.automations import Automation
from prefect.events import DeploymentEventTrigger, emit_event
from prefect.events.actions import CancelFlowRun, RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.assets import materialize

os.environ.setdefault("PREFECT_API_URL", "http://127.0.0.1:4200/api")
os.environ["PREFECT_EVENTS_MAXIMUM_SIZE_BYTES"] = "1000"


@task
def find_new_files(folder: str) -> list[str]:
    return [f"{folder}/a.csv"]


@materialize("s3://bucket/a.parquet")
def convert(path: str):
    return path


@flow
def watch(folder: str):
    for path in find_new_files(folder):
        emit_event(
            event="file.found",
            resource={"prefect.resource.id": f"file.{path}"},
            payload={"run": runtime.flow_run.id},
        )
        convert(path)


async def stop_stuck_runs():
    automation = Automation(
        name="stop stuck runs",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Completed"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(hours=1),
        ),
        actions=[CancelFlowRun()],
    )
    await automation.acreate()
    async with get_client() as client:
        print(await client.read_automations())
        print(await client.count_flow_runs())
        deployments = await client.read_deployments()
    return DeploymentEventTrigger(), RunDeployment, deployments


if __name__ == "__main__":
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}):
        watch("inbox")
