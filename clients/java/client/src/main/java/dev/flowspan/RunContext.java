package dev.flowspan;

import dev.flowspan.internal.Uuids;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A run in another process that starts a run here, with the trace that both belong to.
 *
 * @param runId the id of the run, a UUID; empty if only the trace is known
 * @param rootRunId the id of the run at the top of its tree; empty with the run
 * @param traceparent the W3C trace context of its span; empty if unknown
 * @param tracestate the W3C tracestate, without the member of flowspan; empty if there is none
 */
public record RunContext(String runId, String rootRunId, String traceparent, String tracestate) {
  /** The environment variable, and in lower case with a dash the header, that name the run. */
  public static final String VARIABLE = "FLOWSPAN_RUN";

  /** The header that names the run. */
  public static final String HEADER = "flowspan-run";

  /** A UUIDv7: the service refuses reports with other ids. */
  private static final Pattern HEX = Pattern.compile("[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}");

  private static final Pattern TRACEPARENT =
      Pattern.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}");
  private static final String MEMBER = "flowspan=";
  private static final int MAX_TRACESTATE_BYTES = 512;

  /**
   * Parses the text of a run context, {@code r:<run id>;t:<root id>}.
   *
   * @return the context, without a trace; fields with other names are ignored
   * @throws IllegalArgumentException if it is malformed
   */
  public static RunContext parse(String text) {
    String run = "";
    String root = "";
    for (String field : text.strip().split(";", -1)) {
      if (field.startsWith("r:")) {
        run = uuid(field.substring(2), text);
      } else if (field.startsWith("t:")) {
        root = uuid(field.substring(2), text);
      }
    }
    if (run.isEmpty()) {
      throw malformed(text);
    }
    return new RunContext(run, root.isEmpty() ? run : root, "", "");
  }

  /**
   * Reads the run context of an incoming call: the header {@code flowspan-run}, or else the member
   * {@code flowspan} of {@code tracestate}, with the trace context.
   *
   * @param header returns the value of the header with a lower-case name, or null
   * @return the context; empty if the call has neither a run nor a trace. A malformed one is
   *     ignored
   */
  public static Optional<RunContext> fromHeaders(UnaryOperator<String> header) {
    return read(header.apply(HEADER), header.apply("traceparent"), header.apply("tracestate"));
  }

  /**
   * Reads the run context of this process: {@code FLOWSPAN_RUN}, or else {@code TRACESTATE}, with
   * the trace context of {@code TRACEPARENT}.
   *
   * @param environ the environment, as {@link System#getenv()}
   */
  public static Optional<RunContext> fromEnviron(Map<String, String> environ) {
    return read(environ.get(VARIABLE), environ.get("TRACEPARENT"), environ.get("TRACESTATE"));
  }

  private static Optional<RunContext> read(String run, String traceparent, String tracestate) {
    String state = tracestate == null ? "" : tracestate.strip();
    String parent = traceparent == null ? "" : traceparent.strip();
    boolean traced = TRACEPARENT.matcher(parent).matches();
    RunContext context = parseOrNull(run == null ? "" : run);
    if (context == null) { // missing or malformed
      context = parseOrNull(memberOf(state));
    }
    if (context == null && !traced) {
      return Optional.empty();
    }
    return Optional.of(
        new RunContext(
            context == null ? "" : context.runId,
            context == null ? "" : context.rootRunId,
            traced ? parent : "",
            traced ? others(state) : ""));
  }

  private static RunContext parseOrNull(String text) {
    try {
      return text.isEmpty() ? null : parse(text);
    } catch (IllegalArgumentException malformed) {
      return null;
    }
  }

  /**
   * Returns the text of the context, as {@code FLOWSPAN_RUN} and {@code flowspan-run} carry it; may
   * be empty.
   */
  public String text() {
    if (runId.isEmpty()) {
      return "";
    }
    String text = "r:" + runId.replace("-", "");
    return rootRunId.equals(runId) ? text : text + ";t:" + rootRunId.replace("-", "");
  }

  /** Returns the headers for an outgoing call, with lower-case names. */
  public Map<String, String> headers() {
    Map<String, String> headers = new LinkedHashMap<>();
    if (!runId.isEmpty()) {
      headers.put(HEADER, text());
    }
    if (!traceparent.isEmpty()) {
      headers.put("traceparent", traceparent);
      String state = withMember();
      if (!state.isEmpty()) {
        headers.put("tracestate", state);
      }
    }
    return headers;
  }

  /** Returns the environment variables for a child process. */
  public Map<String, String> environ() {
    Map<String, String> environ = new LinkedHashMap<>();
    if (!runId.isEmpty()) {
      environ.put(VARIABLE, text());
    }
    if (!traceparent.isEmpty()) {
      environ.put("TRACEPARENT", traceparent);
      String state = withMember();
      if (!state.isEmpty()) {
        environ.put("TRACESTATE", state);
      }
    }
    return environ;
  }

  private String withMember() {
    if (runId.isEmpty()) {
      return tracestate;
    }
    String member = MEMBER + text();
    boolean fits =
        !tracestate.isEmpty() && member.length() + 1 + tracestate.length() <= MAX_TRACESTATE_BYTES;
    return fits ? member + "," + tracestate : member;
  }

  private static String memberOf(String tracestate) {
    for (String member : tracestate.split(",", -1)) {
      if (member.strip().startsWith(MEMBER)) {
        return member.strip().substring(MEMBER.length());
      }
    }
    return "";
  }

  private static String others(String tracestate) {
    StringBuilder kept = new StringBuilder();
    for (String member : tracestate.split(",", -1)) {
      if (!member.isBlank() && !member.strip().startsWith(MEMBER)) {
        kept.append(kept.isEmpty() ? "" : ",").append(member.strip());
      }
    }
    return kept.toString();
  }

  private static String uuid(String hex, String text) {
    Matcher matcher = HEX.matcher(hex);
    if (!matcher.matches()) {
      throw malformed(text);
    }
    return Uuids.dashed(hex);
  }

  private static IllegalArgumentException malformed(String text) {
    return new IllegalArgumentException(
        "The run context \""
            + text
            + "\" is malformed; expected r:<32 hex digits of a UUIDv7>, optionally"
            + " followed by ;t:<32 hex digits of a UUIDv7>.");
  }
}
