from flowspan import flow, get_run_logger, task


@task
def first():
    print("> first")


@task
def second():
    input()


@flow
def etl():
    logger = get_run_logger()
    logger.info("> before")
    first()
    second()
    logger.info("> after")


etl()
