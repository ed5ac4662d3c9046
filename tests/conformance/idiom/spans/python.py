from flowspan import flow, runtime, task


@task(retries=1, retry_delay_seconds=0.05)
def fetch():
    if runtime.task_run.run_count == 1:
        raise OSError("not yet")


@task
def hopeless():
    raise ValueError("no")


@flow
def etl():
    fetch()
    hopeless()


etl(return_state=True)
