from flowspan import flow, get_client, get_run_logger, task


@task
def fetch():
    pass


@flow
def etl():
    get_run_logger().info("> begin")
    fetch()


etl()
with get_client(sync_client=True) as client:
    for run in client.read_flow_runs():
        print(">", run.flow_name, run.state.type.value)
