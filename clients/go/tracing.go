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
	// visibleWait is a wait that is worth a span.
	visibleWait = 10 * time.Millisecond
	// maxLinks bounds the links for one parameter: more inputs are one link with their number.
	maxLinks = 10
	// waitForRetry is the reason of a wait between two attempts.
	waitForRetry = "retry"
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
	own    trace.SpanContext
	span   trace.Span // nil without an SDK
	tracer trace.Tracer
	// try is the span of the attempt, from the second on; else nil. Spans are not compared: those that
	// are not sampled panic.
	try     trace.Span
	tries   int
	created int64
	// began is the begin of the attempt, ran the time of the ones before it.
	began, ran int64
	// idle is the begin of the wait before the attempt; 0 while the code runs.
	idle int64
}

// startSpan begins the span of a run. It returns the context with the span, and what the creation of
// the run says of it: nil if the service derives it.
func (r *Run) startSpan(ctx context.Context, code *flowspanpb.CodeLocation, inputs []inputLink) (context.Context, *flowspanpb.TraceContext) {
	r.span.created, r.span.idle = r.created, r.created
	parent := trace.SpanContextFromContext(ctx)
	if !parent.IsValid() && r.parent == nil {
		if outer := r.outer(ctx); outer.span.IsValid() {
			parent = outer.span
			ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
		}
	}
	if tracer := r.client.tracing.find().tracer; tracer != nil {
		if traced, said := r.startSDKSpan(ctx, tracer, parent, code, inputs); said != nil {
			return traced, said
		}
	}
	return r.deriveSpan(ctx, parent)
}

func (r *Run) startSDKSpan(
	ctx context.Context, tracer trace.Tracer, parent trace.SpanContext, code *flowspanpb.CodeLocation, inputs []inputLink,
) (context.Context, *flowspanpb.TraceContext) {
	options := []trace.SpanStartOption{trace.WithTimestamp(time.Unix(0, r.created)), trace.WithAttributes(r.attributes(code)...)}
	if len(inputs) > 0 {
		options = append(options, trace.WithLinks(linksOf(inputs)...))
	}
	ctx, span := tracer.Start(ctx, r.function, options...)
	own := span.SpanContext()
	if !own.IsValid() || own.SpanID() == parent.SpanID() {
		return ctx, nil // a provider without spans
	}
	r.span.own, r.span.span, r.span.tracer = own, span, tracer
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
		attribute.String("flowspan.root_run.id", r.rootText),
	}
	if id := r.FlowRunID(); id != "" {
		found = append(found, attribute.String("flowspan.flow_run.id", id))
	}
	if r.flowName != "" {
		found = append(found, attribute.String("flowspan.flow.name", r.flowName))
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

// inputLink is an input whose run has a span in this process.
type inputLink struct {
	parameter, runID string
	span             trace.SpanContext
}

// linksOf returns the links for inputs: one for each, or one for all inputs of a parameter.
func linksOf(inputs []inputLink) []trace.Link {
	counts := make(map[string]int, len(inputs))
	for _, input := range inputs {
		counts[input.parameter]++
	}
	links := make([]trace.Link, 0, min(len(inputs), maxLinks*len(counts)))
	for _, input := range inputs {
		count := counts[input.parameter]
		if count == 0 {
			continue // the first one stands for it
		}
		said := []attribute.KeyValue{
			attribute.String("flowspan.input.name", input.parameter),
			attribute.String("flowspan.run.id", input.runID),
		}
		if count > maxLinks {
			said = append(said, attribute.Int("flowspan.input.count", count))
			counts[input.parameter] = 0
		}
		links = append(links, trace.Link{SpanContext: input.span, Attributes: said})
	}
	return links
}

// waited records a wait that has ended, as a span of its own.
func (s *runSpan) waited(reason string, now int64) {
	begin := s.idle
	s.idle = 0
	if begin == 0 || now-begin < int64(visibleWait) {
		return
	}
	options := []trace.SpanStartOption{at(begin)}
	if reason != "" {
		options = append(options, trace.WithAttributes(attribute.String("flowspan.wait.reason", reason)))
	}
	_, span := s.tracer.Start(trace.ContextWithSpan(context.Background(), s.span), "waiting", options...)
	span.End(at(now))
}

// waitReason returns the reason of the wait before the next attempt; empty before the first one.
func (s *runSpan) waitReason() string {
	if s.tries == 0 {
		return ""
	}
	return waitForRetry
}

// attempt records that an attempt begins, and returns the context with its span.
func (s *runSpan) attempt(ctx context.Context, name string, number int32, now int64) context.Context {
	if s.span == nil {
		return ctx
	}
	s.waited(s.waitReason(), now)
	s.tries++
	s.began = now
	if number == 1 {
		if wait := now - s.created; wait >= int64(noticeableWait) {
			s.span.AddEvent("flowspan.running", at(now), trace.WithAttributes(attribute.Float64("flowspan.waited_s", time.Duration(wait).Seconds())))
		}
		return ctx
	}
	this := attribute.Int("flowspan.attempt", int(number))
	s.span.AddEvent("flowspan.retrying", at(now), trace.WithAttributes(this))
	ctx, s.try = s.tracer.Start(trace.ContextWithSpan(ctx, s.span), name+" attempt", at(now), trace.WithAttributes(this))
	return ctx
}

// attemptFailed records that an attempt failed, and that another follows after a delay.
func (s *runSpan) attemptFailed(name string, number int32, failure *flowspanpb.Failure, message string, delay time.Duration, now int64) {
	if s.span == nil {
		return
	}
	failed := s.try
	if failed == nil {
		// The first attempt has a span of its own only now that it is not the only one.
		_, failed = s.tracer.Start(trace.ContextWithSpan(context.Background(), s.span), name+" attempt",
			at(s.began), trace.WithAttributes(attribute.Int("flowspan.attempt", int(number))))
	}
	setError(failed, "Failed", message, failure, now)
	failed.End(at(now))
	s.try = nil
	s.ran += max(now-s.began, 0)
	s.idle = now
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
	if s.idle != 0 {
		s.waited(s.waitReason(), state.TimeNanos) // it ended before its code ran, or ran again
	} else {
		s.ran += max(state.TimeNanos-s.began, 0)
	}
	ran := time.Duration(s.ran)
	queued := max(time.Duration(state.TimeNanos-s.created)-ran, 0)
	s.span.SetAttributes(
		attribute.Float64("flowspan.run_s", ran.Seconds()),
		attribute.Float64("flowspan.queued_s", queued.Seconds()),
		attribute.String("flowspan.state.type", strings.TrimPrefix(state.Type.String(), "STATE_TYPE_")),
		attribute.String("flowspan.state.name", state.Name),
		attribute.Int("flowspan.attempts", s.tries))
	if state.Type == flowspanpb.StateType_STATE_TYPE_CANCELLED {
		s.span.SetAttributes(attribute.Bool("flowspan.cancelled", true))
	}
	isError := state.Type == flowspanpb.StateType_STATE_TYPE_FAILED || state.Type == flowspanpb.StateType_STATE_TYPE_CRASHED
	for _, span := range []trace.Span{s.try, s.span} {
		if span == nil {
			continue
		}
		if isError {
			setError(span, state.Name, state.Message, state.Failure, state.TimeNanos)
		}
		span.End(at(state.TimeNanos))
	}
}

func (s *runSpan) madeArtifact(id, kind, key string, now int64) {
	span := s.try
	if span == nil {
		span = s.span
	}
	if span == nil {
		return
	}
	said := []attribute.KeyValue{attribute.String("flowspan.artifact.id", id), attribute.String("flowspan.artifact.type", kind)}
	if key != "" {
		said = append(said, attribute.String("flowspan.artifact.key", key))
	}
	span.AddEvent("flowspan.artifact", at(now), trace.WithAttributes(said...))
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
