"""Read credentials from blocks, and send what was found to Slack."""

from prefect import flow, get_run_logger, task
from prefect.blocks.core import Block
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.system import JSON, Secret
from prefect.filesystems import LocalFileSystem
from prefect.variables import Variable
from pydantic import SecretStr


class Warehouse(Block):
    """The place of the tables."""

    user: str
    password: SecretStr

    def connect(self) -> str:
        return f"{self.user}@warehouse"


@task
def read_key() -> str:
    return Secret.load("api-key").get()


@task(result_storage=LocalFileSystem(basepath="/tmp/results"), persist_result=True)
def read_table(name: str) -> list[dict]:
    connection = Warehouse.load("production").connect()
    get_run_logger().info("reading %s as %s", name, connection)
    return [{"name": name}]


@flow
async def export():
    key = read_key()
    limits = await JSON.aload("limits")
    slack = await SlackWebhook.aload("data-team")
    rows = read_table("orders")
    await slack.notify(f"{len(rows)} rows, {len(key)}, {limits.value}, {Variable.get('env')}")


if __name__ == "__main__":
    import asyncio

    Secret(value="hush").save("api-key", overwrite=True)
    asyncio.run(export())
