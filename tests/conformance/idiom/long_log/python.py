from flowspan import flow, get_run_logger


@flow
def etl():
    logger = get_run_logger()
    logger.info("> before")
    logger.info("> %s", "0123456789abcdef" * 65536)
    logger.info("> after")


etl()
