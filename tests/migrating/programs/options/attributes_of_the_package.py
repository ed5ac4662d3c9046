"""Modules are attributes of the package after a bare import."""

import prefect

print(prefect.client.schemas.objects.State is prefect.State)
print(prefect.client.schemas.StateType.COMPLETED == "COMPLETED")
print(prefect.client.orchestration.get_client is prefect.get_client)
print(prefect.utilities.annotations.unmapped is prefect.unmapped)
print(
    prefect.utilities.asyncutils.run_coro_as_sync.__name__, prefect.utilities.hashing.__name__[-7:]
)
print(prefect.logging.loggers.get_run_logger is prefect.get_run_logger)
print(prefect.runtime.flow_run.id, prefect.schedules.Interval(5).interval)
print(prefect.cache_policies.INPUTS == prefect.cache_policies.INPUTS - "x")
print(prefect.transactions.Transaction is prefect.Transaction, prefect.tasks.task is prefect.task)
print(prefect.locking.__name__[-7:], prefect.testing.__name__[-7:], hasattr(prefect, "nonsense"))

# prints: True
# prints: True
# prints: True
# prints: True
# prints: run_coro_as_sync hashing
# prints: True
# prints: None 0:00:05
# prints: False
# prints: True True
# prints: locking testing False
