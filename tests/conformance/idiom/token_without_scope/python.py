from flowspan import get_client
from flowspan.exceptions import ApiError

with get_client(sync_client=True) as client:
    try:
        client.set_variable("city", "Paris")
    except ApiError as error:
        print(">", error.status, error.reason, "advice" if error.advice else "no advice")
    print(">", "none" if not list(client.read_variables()) else "some")
