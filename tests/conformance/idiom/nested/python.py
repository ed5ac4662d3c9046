from flowspan import flow, get_run_logger, task


@flow
def innermost():
    get_run_logger().info("> at the bottom")


@task
def step():
    get_run_logger().info("> in the step")
    innermost()


@flow
def inner():
    step()


@task
def after():
    pass


@flow
def outer():
    inner()
    after()


outer()
