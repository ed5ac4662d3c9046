from flowspan import flow, get_run_logger, runtime, task


@task(retries=2, retry_delay_seconds=0.05)
def fetch():
    attempt = runtime.task_run.run_count
    get_run_logger().info("> attempt %d", attempt)
    if attempt < 3:
        raise OSError("not yet")
    return attempt


@flow
def etl():
    return fetch()


print("> done after", etl())
