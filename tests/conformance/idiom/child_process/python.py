import os
import subprocess
import sys

from flowspan import flow, get_client, task
from flowspan.context import run_environ


@task
def step():
    pass


@flow
def child():
    step()


@flow
def parent():
    command = [sys.executable, __file__, "child"]
    subprocess.run(command, env={**os.environ, **run_environ()}, check=True)


if sys.argv[1:] == ["child"]:
    child()
else:
    parent()
    with get_client(sync_client=True) as client:
        traces = {run.trace.traceparent.split("-")[1] for run in client.read_flow_runs()}
    print("> one trace" if len(traces) == 1 else traces)
