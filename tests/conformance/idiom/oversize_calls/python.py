from flowspan import get_client
from flowspan.exceptions import ApiError

MIB = 1 << 20

with get_client(sync_client=True) as client:
    for size in (MIB, 9 * MIB):
        try:
            client.create_artifact("markdown", "# Sales", description="x" * size)
        except ApiError as error:
            if error.retryable:
                raise
            print(">", *filter(None, (error.status, error.reason)))
    print(">", client.create_artifact("markdown", "# Sales", description="fits").description)
