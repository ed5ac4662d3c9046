"""Task runs whose functions are called in worker processes.

The engine stays in the parent: it decides about states, retries and deadlines, and all reports go
through the parent's session. Only the function is called in a worker. Events of that code (logs,
nested runs) come back over the same pipe, before its result.

- `messages`: the protocol of the pipe.
- `pickling`, `errors`: pickling of values, functions and exceptions.
- `context`: the run as the worker's code sees it.
- `worker`: the worker's side of the pipe.
- `handle`, `relay`: the parent's side, for one worker.
- `pool`, `runner`: the workers of an open task runner, and the runner.
"""
