import json

from flowspan import get_client

with get_client(sync_client=True) as client:
    run = client.read_flow_run(input())
    print(">", json.dumps(run.state.result(), ensure_ascii=False))
