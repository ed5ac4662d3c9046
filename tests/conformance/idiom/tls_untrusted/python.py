from flowspan import get_client
from flowspan.exceptions import ApiError, ServiceUnavailableError

try:
    with get_client(sync_client=True) as client:
        client.count_flow_runs()
except ServiceUnavailableError as error:
    # Its message says what to do.
    print("> UNAVAILABLE", "advice" if "FLOWSPAN_" in str(error) else "no advice")
    print(error)
except ApiError as error:
    print(">", error.status, "advice" if error.advice else "no advice")
    print(error, error.advice)
