import json
import uuid

from flowspan import get_client
from flowspan.client import Payload, RunCreated, RunKind, State, StateEntered, StateType

RESULT = Payload(encoding="json", data=json.dumps({"größe": [1, 2.5, None, True]}).encode())

# The results of decorated functions stay in a storage of the program. This one goes with the run.
created = RunCreated(kind=RunKind.FLOW, function_name="other")
completed = State(type=StateType.COMPLETED, name="Completed", result_reference=RESULT)
events = [
    created,
    StateEntered(run_id=created.run_id, state=StateType.RUNNING),
    StateEntered(run_id=created.run_id, state=completed),
]
with get_client(sync_client=True) as client:
    client.report_batch(uuid.uuid4(), events, goodbye=True)
