from flowspan import get_client
from flowspan.exceptions import ApiError

run_id = input()
with get_client(sync_client=True) as client:
    try:
        client.create_flow_run("planned", flow_run_id=run_id)
    except ApiError as error:
        print(">", error.reason)
    run = client.read_flow_run(run_id)
    print(">", run.flow_name, run.state.type.value)
