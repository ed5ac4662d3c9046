from flowspan import flow, task


@task
def load():
    return [1, 2, 3]


@task
def clean(rows):
    return len(rows)


@flow
def etl():
    return clean.submit(load.submit()).result()


print(">", etl())
