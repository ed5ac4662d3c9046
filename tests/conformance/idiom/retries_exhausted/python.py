from flowspan import flow, runtime, task


@task(retries=1, retry_delay_seconds=0.05)
def fetch():
    raise OSError(f"attempt {runtime.task_run.run_count}")


@flow
def etl():
    fetch()


etl(return_state=True)
