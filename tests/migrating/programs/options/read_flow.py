"""The options of a flow can be read: as they were given, and their defaults."""

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner


def hook(*_):
    pass


def load_day(day: int = 1, *, where: str | None = None):
    """Load a day."""


def show(made, *names):
    print(*(repr(getattr(made, name)) for name in names))


plain = flow(load_day)
show(plain, "name", "description", "retries", "retry_delay_seconds", "timeout_seconds")
show(plain, "flow_run_name", "persist_result", "result_storage", "result_serializer")
show(plain, "cache_result_in_memory", "log_prints", "should_validate_parameters")
show(plain, "isasync", "isgenerator")
show(plain, "on_completion_hooks", "on_failure_hooks", "on_running_hooks")
show(plain, "on_cancellation_hooks", "on_crashed_hooks")
print(type(plain.task_runner).__name__, plain.fn is load_day, bool(plain.version))

full = flow(
    name="full",
    description="Given.",
    version="7",
    retries=3,
    retry_delay_seconds=2,
    result_serializer="json",
    cache_result_in_memory=False,
    timeout_seconds=3,
    log_prints=False,
    on_crashed=[hook],
    validate_parameters=False,
    flow_run_name="day-{day}",
    task_runner=ThreadPoolTaskRunner(max_workers=3),
)(load_day)
show(full, "name", "description", "version", "retries", "retry_delay_seconds", "timeout_seconds")
show(full, "persist_result", "result_serializer", "cache_result_in_memory", "log_prints")
show(full, "should_validate_parameters", "flow_run_name")
print(full.on_crashed_hooks == [hook])
print(flow(version="")(load_day).version == plain.version, flow(name="")(load_day).name)

schema = plain.parameters
print(schema.title, schema.type, schema.required, schema.definitions)
for name, each in sorted(schema.properties.items()):
    print(name, sorted(each.items(), key=str))
print(sorted(schema.model_dump()))


@flow
def typed(a, b: int, *, c: float = 2.5):
    pass


print(typed.parameters.required, sorted(typed.parameters.properties["b"].items()))

# prints: 'load-day' 'Load a day.' 0 0 None
# prints: None None None None
# prints: True None True
# prints: False False
# prints: [] [] []
# prints: [] []
# prints: ThreadPoolTaskRunner True True
# prints: 'full' 'Given.' '7' 3 2 3.0
# prints: True 'json' False False
# prints: False 'day-{day}'
# prints: True
# prints: True load-day
# prints: Parameters object [] {}
# prints: day [('default', 1), ('position', 0), ('title', 'day'), ('type', 'integer')]
# prints: where [('anyOf', [{'type': 'string'}, {'type': 'null'}]), ('default', None), ('position', 1), ('title', 'where')]
# prints: ['definitions', 'properties', 'required', 'title', 'type']
# prints: ['a', 'b'] [('position', 1), ('title', 'b'), ('type', 'integer')]
