from flowspan import flow, get_run_logger, task


@task
def slow():
    print("> waiting")
    input()


@flow
def etl():
    get_run_logger().info("> begin")
    slow()


etl()
