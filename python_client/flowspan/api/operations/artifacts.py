"""Operations on artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.api import convert, models
from flowspan.api.ids import new_id
from flowspan.api.requests import call, pages
from flowspan.core.values.payloads import encode_value
from flowspan.v1 import artifact_service_pb2 as pb

if TYPE_CHECKING:
    from uuid import UUID

    from flowspan.api.requests import Answer, Items
    from flowspan.v1 import artifact_pb2

_SERVICE = "ArtifactService"


def create_artifact(
    type: str,  # noqa: A002 - the field's name
    data: Any = None,
    *,
    key: str | None = None,
    description: str = "",
    run_id: UUID | str | None = None,
    artifact_id: UUID | str | None = None,
) -> Answer[models.Artifact]:
    """Create an artifact. Inside runs, `flowspan.artifacts` does this without waiting.

    Args:
        type: "link", "markdown", "table", "progress", "image", or a custom name.
        data: The content, a JSON-serializable value.
        key: The key that this is a version of: lower-case letters, digits and dashes.
        description: A description in Markdown.
        run_id: The run that created it.
        artifact_id: The artifact's id, a UUIDv7; generated if None. Creation is idempotent by id.

    Returns:
        The artifact as stored.

    Raises:
        TypeError, ValueError: The data is not JSON-serializable, or is too large.
        ObjectAlreadyExists: The id belongs to an artifact with different content.
        ObjectNotFound: There is no such run.
        ApiError: INVALID_ARGUMENT, a value is invalid.
    """
    request = pb.CreateArtifactRequest()
    if artifact_id == "":
        raise ValueError("artifact_id is empty: leave it out to have one generated")
    chosen_id = new_id() if artifact_id is None else artifact_id
    fill_artifact(request.artifact, chosen_id, type, data, key, description, run_id)
    answer = yield from call(f"{_SERVICE}/CreateArtifact", request, pb.CreateArtifactResponse)
    return convert.artifact(answer.artifact)


def fill_artifact(
    message: artifact_pb2.Artifact,
    artifact_id: UUID | str,
    type: str,  # noqa: A002 - the field's name
    data: Any,
    key: str | None,
    description: str,
    run_id: UUID | str | None,
) -> None:
    """Write an artifact to a message, except its time; see `create_artifact`."""
    message.id, message.type = str(artifact_id), type
    message.key, message.description = key or "", description
    message.run_id = convert.wire_optional(run_id, "run_id")
    message.data.encoding, message.data.data = "json", encode_value(data)


def fill_change(
    message: artifact_pb2.ArtifactChange,
    artifact_id: UUID | str,
    data: Any,
    description: str | None,
) -> None:
    """Write a change to a message, except its time; see `update_artifact`."""
    message.id = str(artifact_id)
    if data is not None:
        message.data.encoding, message.data.data = "json", encode_value(data)
    if description is not None:
        message.description = description


def update_artifact(
    artifact_id: UUID | str, *, data: Any = None, description: str | None = None
) -> Answer[models.Artifact]:
    """Change an artifact.

    Args:
        artifact_id: The artifact.
        data: The new content; unchanged if None.
        description: The new description; unchanged if None.

    Returns:
        The artifact after the change.

    Raises:
        TypeError, ValueError: The data is not JSON-serializable, or is too large.
        ObjectNotFound: There is no such artifact.
    """
    request = pb.UpdateArtifactRequest()
    fill_change(request.change, artifact_id, data, description)
    answer = yield from call(f"{_SERVICE}/UpdateArtifact", request, pb.UpdateArtifactResponse)
    return convert.artifact(answer.artifact)


def read_artifact(artifact_id: UUID | str) -> Answer[models.Artifact]:
    """Return an artifact by its id.

    Raises:
        ObjectNotFound: There is no such artifact.
    """
    request = pb.GetArtifactRequest(id=str(artifact_id))
    answer = yield from call(f"{_SERVICE}/GetArtifact", request, pb.GetArtifactResponse)
    return convert.artifact(answer.artifact)


def read_latest_artifact(key: str) -> Answer[models.Artifact]:
    """Return the latest artifact of a key.

    Raises:
        ObjectNotFound: There is no artifact with the key.
    """
    request = pb.GetArtifactRequest(key=key)
    answer = yield from call(f"{_SERVICE}/GetArtifact", request, pb.GetArtifactResponse)
    return convert.artifact(answer.artifact)


def read_artifacts(
    artifact_filter: models.ArtifactFilter | None = None,
    *,
    oldest_first: bool = False,
    without_data: bool = False,
    limit: int | None = None,
    page_size: int = 0,
) -> Items[models.Artifact]:
    """Iterate over artifacts in order of creation, newest first.

    Args:
        artifact_filter: The artifacts to include; all if None. With a key, its history.
        oldest_first: True to reverse the order.
        without_data: True to omit the content.
        limit: The maximum number of artifacts; None for all.
        page_size: The number fetched at a time, 1 to 1000; 0 for the service's default.

    Raises:
        ApiError: INVALID_ARGUMENT, a value of the filter is invalid.
    """
    request = pb.ListArtifactsRequest(
        filter=_wire_filter(artifact_filter),
        order=convert.wire_order(oldest_first=oldest_first),
        page_size=page_size,
        without_data=without_data,
    )
    yield from pages(
        f"{_SERVICE}/ListArtifacts",
        request,
        pb.ListArtifactsResponse,
        lambda page: map(convert.artifact, page.artifacts),
        limit=limit,
    )


def read_latest_artifacts(
    *,
    key_prefix: str = "",
    without_data: bool = False,
    limit: int | None = None,
    page_size: int = 0,
) -> Items[models.Artifact]:
    """Iterate over the latest artifact of each key, in order of key.

    Args:
        key_prefix: The prefix of the keys to include.
        without_data: True to omit the content.
        limit: The maximum number of artifacts; None for all.
        page_size: The number fetched at a time, 1 to 1000; 0 for the service's default.
    """
    yield from pages(
        f"{_SERVICE}/ListLatestArtifacts",
        pb.ListLatestArtifactsRequest(
            key_prefix=key_prefix, page_size=page_size, without_data=without_data
        ),
        pb.ListLatestArtifactsResponse,
        lambda page: map(convert.artifact, page.artifacts),
        limit=limit,
    )


def delete_artifact(artifact_id: UUID | str) -> Answer[bool]:
    """Delete an artifact.

    Returns:
        True if it existed.
    """
    request = pb.DeleteArtifactRequest(id=str(artifact_id))
    answer = yield from call(f"{_SERVICE}/DeleteArtifact", request, pb.DeleteArtifactResponse)
    return bool(answer.deleted_artifact_count)


def delete_artifacts_of_key(key: str) -> Answer[int]:
    """Delete all artifacts of a key.

    Returns:
        The number of deleted artifacts.
    """
    request = pb.DeleteArtifactRequest(key=key)
    answer = yield from call(f"{_SERVICE}/DeleteArtifact", request, pb.DeleteArtifactResponse)
    return answer.deleted_artifact_count


def _wire_filter(value: models.ArtifactFilter | None) -> pb.ArtifactFilter | None:
    if value is None:
        return None
    return pb.ArtifactFilter(
        key=convert.wire_optional(value.key, "key"),
        types=value.types,
        run_id=convert.wire_optional(value.run_id, "run_id"),
        include_descendants=value.include_descendants,
        id_prefix=convert.wire_optional(value.id_prefix, "id_prefix"),
        id_suffix=convert.wire_optional(value.id_suffix, "id_suffix"),
    )
