package dev.flowspan.internal;

import dev.flowspan.RunContext;
import dev.flowspan.v1.StateType;
import dev.flowspan.v1.TraceContext;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.common.AttributesBuilder;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanBuilder;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.opentelemetry.context.propagation.TextMapSetter;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** Spans of runs by an OpenTelemetry SDK, named and attributed as those of the Python client. */
final class OtelTracing implements Tracing {
  private static final AttributeKey<String> RUN_ID = AttributeKey.stringKey("flowspan.run.id");
  private static final AttributeKey<String> RUN_NAME = AttributeKey.stringKey("flowspan.run.name");
  private static final AttributeKey<String> KIND = AttributeKey.stringKey("flowspan.run.kind");
  private static final AttributeKey<List<String>> TAGS =
      AttributeKey.stringArrayKey("flowspan.tags");
  private static final AttributeKey<String> TYPE = AttributeKey.stringKey("flowspan.state.type");
  private static final AttributeKey<String> STATE = AttributeKey.stringKey("flowspan.state.name");
  private static final AttributeKey<Long> ATTEMPTS = AttributeKey.longKey("flowspan.attempts");
  private static final AttributeKey<Long> ATTEMPT = AttributeKey.longKey("flowspan.attempt");
  private static final AttributeKey<Boolean> CANCELLED =
      AttributeKey.booleanKey("flowspan.cancelled");
  private static final AttributeKey<String> ERROR_TYPE = AttributeKey.stringKey("error.type");
  private static final AttributeKey<String> FLOW_NAME =
      AttributeKey.stringKey("flowspan.flow.name");
  private static final AttributeKey<String> FLOW_RUN_ID =
      AttributeKey.stringKey("flowspan.flow_run.id");
  private static final AttributeKey<String> ROOT_RUN_ID =
      AttributeKey.stringKey("flowspan.root_run.id");
  private static final AttributeKey<Double> QUEUED = AttributeKey.doubleKey("flowspan.queued_s");
  private static final AttributeKey<Double> RAN = AttributeKey.doubleKey("flowspan.run_s");
  private static final AttributeKey<Double> WAITED = AttributeKey.doubleKey("flowspan.waited_s");
  private static final AttributeKey<String> WAIT_REASON =
      AttributeKey.stringKey("flowspan.wait.reason");
  private static final AttributeKey<Long> THREAD_ID = AttributeKey.longKey("thread.id");
  private static final AttributeKey<String> THREAD_NAME = AttributeKey.stringKey("thread.name");
  private static final AttributeKey<String> CODE_FUNCTION =
      AttributeKey.stringKey("code.function.name");
  private static final AttributeKey<String> CODE_FILE = AttributeKey.stringKey("code.file.path");
  private static final AttributeKey<Long> CODE_LINE = AttributeKey.longKey("code.line.number");
  private static final AttributeKey<Double> DELAY = AttributeKey.doubleKey("flowspan.delay_s");
  private static final AttributeKey<String> INPUT = AttributeKey.stringKey("flowspan.input.name");
  private static final AttributeKey<Long> INPUT_COUNT =
      AttributeKey.longKey("flowspan.input.count");

  /** More inputs of one parameter are one link, with their number. */
  private static final int MAX_LINKS = 10;

  /** A wait that is worth an event, and one that is worth a span. */
  private static final long NOTICEABLE_WAIT_NANOS = 1_000_000;

  private static final long VISIBLE_WAIT_NANOS = 10_000_000;

  private static final TextMapGetter<Map<String, String>> GETTER = new MapGetter();
  private static final TextMapSetter<Map<String, String>> SETTER = Map::put;

  private final Tracer tracer;

  private OtelTracing(Tracer tracer) {
    this.tracer = tracer;
  }

  /** Returns the tracing of an instance, or of the global one if it is set; otherwise null. */
  static Tracing find(Object openTelemetry) {
    OpenTelemetry instance = null;
    if (openTelemetry != null) {
      instance = (OpenTelemetry) openTelemetry;
    } else if (GlobalOpenTelemetry.isSet()) {
      instance = GlobalOpenTelemetry.get();
    }
    return instance == null
        ? null
        : new OtelTracing(instance.getTracer("flowspan", Session.VERSION));
  }

  @Override
  public RunSpan start(RunScope scope, RunSpan parent, RunContext remote) {
    Context context = Context.current();
    if (parent instanceof OtelSpan span && !span.isCurrent()) {
      context = context.with(span.innermost()); // called on a thread that the run did not wrap
    } else if (parent == null && !Span.fromContext(context).getSpanContext().isValid()) {
      context = remoteContext(context, remote);
    }
    SpanBuilder builder =
        tracer
            .spanBuilder(scope.function)
            .setParent(context)
            .setStartTimestamp(ProcessClock.nanosOf(scope.created), TimeUnit.NANOSECONDS)
            .setAttribute(RUN_ID, scope.id())
            .setAttribute(RUN_NAME, scope.name())
            .setAttribute(KIND, scope.isFlow() ? "flow" : "task")
            .setAttribute(ROOT_RUN_ID, scope.rootRunId);
    if (!scope.flowRunId.isEmpty()) {
      builder.setAttribute(FLOW_RUN_ID, scope.flowRunId);
    }
    if (!scope.flowName.isEmpty()) {
      builder.setAttribute(FLOW_NAME, scope.flowName);
    }
    if (scope.caller != null) {
      builder
          .setAttribute(CODE_FUNCTION, scope.caller.getFunction())
          .setAttribute(CODE_FILE, scope.caller.getFilePath())
          .setAttribute(CODE_LINE, (long) scope.caller.getLine());
    }
    if (!scope.options.tags().isEmpty()) {
      builder.setAttribute(TAGS, scope.options.tags());
    }
    scope.options.inputs().forEach((parameter, ids) -> link(builder, parameter, ids));
    String parentSpanId = Span.fromContext(context).getSpanContext().getSpanId();
    boolean hasParent = Span.fromContext(context).getSpanContext().isValid();
    return new OtelSpan(tracer, builder.startSpan(), context, scope, hasParent ? parentSpanId : "");
  }

  /** Links to inputs that are still open in this process; others have a span that is unknown. */
  private static void link(SpanBuilder builder, String parameter, List<String> runIds) {
    Map<String, OtelSpan> known = new LinkedHashMap<>();
    for (String runId : runIds) {
      RunScope input = OpenRuns.find(runId);
      if (input != null && input.span instanceof OtelSpan span) {
        known.put(runId, span);
      }
    }
    boolean isOne = known.size() > MAX_LINKS;
    for (Map.Entry<String, OtelSpan> each : known.entrySet()) {
      AttributesBuilder said =
          Attributes.builder().put(INPUT, parameter).put(RUN_ID, each.getKey());
      if (isOne) {
        said.put(INPUT_COUNT, (long) known.size());
      }
      builder.addLink(each.getValue().span.getSpanContext(), said.build());
      if (isOne) {
        return;
      }
    }
  }

  private static Context remoteContext(Context context, RunContext remote) {
    if (remote == null || remote.traceparent().isEmpty()) {
      return context;
    }
    Map<String, String> carrier = new HashMap<>();
    carrier.put("traceparent", remote.traceparent());
    carrier.put("tracestate", remote.tracestate());
    return W3CTraceContextPropagator.getInstance().extract(context, carrier, GETTER);
  }

  /** Reads a map as headers. */
  private static final class MapGetter implements TextMapGetter<Map<String, String>> {
    @Override
    public Iterable<String> keys(Map<String, String> carrier) {
      return carrier.keySet();
    }

    @Override
    public String get(Map<String, String> carrier, String key) {
      return carrier == null ? null : carrier.get(key);
    }
  }

  /** The span of a run, with child spans for its attempts once there is more than one. */
  private static final class OtelSpan implements RunSpan {
    private final Tracer tracer;
    private final Span span;
    private final Context context;
    private final String function;
    private final String parentSpanId;
    private final long createdNanos;
    private volatile Span attempt;
    private volatile long attemptStartNanos;
    private volatile long attempts;
    private volatile Thread thread;

    /** The begin of the wait before the next attempt; 0 while the code runs. */
    private volatile long idleNanos;

    /** The time of the attempts that have ended. */
    private final AtomicLong ranNanos = new AtomicLong();

    OtelSpan(Tracer tracer, Span span, Context parent, RunScope scope, String parentSpanId) {
      this.tracer = tracer;
      this.span = span;
      this.parentSpanId = parentSpanId;
      function = scope.function;
      createdNanos = ProcessClock.nanosOf(scope.created);
      idleNanos = createdNanos;
      context = parent.with(span);
    }

    Span innermost() {
      Span current = attempt;
      return current == null ? span : current;
    }

    boolean isCurrent() {
      SpanContext current = Span.current().getSpanContext();
      return current.isValid() && current.getTraceId().equals(span.getSpanContext().getTraceId());
    }

    @Override
    public TraceContext context() {
      Map<String, String> carrier = new HashMap<>();
      W3CTraceContextPropagator.getInstance().inject(context, carrier, SETTER);
      return TraceContext.newBuilder()
          .setTraceparent(carrier.getOrDefault("traceparent", ""))
          .setTracestate(carrier.getOrDefault("tracestate", ""))
          .setParentSpanId(parentSpanId)
          .build();
    }

    @Override
    public void attempt(int number) {
      long now = nowNanos();
      long waited = now - createdNanos;
      endWait(now);
      attempts = number;
      attemptStartNanos = now;
      thread = Thread.currentThread();
      if (number > 1) {
        span.addEvent("flowspan.retrying", now, TimeUnit.NANOSECONDS);
        attempt = startAttempt(number, now);
      } else if (waited >= NOTICEABLE_WAIT_NANOS) {
        span.addEvent(
            "flowspan.running", Attributes.of(WAITED, waited / 1e9), now, TimeUnit.NANOSECONDS);
      }
    }

    /** Ends the wait before the first attempt, or before a retry; a long one is a span. */
    private void endWait(long untilNanos) {
      long begin = idleNanos;
      idleNanos = 0;
      if (begin == 0 || untilNanos - begin < VISIBLE_WAIT_NANOS) {
        return;
      }
      SpanBuilder builder =
          tracer
              .spanBuilder("waiting")
              .setParent(context)
              .setStartTimestamp(begin, TimeUnit.NANOSECONDS);
      if (attempts > 0) {
        builder.setAttribute(WAIT_REASON, "retry");
      }
      builder.startSpan().end(untilNanos, TimeUnit.NANOSECONDS);
    }

    private Span startAttempt(int number, long startNanos) {
      return tracer
          .spanBuilder(function + " attempt")
          .setParent(context)
          .setStartTimestamp(startNanos, TimeUnit.NANOSECONDS)
          .setAttribute(ATTEMPT, (long) number)
          .startSpan();
    }

    @Override
    public void attemptFailed(Throwable error, Duration delay) {
      Span failed = attempt == null ? startAttempt(1, attemptStartNanos) : attempt;
      record(failed, error);
      long now = nowNanos();
      failed.end(now, TimeUnit.NANOSECONDS);
      attempt = null;
      ranNanos.addAndGet(now - attemptStartNanos);
      idleNanos = now;
      span.addEvent(
          "flowspan.awaiting_retry",
          Attributes.of(DELAY, delay.toNanos() / 1e9),
          now,
          TimeUnit.NANOSECONDS);
    }

    @Override
    @SuppressWarnings("MustBeClosedChecker") // the entry of the run closes it
    public AutoCloseable enter() {
      return context.with(innermost()).makeCurrent();
    }

    @Override
    public String traceId() {
      return span.getSpanContext().getTraceId();
    }

    @Override
    public String spanId() {
      // A library's span inside the run is more exact than the run's own.
      return isCurrent()
          ? Span.current().getSpanContext().getSpanId()
          : innermost().getSpanContext().getSpanId();
    }

    @Override
    public void end(StateType type, String stateName, String message, Throwable error) {
      long now = nowNanos();
      if (idleNanos == 0) {
        ranNanos.addAndGet(now - attemptStartNanos);
      } else {
        endWait(now);
      }
      long ran = ranNanos.get();
      span.setAttribute(RAN, ran / 1e9);
      span.setAttribute(QUEUED, (now - createdNanos - ran) / 1e9);
      Thread last = thread;
      if (last != null) {
        span.setAttribute(THREAD_ID, last.getId());
        span.setAttribute(THREAD_NAME, last.getName());
      }
      span.setAttribute(TYPE, type.name().replace("STATE_TYPE_", ""));
      span.setAttribute(STATE, stateName);
      span.setAttribute(ATTEMPTS, attempts);
      Span inner = attempt;
      if (type == StateType.STATE_TYPE_CANCELLED) {
        span.setAttribute(CANCELLED, true);
      } else if (type != StateType.STATE_TYPE_COMPLETED) {
        fail(inner, stateName, message, error);
      }
      if (inner != null) {
        inner.end(now, TimeUnit.NANOSECONDS);
      }
      span.end(now, TimeUnit.NANOSECONDS);
    }

    private void fail(Span last, String stateName, String message, Throwable error) {
      if (error == null) {
        span.setStatus(StatusCode.ERROR, message);
        span.setAttribute(ERROR_TYPE, stateName.equals("Crashed") ? "flowspan.crashed" : stateName);
        return;
      }
      record(span, error);
      if (last != null) {
        record(last, error);
      }
    }

    private static void record(Span target, Throwable error) {
      target.recordException(error);
      target.setStatus(StatusCode.ERROR, Failures.summary(error));
      target.setAttribute(ERROR_TYPE, error.getClass().getName());
    }

    private static long nowNanos() {
      return ProcessClock.nanosOf(ProcessClock.now());
    }
  }
}
