package dev.flowspan.internal;

import dev.flowspan.RunContext;
import dev.flowspan.v1.StateType;
import dev.flowspan.v1.TraceContext;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
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
import java.util.List;
import java.util.Map;

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
  private static final AttributeKey<Double> DELAY = AttributeKey.doubleKey("delay_s");
  private static final AttributeKey<String> INPUT = AttributeKey.stringKey("flowspan.input.name");
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
            .setAttribute(RUN_ID, scope.id())
            .setAttribute(RUN_NAME, scope.name())
            .setAttribute(KIND, scope.isFlow() ? "flow" : "task");
    if (!scope.options.tags().isEmpty()) {
      builder.setAttribute(TAGS, scope.options.tags());
    }
    scope
        .options
        .inputs()
        .forEach((parameter, ids) -> ids.forEach(id -> link(builder, parameter, id)));
    String parentSpanId = Span.fromContext(context).getSpanContext().getSpanId();
    boolean hasParent = Span.fromContext(context).getSpanContext().isValid();
    return new OtelSpan(
        tracer, builder.startSpan(), context, scope.function, hasParent ? parentSpanId : "");
  }

  /** Links to an input that is still open in this process; others have a span that is unknown. */
  private static void link(SpanBuilder builder, String parameter, String runId) {
    RunScope input = OpenRuns.find(runId);
    if (input != null && input.span instanceof OtelSpan span) {
      builder.addLink(span.span.getSpanContext(), Attributes.of(INPUT, parameter, RUN_ID, runId));
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
    private volatile Span attempt;
    private volatile long attemptStartNanos;
    private volatile long attempts;

    OtelSpan(Tracer tracer, Span span, Context parent, String function, String parentSpanId) {
      this.tracer = tracer;
      this.span = span;
      this.function = function;
      this.parentSpanId = parentSpanId;
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
      attempts = number;
      attemptStartNanos = nowNanos();
      if (number > 1) {
        span.addEvent("flowspan.retrying");
        attempt = startAttempt(number, attemptStartNanos);
      }
    }

    private Span startAttempt(int number, long startNanos) {
      return tracer
          .spanBuilder(function + " attempt")
          .setParent(context)
          .setStartTimestamp(startNanos, java.util.concurrent.TimeUnit.NANOSECONDS)
          .setAttribute(ATTEMPT, (long) number)
          .startSpan();
    }

    @Override
    public void attemptFailed(Throwable error, Duration delay) {
      Span failed = attempt == null ? startAttempt(1, attemptStartNanos) : attempt;
      record(failed, error);
      failed.end();
      attempt = null;
      span.addEvent("flowspan.awaiting_retry", Attributes.of(DELAY, delay.toNanos() / 1e9));
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
      span.setAttribute(TYPE, type.name().replace("STATE_TYPE_", ""));
      span.setAttribute(STATE, stateName);
      span.setAttribute(ATTEMPTS, attempts);
      Span last = attempt;
      if (type == StateType.STATE_TYPE_CANCELLED) {
        span.setAttribute(CANCELLED, true);
      } else if (type != StateType.STATE_TYPE_COMPLETED) {
        fail(last, stateName, message, error);
      }
      if (last != null) {
        last.end();
      }
      span.end();
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
      java.time.Instant now = ProcessClock.now();
      return now.getEpochSecond() * 1_000_000_000L + now.getNano();
    }
  }
}
