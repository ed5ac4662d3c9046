import uuid

from flowspan import get_client
from flowspan.client import Payload, RunCreated, RunKind, StateEntered, StateType

RESULT = {"größe": [1, 2.5, None, True]}

# The results of decorated functions stay in a storage of the program. This one goes with the run.
created = RunCreated(kind=RunKind.FLOW, function_name="other")
events = [
    created,
    StateEntered(run_id=created.run_id, state=StateType.RUNNING),
    StateEntered(run_id=created.run_id, state=StateType.COMPLETED, result=Payload.of_json(RESULT)),
]
with get_client(sync_client=True) as client:
    client.report_batch(uuid.uuid4(), events, goodbye=True)
