"""CPU-bound work in processes: it uses all CPUs, and a deadline can stop any code.

Primes are counted in slices, one task per slice in a worker process. One more task evaluates a
regular expression that would take years on this text. A thread could not be stopped; here the
process is killed at the deadline, and only its own run is TimedOut.

    python examples/process_pool.py
"""

from __future__ import annotations

import re

from flowspan import flow, task
from flowspan.task_runners import ProcessPoolTaskRunner

SLICE = 50_000


@task(task_run_name="primes-from-{start}")
def count_primes(start: int) -> int:
    """Return the number of primes in a slice."""
    return sum(map(is_prime, range(start, start + SLICE)))


def is_prime(number: int) -> bool:
    if number < 2:
        return False
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return True


@task(timeout_seconds=1)
def matches(pattern: str, text: str) -> bool:
    """Return True if the text matches the pattern."""
    return re.fullmatch(pattern, text) is not None


@flow(task_runner=ProcessPoolTaskRunner())
def numbers(slices: int) -> int:
    """Count the primes in the first slices."""
    hopeless = matches.submit(r"(a+)+b", 50 * "a")
    counted = count_primes.map([n * SLICE for n in range(slices)])
    total = sum(counted.result())
    hopeless.wait()
    print(hopeless.state)
    return total


if __name__ == "__main__":
    print(f"{numbers(8)} primes")
