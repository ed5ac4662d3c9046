from flowspan import flow, get_run_logger


@flow
def etl():
    print("> waiting")
    input()
    get_run_logger().info("> alive")


etl()
