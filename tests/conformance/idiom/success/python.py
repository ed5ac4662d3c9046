from flowspan import flow, get_run_logger, task


@task(tags={"network", "shop"})
def fetch(limit):
    get_run_logger().info("> fetched %d", limit)
    return [1, 2, 3]


@flow(description="Loads the sales of a day.")
def etl(day, limit):
    logger = get_run_logger()
    logger.info("> begin")
    logger.warning("> careful")
    return sum(fetch(limit))


print(">", etl("monday", 3))
