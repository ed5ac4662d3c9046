from flowspan import flow, task


@task
def fetch():
    pass


@task
def slow():
    print("> waiting")
    input()


@flow
def etl():
    fetch()
    slow()


etl()
