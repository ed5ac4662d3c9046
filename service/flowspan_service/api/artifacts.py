"""Artifacts: ArtifactService, and the checks and conversions of artifacts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowspan.v1 import artifact_pb2
from flowspan.v1 import artifact_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import (
    Checks,
    all_of,
    check_id,
    check_id_part,
    check_new_id,
    check_optional_id,
    check_optional_new_id,
    check_required_text,
    check_required_time,
    check_text,
    check_values,
    invalid,
    shown,
    with_message,
    with_order,
    with_page,
)
from flowspan_service.api.fields.paging import Paging, is_oldest_first, selection_of
from flowspan_service.api.fields.payloads import check_payload, payload_message, payload_of
from flowspan_service.api.fields.values import microseconds, timestamp
from flowspan_service.app.artifacts import (
    CreateArtifact,
    DeleteArtifacts,
    UpdateArtifact,
    get_artifact,
)
from flowspan_service.app.ports.artifacts import ArtifactQuery, LatestArtifactQuery
from flowspan_service.domain.artifacts import ArtifactChange, NewArtifact

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.domain.artifacts import Artifact

# ruff: noqa: N802 - methods are named as in the protos

_is_key = re.compile(r"[a-z0-9-]*").fullmatch


class ArtifactService:
    """The servicer of ArtifactService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def CreateArtifact(
        self, request: pb.CreateArtifactRequest, _: Call
    ) -> pb.CreateArtifactResponse:
        """Create an artifact."""
        new = new_artifact(request.artifact, now_us=self._backend.clock.now_us())
        if not new.id:
            new = new._replace(id=self._backend.new_id())
        created = await self._backend.write(CreateArtifact(new))
        return pb.CreateArtifactResponse(
            artifact=artifact_message(created.artifact), created=created.is_new
        )

    async def UpdateArtifact(
        self, request: pb.UpdateArtifactRequest, _: Call
    ) -> pb.UpdateArtifactResponse:
        """Change an artifact."""
        change = artifact_change(request.change, now_us=self._backend.clock.now_us())
        changed = await self._backend.write(UpdateArtifact(change))
        return pb.UpdateArtifactResponse(artifact=artifact_message(changed))

    async def GetArtifact(self, request: pb.GetArtifactRequest, _: Call) -> pb.GetArtifactResponse:
        """Return one artifact, by id or the latest of a key."""
        found = await self._backend.read(
            get_artifact,
            self._backend.store,
            artifact_id=request.id or None,
            key=request.key or None,
        )
        return pb.GetArtifactResponse(artifact=artifact_message(found))

    async def ListArtifacts(
        self, request: pb.ListArtifactsRequest, _: Call
    ) -> pb.ListArtifactsResponse:
        """Return a page of artifacts."""
        wanted = request.filter
        oldest_first = is_oldest_first(request)
        bound_to = b"artifacts\0%d\0" % oldest_first + selection_of(request)
        paging = Paging(self._backend.page_tokens, request, bound_to)
        page = await self._backend.read(
            self._backend.store.artifacts.list,
            ArtifactQuery(
                key=wanted.key or None,
                types=tuple(wanted.types),
                run_id=wanted.run_id or None,
                include_descendants=wanted.include_descendants,
                id_prefix=wanted.id_prefix or None,
                id_suffix=wanted.id_suffix or None,
                oldest_first=oldest_first,
                after_id=paging.after(),
                limit=paging.limit,
                limit_bytes=limits.PAGE_MESSAGE,
                without_data=request.without_data,
            ),
        )
        return pb.ListArtifactsResponse(
            artifacts=[artifact_message(each) for each in page.items],
            next_page_token=paging.token_after(page, lambda each: each.id),
        )

    async def ListLatestArtifacts(
        self, request: pb.ListLatestArtifactsRequest, _: Call
    ) -> pb.ListLatestArtifactsResponse:
        """Return a page of the latest artifacts of each key."""
        bound_to = b"latest artifacts\0" + request.key_prefix.encode()
        paging = Paging(self._backend.page_tokens, request, bound_to)
        page = await self._backend.read(
            self._backend.store.artifacts.list_latest,
            LatestArtifactQuery(
                key_prefix=request.key_prefix,
                after_key=paging.after(),
                limit=paging.limit,
                limit_bytes=limits.PAGE_MESSAGE,
                without_data=request.without_data,
            ),
        )
        return pb.ListLatestArtifactsResponse(
            artifacts=[artifact_message(each) for each in page.items],
            next_page_token=paging.token_after(page, lambda each: str(each.key)),
        )

    async def DeleteArtifact(
        self, request: pb.DeleteArtifactRequest, _: Call
    ) -> pb.DeleteArtifactResponse:
        """Delete an artifact, or all artifacts of a key."""
        deleted = await self._backend.write(
            DeleteArtifacts(artifact_id=request.id or None, key=request.key or None)
        )
        return pb.DeleteArtifactResponse(deleted_artifact_count=deleted)


def check_artifact(artifact: artifact_pb2.Artifact, field: str, *, is_reported: bool) -> None:
    """Check an artifact to create.

    Args:
        artifact: The message.
        field: The prefix of its fields' names: "artifact.", or empty.
        is_reported: True in a report, where the time of its creation is required.
    """
    (check_new_id if is_reported else check_optional_new_id)(artifact.id, f"{field}id")
    check_key(artifact.key, f"{field}key")
    check_required_text(artifact.type, f"{field}type", limits.SHORT_NAME)
    check_text(artifact.description, f"{field}description", limits.DESCRIPTION)
    check_optional_id(artifact.run_id, f"{field}run_id")
    if artifact.HasField("data"):
        check_payload(artifact.data, f"{field}data", limits.PAYLOAD, is_reported=is_reported)
    if is_reported or artifact.HasField("create_time"):
        check_required_time(artifact, "create_time", f"{field}create_time")


def check_artifact_change(
    change: artifact_pb2.ArtifactChange, field: str, *, is_reported: bool
) -> None:
    """Check a change of an artifact; the arguments are as in `check_artifact`."""
    check_id(change.id, f"{field}id")
    check_text(change.description, f"{field}description", limits.DESCRIPTION)
    if change.HasField("data"):
        check_payload(change.data, f"{field}data", limits.PAYLOAD, is_reported=is_reported)
    if is_reported or change.HasField("change_time"):
        check_required_time(change, "change_time", f"{field}change_time")


def check_key(key: str, field: str) -> None:
    """Check the key of an artifact, a prefix of one, or an empty string."""
    check_text(key, field, limits.NAME)
    if not _is_key(key):
        raise invalid(
            field,
            f"{shown(key)} contains characters other than lower-case letters, digits and dashes",
        )


def _check_id_or_key(request: Any) -> None:
    if request.WhichOneof("which") is None:
        raise invalid("which", "id or key is required")
    if request.HasField("id"):
        check_id(request.id, "id")
        return
    if not request.key:
        raise invalid("key", "is required")
    check_key(request.key, "key")


def _check_created(artifact: artifact_pb2.Artifact, field: str) -> None:
    check_artifact(artifact, f"{field}.", is_reported=False)


def _check_changed(change: artifact_pb2.ArtifactChange, field: str) -> None:
    check_artifact_change(change, f"{field}.", is_reported=False)


def _check_filter(request: pb.ListArtifactsRequest) -> None:
    wanted = request.filter
    check_key(wanted.key, "filter.key")
    check_values(wanted.types, "filter.types")
    check_optional_id(wanted.run_id, "filter.run_id")
    if wanted.include_descendants and not wanted.run_id:
        raise invalid("filter.run_id", "is required to include the runs that it called")
    check_id_part(wanted.id_prefix, "filter.id_prefix", "beginning")
    check_id_part(wanted.id_suffix, "filter.id_suffix", "end")


def _check_key_prefix(request: pb.ListLatestArtifactsRequest) -> None:
    check_key(request.key_prefix, "key_prefix")


_with_page = with_page(limits.PAGE_RUNS)

CHECKS: Checks = {
    pb.CreateArtifactRequest: with_message("artifact", _check_created),
    pb.UpdateArtifactRequest: with_message("change", _check_changed),
    pb.GetArtifactRequest: _check_id_or_key,
    pb.ListArtifactsRequest: all_of(_check_filter, with_order, _with_page),
    pb.ListLatestArtifactsRequest: all_of(_check_key_prefix, _with_page),
    pb.DeleteArtifactRequest: _check_id_or_key,
}


def new_artifact(wire: artifact_pb2.Artifact, *, now_us: int) -> NewArtifact:
    """Return the artifact to create from a message; without a time, it is created now."""
    return NewArtifact(
        id=wire.id,
        key=wire.key or None,
        type=wire.type,
        description=wire.description,
        data=payload_of(wire.data) if wire.HasField("data") else None,
        run_id=wire.run_id or None,
        created_us=microseconds(wire.create_time) if wire.HasField("create_time") else now_us,
    )


def artifact_change(wire: artifact_pb2.ArtifactChange, *, now_us: int) -> ArtifactChange:
    """Return the change of an artifact from a message; without a time, it happens now."""
    return ArtifactChange(
        id=wire.id,
        description=wire.description if wire.HasField("description") else None,
        data=payload_of(wire.data) if wire.HasField("data") else None,
        changed_us=microseconds(wire.change_time) if wire.HasField("change_time") else now_us,
    )


def artifact_message(artifact: Artifact) -> artifact_pb2.Artifact:
    """Return the message of an artifact."""
    return artifact_pb2.Artifact(
        id=artifact.id,
        key=artifact.key or "",
        type=artifact.type,
        description=artifact.description,
        data=payload_message(artifact.data),
        run_id=artifact.run_id or "",
        flow_run_id=artifact.flow_run_id or "",
        create_time=timestamp(artifact.created_us),
        update_time=timestamp(artifact.updated_us),
    )
