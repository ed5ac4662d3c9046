"""Tags: of the flow, of the task, and of everything in a with block."""

from collections import Counter

from prefect import flow, runtime, tags, task
from prefect.context import FlowRunContext, TaskRunContext, get_run_context

COUNTS: Counter = Counter()


def all_tags() -> list[str]:
    return sorted(runtime.task_run.tags if TaskRunContext.get() else runtime.flow_run.tags)


@task(tags=["database", "slow"])
def query(sql: str) -> list[str]:
    COUNTS.update(all_tags())
    return all_tags()


@task
def untagged() -> list[str]:
    return all_tags()


@flow
def child() -> tuple[list[str], list[str]]:
    return all_tags(), untagged()


@flow
def tagged():
    print("flow:", all_tags())
    print("query:", query("select 1"))
    with tags("nightly"):
        print("query in a block:", query("select 2"))
        with tags("eu", "nightly") as current:
            print("current:", sorted(current))
            print("submitted:", untagged.submit().result())
        print("child:", *child())
    print("after:", untagged())
    context = get_run_context()
    print(isinstance(context, FlowRunContext), FlowRunContext.get() is context)
    print(TaskRunContext.get(), context.flow.name, context.flow_run.name == runtime.flow_run.name)


with tags("team-a"):
    tagged()
print("outside:", untagged())
print(sorted(query.tags), query.with_options(tags=["new"]).tags == {"new"}, untagged.tags)
print(sorted(COUNTS.items()))


def has_context() -> bool:
    try:
        get_run_context()
    except Exception as error:
        print(type(error).__name__)
        return False
    return True


print(has_context(), FlowRunContext.get())

# prints: flow: ['team-a']
# prints: query: ['database', 'slow', 'team-a']
# prints: query in a block: ['database', 'nightly', 'slow', 'team-a']
# prints: current: ['eu', 'nightly', 'team-a']
# prints: submitted: ['eu', 'nightly', 'team-a']
# prints: child: ['nightly', 'team-a'] ['nightly', 'team-a']
# prints: after: ['team-a']
# prefect prints: True True
# flowspan prints: True False
# prints: None tagged True
# prints: outside: []
# prints: ['database', 'slow'] True set()
# prints: [('database', 2), ('nightly', 1), ('slow', 2), ('team-a', 2)]
# prefect prints: MissingContextError
# flowspan prints: NoRunError
# prints: False None
# because: contexts are equal and not identical, and MissingContextError is another name of NoRunError
