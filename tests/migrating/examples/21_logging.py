"""Log from flows and tasks: loggers of runs, prints that become records, loggers of one's own."""

import logging

from prefect import flow, get_run_logger, task
from prefect.logging import disable_run_logger, get_logger

RECORDS: list[str] = []


class Collector(logging.Handler):
    def emit(self, record: logging.LogRecord):
        RECORDS.append(f"{record.levelname} {record.getMessage()}")


for name in ["prefect.flow_runs", "prefect.task_runs", "my_company"]:
    logger = logging.getLogger(name)
    logger.addHandler(Collector())
    logger.setLevel(logging.INFO)
company_logger = logging.getLogger("my_company")


@task(log_prints=True)
def transform(x: int) -> int:
    print("transforming", x)
    get_run_logger().warning("x is %d", x)
    return x * 2


@task
def silent(x: int) -> int:
    print("this is seen on the console")
    return x


@task(log_prints=False)
def not_logged(x: int) -> int:
    print("so is this", x)
    return x


@flow
def logs_itself(x: int) -> int:
    logger = get_run_logger()
    logger.info("begins with %s", x)
    logger.debug("too low to be seen")
    company_logger.info("from a library: %s", x)
    y = transform(x)
    silent(y)
    return y


@flow(log_prints=True)
def prints(x: int):
    print("printed in the flow")
    not_logged(x)
    transform(x)
    try:
        raise KeyError("missing")
    except KeyError:
        get_run_logger().exception("it went wrong")


print(logs_itself(1))
prints(5)
words = ("begins", "too low", "library", "transforming", "x is", "printed", "so is", "wrong")
for record in RECORDS:
    if any(word in record for word in words):
        print(record)
try:
    get_run_logger()
except Exception as error:
    print(type(error).__name__)
with disable_run_logger():
    print(transform.fn(4))
print(isinstance(get_logger("mine"), logging.Logger))

# flowspan prints: transforming 1
# prints: this is seen on the console
# prints: 2
# flowspan prints: printed in the flow
# prints: so is this 5
# prefect prints: INFO begins with 1
# flowspan prints: transforming 5
# prints: INFO from a library: 1
# prefect prints: INFO transforming 1
# prefect prints: WARNING x is 1
# prefect prints: INFO printed in the flow
# prefect prints: INFO transforming 5
# prefect prints: WARNING x is 5
# prefect prints: ERROR it went wrong
# prefect prints: MissingContextError
# flowspan prints: NoRunError
# prints: transforming 4
# prints: 8
# prints: True
# because: the loggers of runs are called flowspan.flow_runs and flowspan.task_runs, prints are shown where they were, and MissingContextError is another name of NoRunError
