"""Copy files from S3 to a database: with integration packages."""

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.futures import wait
from prefect_aws import AwsCredentials
from prefect_aws.s3 import S3Bucket, s3_download
from prefect_dask import DaskTaskRunner
from prefect_dbt.cli.commands import DbtCoreOperation
from prefect_shell import ShellOperation
from prefect_sqlalchemy import SqlAlchemyConnector


@task
def insert(connector: SqlAlchemyConnector, line: str) -> int:
    with connector as database:
        database.execute("INSERT INTO lines VALUES (:line)", parameters={"line": line})
    return 1


@flow(task_runner=DaskTaskRunner(cluster_kwargs={"n_workers": 2}))
async def copy(bucket_name: str, key: str):
    credentials = AwsCredentials.load("production")
    content = await s3_download(bucket=bucket_name, key=key, aws_credentials=credentials)
    bucket = S3Bucket.load("backup")
    bucket.write_path(f"copies/{key}", content)
    connector = SqlAlchemyConnector.load("warehouse")
    futures = insert.map([connector] * 2, content.decode().splitlines())
    wait(futures)
    DbtCoreOperation(commands=["dbt run"], project_dir="models").run()
    ShellOperation(commands=["ls"]).run()
    create_table_artifact(table=[{"key": key}], key="copied")


if __name__ == "__main__":
    import asyncio

    asyncio.run(copy("bucket", "orders.txt"))
