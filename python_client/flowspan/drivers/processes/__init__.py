"""Runs of tasks whose functions are called in worker processes.

The engine stays in the parent: it decides about states, retries and deadlines, and all reports go
through the parent's session. Only the call of the function is made in a worker, and what the code
there reports (logs, nested runs) comes back over the same pipe as its result, before it.

- `messages`: what goes over the pipe.
- `pickling`, `errors`: how values, functions and exceptions do.
- `context`: the run as the worker's code sees it.
- `worker`: the worker's side.
- `handle`, `relay`: the parent's side of one worker.
- `pool`, `runner`: the workers of an open task runner, and the runner.
"""
