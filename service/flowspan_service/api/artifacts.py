"""ArtifactService: what runs show to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import artifact_service_pb2 as artifacts
from flowspan.v1 import artifact_service_pb2_grpc
from flowspan_service.api import limits
from flowspan_service.api.translate import artifact_change, artifact_message, new_artifact
from flowspan_service.app.artifacts import (
    CreateArtifact,
    DeleteArtifacts,
    UpdateArtifact,
    get_artifact,
)
from flowspan_service.app.queries import ArtifactQuery, LatestArtifactQuery

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.edge import CallContext

# ruff: noqa: N802 - methods are named as in the protos

_OLDEST_FIRST = 2


class ArtifactService(artifact_service_pb2_grpc.ArtifactServiceServicer):
    """See artifact_service.proto."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def CreateArtifact(
        self, request: artifacts.CreateArtifactRequest, context: CallContext
    ) -> artifacts.CreateArtifactResponse:
        """Makes an artifact."""
        del context
        new = new_artifact(request.artifact, now_us=self._backend.clock.now_us())
        created = await self._backend.write(CreateArtifact(new))
        return artifacts.CreateArtifactResponse(
            artifact=artifact_message(created.artifact), created=created.is_new
        )

    async def UpdateArtifact(
        self, request: artifacts.UpdateArtifactRequest, context: CallContext
    ) -> artifacts.UpdateArtifactResponse:
        """Changes an artifact."""
        del context
        change = artifact_change(request.change, now_us=self._backend.clock.now_us())
        changed = await self._backend.write(UpdateArtifact(change))
        return artifacts.UpdateArtifactResponse(artifact=artifact_message(changed))

    async def GetArtifact(
        self, request: artifacts.GetArtifactRequest, context: CallContext
    ) -> artifacts.GetArtifactResponse:
        """One artifact."""
        del context
        found = await self._backend.read(
            get_artifact,
            self._backend.store,
            artifact_id=request.id or None,
            key=request.key or None,
        )
        return artifacts.GetArtifactResponse(artifact=artifact_message(found))

    async def ListArtifacts(
        self, request: artifacts.ListArtifactsRequest, context: CallContext
    ) -> artifacts.ListArtifactsResponse:
        """A page of artifacts."""
        del context
        wanted = request.filter
        oldest_first = request.order == _OLDEST_FIRST
        query = b"artifacts\0%d\0" % oldest_first + wanted.SerializeToString(deterministic=True)
        after_id = None
        if request.page_token:
            after_id = self._backend.tokens.unseal(request.page_token, query=query)
        page = await self._backend.read(
            self._backend.store.list_artifacts,
            ArtifactQuery(
                key=wanted.key or None,
                types=tuple(wanted.types),
                run_id=wanted.run_id or None,
                include_descendants=wanted.include_descendants,
                id_prefix=wanted.id_prefix or None,
                id_suffix=wanted.id_suffix or None,
                oldest_first=oldest_first,
                after_id=after_id,
                limit=request.page_size or limits.PAGE_RUNS_DEFAULT,
                limit_bytes=limits.PAGE_MESSAGE,
                without_data=request.without_data,
            ),
        )
        return artifacts.ListArtifactsResponse(
            artifacts=[artifact_message(each) for each in page.items],
            next_page_token=(
                self._backend.tokens.seal(page.items[-1].id, query=query) if page.has_more else ""
            ),
        )

    async def ListLatestArtifacts(
        self, request: artifacts.ListLatestArtifactsRequest, context: CallContext
    ) -> artifacts.ListLatestArtifactsResponse:
        """A page of the latest artifacts of each key."""
        del context
        query = b"latest artifacts\0" + request.key_prefix.encode()
        after_key = None
        if request.page_token:
            after_key = self._backend.tokens.unseal(request.page_token, query=query)
        page = await self._backend.read(
            self._backend.store.latest_artifacts,
            LatestArtifactQuery(
                key_prefix=request.key_prefix,
                after_key=after_key,
                limit=request.page_size or limits.PAGE_RUNS_DEFAULT,
                limit_bytes=limits.PAGE_MESSAGE,
                without_data=request.without_data,
            ),
        )
        return artifacts.ListLatestArtifactsResponse(
            artifacts=[artifact_message(each) for each in page.items],
            next_page_token=(
                self._backend.tokens.seal(str(page.items[-1].key), query=query)
                if page.has_more
                else ""
            ),
        )

    async def DeleteArtifact(
        self, request: artifacts.DeleteArtifactRequest, context: CallContext
    ) -> artifacts.DeleteArtifactResponse:
        """Deletes an artifact, or all of a key."""
        del context
        deleted = await self._backend.write(
            DeleteArtifacts(artifact_id=request.id or None, key=request.key or None)
        )
        return artifacts.DeleteArtifactResponse(deleted_artifact_count=deleted)
