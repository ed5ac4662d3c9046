from flowspan import flow, task


@task
def first():
    pass


@task
def second():
    pass


@task
def third():
    pass


@flow
def etl():
    first()
    print("> first")
    input()
    second()
    print("> second")
    input()
    third()


etl()
