from flowspan import flow
from flowspan.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)


@flow
def etl():
    create_markdown_artifact("# Sales", key="report")
    create_table_artifact([{"city": "東京", "sales": 3}])
    create_link_artifact("https://example.org/")
    progress = create_progress_artifact(0.0)
    update_progress_artifact(progress, progress=100.0)


etl()
