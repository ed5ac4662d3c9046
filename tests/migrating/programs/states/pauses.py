"""States that wait: until when, under which key, and the names of their constructors."""

import datetime

from prefect.states import AwaitingRetry, Completed, Late, Paused, Scheduled, Suspended

for make in (Completed, Paused, Suspended, Scheduled, Late):
    print(make.__name__, make().name)

noon = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.timezone.utc)


def show(state):
    details = state.state_details
    print(state.name, state.type.value, state.message or "-", details.pause_key)
    print(
        "  ", details.pause_timeout == noon, details.pause_timeout is None, details.pause_reschedule
    )


show(Paused())
show(Paused(pause_expiration_time=noon, pause_key="approval", message="waits"))
show(Paused(timeout_seconds=60, reschedule=True, name="Held"))
show(Suspended())
show(Suspended(pause_expiration_time=noon, pause_key="k"))
try:
    Paused(timeout_seconds=1, pause_expiration_time=noon)
except ValueError:
    print("not both")
in_a_minute = Paused(timeout_seconds=60).state_details.pause_timeout
now = datetime.datetime.now(datetime.timezone.utc)
print(datetime.timedelta(seconds=30) < in_a_minute - now < datetime.timedelta(seconds=61))
for make in (Scheduled, Late, AwaitingRetry):
    print(make(scheduled_time=noon).state_details.scheduled_time == noon)
    print(make().state_details.scheduled_time <= datetime.datetime.now(datetime.timezone.utc))
print(Completed().state_details.scheduled_time, Completed().state_details.pause_key)

# prints: Completed Completed
# prints: Paused Paused
# prints: Suspended Suspended
# prints: Scheduled Scheduled
# prints: Late Late
# prints: Paused PAUSED - None
# prints:    False True False
# prints: Paused PAUSED waits approval
# prints:    True False False
# prints: Held PAUSED - None
# prints:    False False True
# prints: Suspended PAUSED - None
# prints:    False True True
# prints: Suspended PAUSED - k
# prints:    True False True
# prints: not both
# prints: True
# prints: True
# prints: True
# prints: True
# prints: True
# prints: True
# prints: True
# prints: None None
