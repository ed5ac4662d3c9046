from flowspan import flow, task

LONG = "0123456789abcdef" * 65536


@task(description=LONG)
def step(text):
    return len(text)


@flow(description=LONG)
def etl(text):
    step(text)
    raise ValueError(LONG)


etl(LONG, return_state=True)
