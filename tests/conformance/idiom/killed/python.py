from flowspan import flow, get_run_logger, task


@task
def fetch():
    pass


@task
def slow():
    print("> waiting")
    input()


@flow
def etl():
    get_run_logger().info("> begin")
    fetch()
    slow()


etl()
