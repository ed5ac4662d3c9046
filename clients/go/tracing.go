package flowspan

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/uuid7"
	"flowspan.dev/go/internal/wire"
)

const (
	tracerName = "flowspan.dev/go"
	// derivedFlags are "sampled" and "random" of W3C Trace Context.
	derivedFlags = trace.FlagsSampled | 0x02
	// noticeableWait is a wait before the code starts that is worth an event.
	noticeableWait = time.Millisecond
)

// tracing decides who makes the spans of runs: the OpenTelemetry SDK of the program, or the service.
type tracing struct {
	// provider is the configured provider; nil for the global one.
	provider trace.TracerProvider
	found    atomic.Pointer[foundProvider]
}

type foundProvider struct {
	provider trace.TracerProvider
	tracer   trace.Tracer // nil without an SDK
}

func (t *tracing) find() *foundProvider {
	provider := t.provider
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	if found := t.found.Load(); found != nil && found.provider == provider {
		return found
	}
	found := &foundProvider{provider: provider}
	if !isIdle(provider) {
		found.tracer = provider.Tracer(tracerName, trace.WithInstrumentationVersion(Version))
	}
	t.found.Store(found)
	return found
}

func (t *tracing) hasSDK() bool { return t.find().tracer != nil }

// isIdle reports whether a provider is one of those in the API, which make no spans.
func isIdle(provider trace.TracerProvider) bool {
	kind := reflect.TypeOf(provider)
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	return strings.HasSuffix(kind.PkgPath(), "otel/internal/global") || strings.HasSuffix(kind.PkgPath(), "otel/trace/noop")
}

// runSpan is the span of a run. Without an SDK, it is only a context, and the service makes the span.
type runSpan struct {
	own     trace.SpanContext
	span    trace.Span // nil without an SDK
	tracer  trace.Tracer
	current trace.Span // the span of the attempt, from the second on
	tries   int
	created int64
	began   int64
}

// startSpan begins the span of a run. It returns the context with the span, and what the creation of
// the run says of it: nil if the service derives it.
func (r *Run) startSpan(ctx context.Context, code *flowspanpb.CodeLocation) (context.Context, *flowspanpb.TraceContext) {
	r.span.created = r.created
	parent := trace.SpanContextFromContext(ctx)
	if !parent.IsValid() && r.parent == nil {
		if outer := r.outer(ctx); outer.span.IsValid() {
			parent = outer.span
			ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
		}
	}
	if tracer := r.client.tracing.find().tracer; tracer != nil {
		if traced, said := r.startSDKSpan(ctx, tracer, parent, code); said != nil {
			return traced, said
		}
	}
	return r.deriveSpan(ctx, parent)
}

func (r *Run) startSDKSpan(
	ctx context.Context, tracer trace.Tracer, parent trace.SpanContext, code *flowspanpb.CodeLocation,
) (context.Context, *flowspanpb.TraceContext) {
	ctx, span := tracer.Start(ctx, r.function, trace.WithTimestamp(time.Unix(0, r.created)), trace.WithAttributes(r.attributes(code)...))
	own := span.SpanContext()
	if !own.IsValid() || own.SpanID() == parent.SpanID() {
		return ctx, nil // a provider without spans
	}
	r.span.own, r.span.span, r.span.current, r.span.tracer = own, span, span, tracer
	said := &flowspanpb.TraceContext{Traceparent: traceparent(own)}
	if state := own.TraceState().String(); len(state) <= wire.MaxTraceState {
		said.Tracestate = state
	}
	if parent.IsValid() {
		said.ParentSpanId = parent.SpanID().String()
	}
	return ctx, said
}

// deriveSpan computes the context that the service gives to the run's span (see trace.proto).
func (r *Run) deriveSpan(ctx context.Context, parent trace.SpanContext) (context.Context, *flowspanpb.TraceContext) {
	traceID, flags, state := trace.TraceID(r.rootID), derivedFlags, trace.TraceState{}
	known := r.parent != nil && parent.Equal(r.parent.span.own)
	if parent.IsValid() {
		traceID, flags, state = parent.TraceID(), parent.TraceFlags(), parent.TraceState()
	}
	var spanID trace.SpanID
	copy(spanID[:], r.id[8:])
	r.span.own = trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: flags, TraceState: state})
	ctx = trace.ContextWithSpanContext(ctx, r.span.own)
	if !parent.IsValid() || known {
		return ctx, nil
	}
	said := &flowspanpb.TraceContext{
		Traceparent:       traceparent(r.span.own),
		ParentSpanId:      parent.SpanID().String(),
		ExportedByService: true,
	}
	if text := state.String(); len(text) <= wire.MaxTraceState {
		said.Tracestate = text
	}
	return ctx, said
}

func traceparent(span trace.SpanContext) string {
	return "00-" + span.TraceID().String() + "-" + span.SpanID().String() + "-" + span.TraceFlags().String()
}

func (r *Run) attributes(code *flowspanpb.CodeLocation) []attribute.KeyValue {
	found := []attribute.KeyValue{
		attribute.String("flowspan.run.id", r.ID()),
		attribute.String("flowspan.run.kind", r.kindName()),
	}
	if r.name != "" {
		found = append(found, attribute.String("flowspan.run.name", r.name))
	}
	if len(r.tags) > 0 {
		found = append(found, attribute.StringSlice("flowspan.tags", r.tags))
	}
	if code != nil {
		found = append(found,
			attribute.String("code.function.name", code.GetFunction()),
			attribute.String("code.file.path", code.GetFilePath()),
			attribute.Int("code.line.number", int(code.GetLine())))
	}
	return found
}

// attempt records that an attempt begins, and returns the context with its span.
func (s *runSpan) attempt(ctx context.Context, name string, number int32, now int64) context.Context {
	s.tries++
	s.began = now
	if s.span == nil {
		return ctx
	}
	if number == 1 {
		if wait := now - s.created; wait >= int64(noticeableWait) {
			s.span.AddEvent("flowspan.running", at(now), trace.WithAttributes(attribute.Float64("flowspan.waited_s", time.Duration(wait).Seconds())))
		}
		return ctx
	}
	this := attribute.Int("flowspan.attempt", int(number))
	s.span.AddEvent("flowspan.retrying", at(now), trace.WithAttributes(this))
	ctx, s.current = s.tracer.Start(trace.ContextWithSpan(ctx, s.span), name+" attempt", at(now), trace.WithAttributes(this))
	return ctx
}

// attemptFailed records that an attempt failed, and that another follows after a delay.
func (s *runSpan) attemptFailed(name string, number int32, failure *flowspanpb.Failure, message string, delay time.Duration, now int64) {
	if s.span == nil {
		return
	}
	failed := s.current
	if failed == s.span {
		// The first attempt has a span of its own only now that it is not the only one.
		_, failed = s.tracer.Start(trace.ContextWithSpan(context.Background(), s.span), name+" attempt",
			at(s.began), trace.WithAttributes(attribute.Int("flowspan.attempt", int(number))))
	}
	setError(failed, "Failed", message, failure, now)
	failed.End(at(now))
	s.current = s.span
	if delay > 0 {
		s.span.AddEvent("flowspan.awaiting_retry", at(now), trace.WithAttributes(
			attribute.Float64("flowspan.delay_s", delay.Seconds()), attribute.Int("flowspan.attempt", int(number)+1)))
	}
}

// end ends the spans of the run in its terminal state.
func (s *runSpan) end(state *wire.State) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(
		attribute.String("flowspan.state.type", strings.TrimPrefix(state.Type.String(), "STATE_TYPE_")),
		attribute.String("flowspan.state.name", state.Name),
		attribute.Int("flowspan.attempts", s.tries))
	if state.Type == flowspanpb.StateType_STATE_TYPE_CANCELLED {
		s.span.SetAttributes(attribute.Bool("flowspan.cancelled", true))
	}
	isError := state.Type == flowspanpb.StateType_STATE_TYPE_FAILED || state.Type == flowspanpb.StateType_STATE_TYPE_CRASHED
	for _, span := range []trace.Span{s.current, s.span} {
		if isError {
			setError(span, state.Name, state.Message, state.Failure, state.TimeNanos)
		}
		span.End(at(state.TimeNanos))
		if s.current == s.span {
			break
		}
	}
}

func (s *runSpan) madeArtifact(id, kind, key string, now int64) {
	if s.current == nil {
		return
	}
	said := []attribute.KeyValue{attribute.String("flowspan.artifact.id", id), attribute.String("flowspan.artifact.type", kind)}
	if key != "" {
		said = append(said, attribute.String("flowspan.artifact.key", key))
	}
	s.current.AddEvent("flowspan.artifact", at(now), trace.WithAttributes(said...))
}

func setError(span trace.Span, name, message string, failure *flowspanpb.Failure, now int64) {
	if message == "" {
		message = name
	}
	span.SetStatus(codes.Error, message)
	if failure == nil {
		span.SetAttributes(attribute.String("error.type", name))
		return
	}
	span.SetAttributes(attribute.String("error.type", failure.GetType()))
	said := []attribute.KeyValue{
		attribute.String("exception.type", failure.GetType()),
		attribute.String("exception.message", failure.GetMessage()),
	}
	if failure.GetStackTrace() != "" {
		said = append(said, attribute.String("exception.stacktrace", failure.GetStackTrace()))
	}
	span.AddEvent("exception", at(now), trace.WithAttributes(said...))
}

func at(nanos int64) trace.SpanEventOption { return trace.WithTimestamp(time.Unix(0, nanos)) }

// spanIDs returns the ids of the trace and of the innermost span, for log records of a run.
func (r *Run) spanIDs(ctx context.Context) (traceID, spanID string) {
	span := trace.SpanContextFromContext(ctx)
	if span.TraceID() != r.span.own.TraceID() {
		span = r.span.own
	}
	attempt := r.attempt.Load()
	if attempt > 1 && r.span.span == nil && span.SpanID() == r.span.own.SpanID() {
		id := attemptSpanID(r.id, attempt)
		return span.TraceID().String(), hex.EncodeToString(id[:])
	}
	return span.TraceID().String(), span.SpanID().String()
}

// attemptSpanID returns the id of the span of an attempt after the first (see trace.proto).
func attemptSpanID(run uuid7.ID, attempt int32) [8]byte {
	data := binary.BigEndian.AppendUint32(run[:], uint32(attempt))
	sum := sha256.Sum256(data)
	return [8]byte(sum[:8])
}
