package dev.flowspan;

import dev.flowspan.internal.Text;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * The options of a flow or task call. Immutable: each method returns a copy.
 *
 * <pre>{@code
 * RunOptions.create().name("fetch-users").tags("nightly").retries(Retries.of(3))
 * }</pre>
 */
public final class RunOptions {
  private static final RunOptions EMPTY = new RunOptions();

  private String name = "";
  private List<String> tags = List.of();
  private Map<String, ?> parameters = Map.of();
  private String description = "";
  private String version = "";
  private Retries retries = Retries.none();
  private Map<String, String> labels = Map.of();
  private Map<String, List<String>> inputs = Map.of();
  private RunContext parent;

  private RunOptions() {}

  private RunOptions(RunOptions other) {
    name = other.name;
    tags = other.tags;
    parameters = other.parameters;
    description = other.description;
    version = other.version;
    retries = other.retries;
    labels = other.labels;
    inputs = other.inputs;
    parent = other.parent;
  }

  /** Returns the defaults. */
  public static RunOptions create() {
    return EMPTY;
  }

  /**
   * Sets the name of the run. By default, tasks are numbered, and flows get two random words.
   *
   * @throws IllegalArgumentException if it has more than 256 bytes
   */
  public RunOptions name(String name) {
    RunOptions copy = new RunOptions(this);
    copy.name = Text.limited("name of the run", name, Text.MAX_NAME_BYTES);
    return copy;
  }

  /**
   * Sets the tags.
   *
   * @throws IllegalArgumentException if there are more than 64, or one has more than 256 bytes
   */
  public RunOptions tags(String... tags) {
    if (tags.length > 64) {
      throw new IllegalArgumentException("A run has at most 64 tags, not " + tags.length + ".");
    }
    List<String> checked = new ArrayList<>();
    for (String tag : tags) {
      checked.add(Text.limited("tag", tag, Text.MAX_NAME_BYTES));
    }
    RunOptions copy = new RunOptions(this);
    copy.tags = List.copyOf(checked);
    return copy;
  }

  /** Sets the parameters, which are stored as a JSON object. Values may be null. */
  public RunOptions parameters(Map<String, ?> parameters) {
    RunOptions copy = new RunOptions(this);
    copy.parameters = Collections.unmodifiableMap(new LinkedHashMap<>(parameters));
    return copy;
  }

  /**
   * Sets the description of the flow or task: what it does, for people. The middle of a text of
   * more than 4 KiB is left out.
   */
  public RunOptions description(String description) {
    RunOptions copy = new RunOptions(this);
    copy.description = Text.shortened(description, Text.MAX_DESCRIPTION_BYTES);
    return copy;
  }

  /**
   * Sets the version of the code.
   *
   * @throws IllegalArgumentException if it has more than 256 bytes
   */
  public RunOptions version(String version) {
    RunOptions copy = new RunOptions(this);
    copy.version = Text.limited("version", version, Text.MAX_NAME_BYTES);
    return copy;
  }

  /** Sets the retry policy. */
  public RunOptions retries(Retries retries) {
    RunOptions copy = new RunOptions(this);
    copy.retries = Objects.requireNonNull(retries, "retries");
    return copy;
  }

  /** Adds a label. */
  public RunOptions label(String key, String value) {
    RunOptions copy = new RunOptions(this);
    Map<String, String> all = new LinkedHashMap<>(labels);
    all.put(Text.clean(key), Text.clean(value));
    copy.labels = Collections.unmodifiableMap(all);
    return copy;
  }

  /**
   * Names a run whose result this run takes.
   *
   * @param parameter the parameter that takes the result
   * @param runId the id of the other run
   */
  public RunOptions input(String parameter, String runId) {
    RunOptions copy = new RunOptions(this);
    Map<String, List<String>> all = new LinkedHashMap<>(inputs);
    List<String> ids =
        new ArrayList<>(
            all.getOrDefault(Text.limited("parameter", parameter, Text.MAX_NAME_BYTES), List.of()));
    ids.add(Objects.requireNonNull(runId, "runId"));
    all.put(Text.clean(parameter), List.copyOf(ids));
    copy.inputs = Collections.unmodifiableMap(all);
    return copy;
  }

  /**
   * Sets the run in another process that starts this one. Only used for runs that are called on the
   * client, and by default read from the environment.
   */
  public RunOptions parent(RunContext parent) {
    RunOptions copy = new RunOptions(this);
    copy.parent = Objects.requireNonNull(parent, "parent");
    return copy;
  }

  /** Returns the name of the run; empty for the default. */
  public String name() {
    return name;
  }

  /** Returns the tags. */
  public List<String> tags() {
    return tags;
  }

  /** Returns the parameters. */
  public Map<String, ?> parameters() {
    return parameters;
  }

  /** Returns the description. */
  public String description() {
    return description;
  }

  /** Returns the version of the code. */
  public String version() {
    return version;
  }

  /** Returns the retry policy. */
  public Retries retries() {
    return retries;
  }

  /** Returns the labels. */
  public Map<String, String> labels() {
    return labels;
  }

  /** Returns the ids of the runs whose results this run takes, by parameter. */
  public Map<String, List<String>> inputs() {
    return inputs;
  }

  /** Returns the run in another process that starts this one, or null. */
  public RunContext parent() {
    return parent;
  }
}
