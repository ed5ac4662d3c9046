"""INPUTS alone gives a task without inputs no key; None and NO_CACHE switch caching off."""

from prefect import flow, task
from prefect.cache_policies import DEFAULT, INPUTS, NO_CACHE, TASK_SOURCE

ran = []


def make(**options):
    @task(**options)
    def nothing():
        ran.append(1)
        return len(ran)

    return nothing


@flow
def main(each):
    print([each(return_state=True).name for _ in range(3)], len(ran))
    ran.clear()


main(make(cache_policy=INPUTS))
main(make(cache_policy=INPUTS + TASK_SOURCE))
main(make(cache_policy=DEFAULT))
main(make(cache_policy=None, persist_result=True))
main(make(cache_policy=NO_CACHE, persist_result=True))
main(make(cache_policy=NO_CACHE))
main(make(persist_result=True))
main(make(cache_policy=None, cache_key_fn=lambda _context, _inputs: "fn"))
main(make(cache_policy=NO_CACHE, cache_key_fn=lambda _context, _inputs: "fn2"))
main(make(persist_result=True).with_options(cache_policy=None))
main(make(cache_policy=None, persist_result=True).with_options(cache_policy=DEFAULT))
main(make(cache_policy=None, persist_result=True).with_options(retries=1))

# prints: ['Completed', 'Completed', 'Completed'] 3
# prints: ['Completed', 'Cached', 'Cached'] 1
# prints: ['Completed', 'Cached', 'Cached'] 1
# prints: ['Completed', 'Completed', 'Completed'] 3
# prints: ['Completed', 'Completed', 'Completed'] 3
# prints: ['Completed', 'Completed', 'Completed'] 3
# prints: ['Completed', 'Cached', 'Cached'] 1
# prints: ['Completed', 'Cached', 'Cached'] 1
# prints: ['Completed', 'Cached', 'Cached'] 1
# prints: ['Completed', 'Completed', 'Completed'] 3
# prints: ['Completed', 'Cached', 'Cached'] 1
# prints: ['Completed', 'Completed', 'Completed'] 3
