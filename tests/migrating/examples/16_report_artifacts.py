"""Leave a report of a run: markdown, a table, a link and a progress bar."""

from prefect import flow, task
from prefect.artifacts import (
    Artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

SALES = [
    {"region": "north", "sold": 120, "returned": 4},
    {"region": "south", "sold": 80, "returned": 11},
]


@task
def report(sales: list[dict]) -> str:
    lines = [f"| {row['region']} | {row['sold']} |" for row in sales]
    text = "\n".join(["# Sales", "", "| region | sold |", "|:--|--:|", *lines])
    create_markdown_artifact(key="sales-report", markdown=text, description="Sales of the week")
    return text


@task
def table(sales: list[dict]):
    return create_table_artifact(key="sales-table", table=sales, description="All of them")


@task
def process(batches: int) -> float:
    progress = create_progress_artifact(progress=0.0, key="sales-progress", description="Batches")
    done = 0.0
    for batch in range(batches):
        done = (batch + 1) / batches * 100
        update_progress_artifact(artifact_id=progress, progress=done)
    return done


@flow(log_prints=True)
def weekly_report():
    report(SALES)
    table(SALES)
    create_link_artifact(
        key="sales-link", link="https://example.com/sales", link_text="the dashboard"
    )
    return process(4)


print("progress:", weekly_report())
artifact = Artifact.get("sales-report")
print(artifact.type, "|", artifact.description, "|", artifact.data.splitlines()[-1])
print(Artifact.get("sales-table").type, "north" in str(Artifact.get("sales-table").data))
print(Artifact.get("sales-link").data)
print(Artifact.get("sales-progress").type, float(Artifact.get("sales-progress").data))
print(artifact.flow_run_id is not None, artifact.task_run_id is not None)
print(Artifact.get("no-such-report"))
try:
    create_markdown_artifact(key="Bad Key", markdown="x")
except Exception as error:
    print("refused:", isinstance(error, ValueError))

# prints: progress: 100.0
# prints: markdown | Sales of the week | | south | 80 |
# prints: table True
# prints: [the dashboard](https://example.com/sales)
# prints: progress 100.0
# prints: True True
# prints: None
# prints: refused: True
