from flowspan import flow, get_client


@flow
def etl():
    pass


etl()
with get_client(sync_client=True) as client:
    (run,) = client.read_flow_runs()
    print(">", run.trace.traceparent.split("-")[1], run.trace.parent_span_id)
