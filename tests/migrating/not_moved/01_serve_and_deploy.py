"""Serve a flow on a schedule, and deploy another one to a work pool."""

from datetime import timedelta

import prefect
from prefect import aserve, deploy, flow, serve, task
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments import run_deployment
from prefect.docker import DockerImage
from prefect.runner.storage import GitRepository
from prefect.schedules import Cron, Interval


@task(retries=3)
def check(site: str) -> bool:
    return site.startswith("https://")


@flow(log_prints=True)
def check_sites(sites: list[str] = ["https://example.com"]):
    return [check(site) for site in sites]


@flow
def report():
    run_deployment("check-sites/hourly", timeout=0)
    print(prefect.__version__)


def main():
    hourly = check_sites.to_deployment("hourly", schedule=Interval(timedelta(hours=1)))
    daily = report.to_deployment(name="daily", cron="0 6 * * *")
    serve(hourly, daily, limit=2)


async def amain():
    await aserve(
        await check_sites.ato_deployment("again", schedules=[CronSchedule(cron="* * * * *")])
    )


def ship():
    deploy(
        check_sites.to_deployment("in-docker", schedule=Cron("0 0 * * *", timezone="UTC")),
        work_pool_name="docker",
        image=DockerImage(name="registry/checks", tag="1"),
    )
    flow.from_source(
        source=GitRepository(url="https://example.com/repo.git"), entrypoint="flows.py:report"
    ).deploy(name="from-git", work_pool_name="k8s")
    report.serve(name="report", cron="0 7 * * *")


if __name__ == "__main__":
    main()
