package dev.flowspan;

import dev.flowspan.internal.Core;
import dev.flowspan.internal.Pages;
import dev.flowspan.internal.Uuids;
import dev.flowspan.v1.Artifact;
import dev.flowspan.v1.ArtifactFilter;
import dev.flowspan.v1.ArtifactServiceGrpc;
import dev.flowspan.v1.CreateArtifactRequest;
import dev.flowspan.v1.DeleteArtifactRequest;
import dev.flowspan.v1.GetArtifactRequest;
import dev.flowspan.v1.ListArtifactsRequest;
import dev.flowspan.v1.ListArtifactsResponse;

/**
 * The artifacts of the service. Runs create theirs with {@link Run#artifacts()}. All methods throw
 * {@link FlowspanException} if the call fails.
 */
public final class Artifacts {
  private static final int PAGE_SIZE = 200;

  private final Core core;

  Artifacts(Core core) {
    this.core = core;
  }

  /**
   * Creates an artifact. Without an id, it gets one here.
   *
   * @return the artifact as stored
   */
  public Artifact create(Artifact artifact) {
    Artifact named =
        artifact.getId().isEmpty() ? artifact.toBuilder().setId(Uuids.next()).build() : artifact;
    return core.call(
            ArtifactServiceGrpc.getCreateArtifactMethod(),
            CreateArtifactRequest.newBuilder().setArtifact(named).build())
        .getArtifact();
  }

  /**
   * Gets an artifact by its id.
   *
   * @throws FlowspanException with the reason NOT_FOUND if it does not exist
   */
  public Artifact get(String id) {
    return get(GetArtifactRequest.newBuilder().setId(id).build());
  }

  /**
   * Gets the latest artifact of a key.
   *
   * @throws FlowspanException with the reason NOT_FOUND if there is none
   */
  public Artifact latest(String key) {
    return get(GetArtifactRequest.newBuilder().setKey(key).build());
  }

  private Artifact get(GetArtifactRequest request) {
    return core.call(ArtifactServiceGrpc.getGetArtifactMethod(), request).getArtifact();
  }

  /** Lists artifacts, newest first. Pages are read while you iterate. */
  public Iterable<Artifact> list(ArtifactFilter filter) {
    return new Pages<>(
        token -> {
          ListArtifactsResponse page =
              core.call(
                  ArtifactServiceGrpc.getListArtifactsMethod(),
                  ListArtifactsRequest.newBuilder()
                      .setFilter(filter)
                      .setPageSize(PAGE_SIZE)
                      .setPageToken(token)
                      .build());
          return new Pages.Page<>(page.getArtifactsList(), page.getNextPageToken());
        });
  }

  /**
   * Deletes an artifact.
   *
   * @return true if it existed
   */
  public boolean delete(String id) {
    DeleteArtifactRequest request = DeleteArtifactRequest.newBuilder().setId(id).build();
    return core.call(ArtifactServiceGrpc.getDeleteArtifactMethod(), request)
            .getDeletedArtifactCount()
        > 0;
  }
}
