"""Task runs whose functions are called in worker processes.

The engine stays in the parent: it decides about states, retries and deadlines, and all reports go
through the parent's session. Only the function is called in a worker. Events of that code (logs,
nested runs) come back over the same pipe, before its result.

- `channel`: the protocol of the pipe.
- `pickling`, `exceptions`: pickling of values, functions and exceptions.
- `run_snapshot`: the run as the worker's code sees it.
- `worker`, `worker_outbox`: the worker's side of the pipe.
- `worker_process`, `event_relay`: the parent's side, for one worker.
- `pool`, `task_runner`: the workers of an open task runner, and the runner.
"""
