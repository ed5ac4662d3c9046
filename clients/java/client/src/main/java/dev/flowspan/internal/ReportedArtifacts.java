package dev.flowspan.internal;

import dev.flowspan.RunArtifacts;
import dev.flowspan.v1.Artifact;
import dev.flowspan.v1.ArtifactChange;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.Payload;
import java.util.Collection;
import java.util.Map;
import java.util.regex.Pattern;

/** Artifacts that are reported with the events of the session. */
final class ReportedArtifacts implements RunArtifacts {
  private static final Pattern KEY = Pattern.compile("[a-z0-9-]*");
  private static final int MAX_DATA_BYTES = 1 << 20;
  private static final int MAX_DESCRIPTION_BYTES = 32 << 10;

  private final Core core;
  private final String runId;

  ReportedArtifacts(Core core, String runId) {
    this.core = core;
    this.runId = runId;
  }

  @Override
  public String markdown(String key, String text) {
    return create(key, "markdown", text, "");
  }

  @Override
  public String table(String key, Collection<? extends Map<String, ?>> rows) {
    return create(key, "table", rows, "");
  }

  @Override
  public String link(String key, String url, String text) {
    String shown = text.isEmpty() ? url : text.replace("[", "\\[").replace("]", "\\]");
    return create(key, "link", "[" + shown + "](" + url + ")", "");
  }

  @Override
  public Progress progress(String key) {
    return new ReportedProgress(create(key, "progress", 0.0, ""));
  }

  @Override
  public String create(String key, String type, Object data, String description) {
    if (!KEY.matcher(key).matches()) {
      throw new IllegalArgumentException(
          "The key \""
              + Text.shortened(key, 100)
              + "\" is invalid: use lower-case letters, digits"
              + " and dashes.");
    }
    Artifact artifact =
        Artifact.newBuilder()
            .setId(Uuids.next())
            .setKey(Text.limited("key", key, Text.MAX_NAME_BYTES))
            .setType(Text.limited("type", type, 64))
            .setDescription(Text.limited("description", description, MAX_DESCRIPTION_BYTES))
            .setData(encode(data))
            .setRunId(runId)
            .setCreateTime(ProcessClock.timestamp(ProcessClock.now()))
            .build();
    core.reporter.create(Event.newBuilder().setArtifactCreated(artifact).build());
    return artifact.getId();
  }

  private Payload encode(Object data) {
    Payload payload;
    try {
      payload = Payloads.of(core.options.json(), data);
    } catch (RuntimeException | StackOverflowError error) {
      throw new IllegalArgumentException("The data of the artifact is no JSON: " + error, error);
    }
    if (payload.getData().size() > MAX_DATA_BYTES) {
      throw new IllegalArgumentException(
          "The data of the artifact has "
              + payload.getData().size()
              + " bytes; the limit is 1 MiB.");
    }
    return payload;
  }

  /** A progress bar; each change is an event. */
  private final class ReportedProgress implements Progress {
    private final String id;

    ReportedProgress(String id) {
      this.id = id;
    }

    @Override
    public String id() {
      return id;
    }

    @Override
    public void set(double percent) {
      if (Double.isNaN(percent)) {
        throw new IllegalArgumentException("The progress is not a number.");
      }
      ArtifactChange change =
          ArtifactChange.newBuilder()
              .setId(id)
              .setData(encode(Math.max(0, Math.min(100, percent))))
              .setChangeTime(ProcessClock.timestamp(ProcessClock.now()))
              .build();
      core.reporter.create(Event.newBuilder().setArtifactChanged(change).build());
    }
  }
}
