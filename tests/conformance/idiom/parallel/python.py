import threading

from flowspan import flow, get_run_logger, task

all_here = threading.Barrier(3, timeout=60)


def meet(name, number):
    all_here.wait()
    get_run_logger().info("> %s", name)
    return number


@flow
def etl():
    futures = [
        task(name=name)(meet).submit(name, number)
        for number, name in enumerate(["one", "two", "three"], 1)
    ]
    return sum(future.result() for future in futures)


print(">", etl())
