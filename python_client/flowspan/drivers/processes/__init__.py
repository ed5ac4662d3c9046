"""Task runs whose functions are called in worker processes.

The engine stays in the parent: it decides about states, retries and deadlines, and all reports go
through the parent's session. Only the function is called in a worker. Events of that code (logs,
nested runs) come back over the same pipe, before its result.

- `task_runner`, `pool`: the running task runner and its workers.
- `worker_handle`, `event_relay`: the parent's side, for one worker.
- `worker`, `event_sender`: the worker's side.
- `pipe_messages`: the protocol of the pipe between them.
- `pickling`, `exception_pickling`: pickling of values, functions and exceptions.
- `run_snapshot`: the run as the worker's code sees it.
- `carried_run`: the current run, taken along into processes that the program starts.
"""
