from flowspan import get_client
from flowspan.exceptions import ApiError

PLANNED = {"name": "monday's", "parameters": {"day": "monday"}, "tags": ["later"]}

with get_client(sync_client=True) as client:
    run = client.create_flow_run("planned", **PLANNED)
    print("> created")
    again = client.create_flow_run("planned", **PLANNED, flow_run_id=run.id)
    print("> the same" if again.id == run.id else again)
    try:
        client.create_flow_run("other", **PLANNED, flow_run_id=run.id)
    except ApiError as error:
        print(">", error.reason)
    client.cancel_flow_run(run.id)
    print(">", client.read_flow_run(run.id).state.type.value)
