from flowspan import flow, task


@task
def fetch():
    try:
        raise OSError("no such file")
    except OSError as error:
        raise ValueError("cannot load") from error


@flow
def etl():
    fetch()


try:
    etl()
except ValueError as error:
    print(">", error)
