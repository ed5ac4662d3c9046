"""Prints with log_prints are log records, which the handlers of the program get."""

import asyncio
import io
import logging
import sys

from prefect import flow, get_run_logger, task

records = []


class Kept(logging.Handler):
    def emit(self, record):
        if record.name.endswith(("flow_runs", "task_runs")):
            records.append(record)


for name in ("flow_runs", "task_runs"):
    logging.getLogger(f"prefect.{name}").setLevel(logging.INFO)
logging.getLogger().addHandler(Kept())
real, sys.stdout = sys.stdout, io.StringIO()  # whether prints are printed, too, is not the matter


@task(task_run_name="of-task")
def plain():
    print("task", 1, 2.5, sep="-", end="!")
    get_run_logger().info("by the logger %s", 1)


@task(task_run_name="later")
async def later():
    print("100% %s", flush=True)


@flow(flow_run_name="inner")
def inner():
    print("inner")


@flow(flow_run_name="quiet", log_prints=False)
def quiet():
    print("quiet")
    plain.with_options(log_prints=True)()


@flow(flow_run_name="main", log_prints=True)
def main():
    print("two\nlines")
    print("elsewhere", file=io.StringIO())
    plain()
    plain.submit().result()
    plain.with_options(log_prints=False)()
    later.submit().result()
    inner()
    quiet()


@flow(flow_run_name="main-later", log_prints=True)
async def main_later():
    print("a coroutine")
    await later()


main()
asyncio.run(main_later())
sys.stdout = real
for record in records:
    text = record.getMessage()
    if not text.startswith(("Begin", "View at", "Completed after", "Finished in")):
        print(record.name.rpartition(".")[2], record.levelname, repr(record.getMessage()))
        names = ("flow_name", "flow_run_name", "task_name", "task_run_name")
        print("  ", *(getattr(record, name, None) for name in names))
        ids = (getattr(record, name, None) for name in ("flow_run_id", "task_run_id"))
        print("  ", *(type(each).__name__ for each in ids))

# prints: flow_runs INFO 'two\nlines'
# prints:    main main None None
# prints:    str NoneType
# prints: task_runs INFO 'task-1-2.5!'
# prints:    main main plain of-task
# prints:    str str
# prints: task_runs INFO 'by the logger 1'
# prints:    main main plain of-task
# prints:    str str
# prints: task_runs INFO 'task-1-2.5!'
# prints:    main main plain of-task
# prints:    str str
# prints: task_runs INFO 'by the logger 1'
# prints:    main main plain of-task
# prints:    str str
# prints: task_runs INFO 'by the logger 1'
# prints:    main main plain of-task
# prints:    str str
# prints: task_runs INFO '100% %s'
# prints:    main main later later
# prints:    str str
# prints: flow_runs INFO 'inner'
# prints:    inner inner None None
# prints:    str NoneType
# prints: task_runs INFO 'task-1-2.5!'
# prints:    quiet quiet plain of-task
# prints:    str str
# prints: task_runs INFO 'by the logger 1'
# prints:    quiet quiet plain of-task
# prints:    str str
# prints: flow_runs INFO 'a coroutine'
# prints:    main-later main-later None None
# prints:    str NoneType
# prints: task_runs INFO '100% %s'
# prints:    main-later main-later later later
# prints:    str str
