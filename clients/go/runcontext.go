package flowspan

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"flowspan.dev/go/internal/uuid7"
)

const (
	envRun         = "FLOWSPAN_RUN"
	envTraceparent = "TRACEPARENT"
	envTracestate  = "TRACESTATE"
	headerRun      = "flowspan-run"
	memberRun      = "flowspan" // of a W3C tracestate
	headerParent   = "traceparent"
	headerState    = "tracestate"
)

// outerContext is the run, and the span, that started this process or this request.
type outerContext struct {
	run, root uuid7.ID
	hasRun    bool
	span      trace.SpanContext
}

// parseRunContext reads "r:<run id>" or "r:<run id>;t:<root id>", with ids of 32 hex digits.
func parseRunContext(text string) (outer outerContext, ok bool) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), ";") {
		name, value, _ := strings.Cut(part, ":")
		if name != "r" && name != "t" {
			continue // of a newer version
		}
		id, err := uuid7.Parse(value)
		if err != nil || !id.IsV7() { // the service would refuse the whole batch
			return outerContext{}, false
		}
		if name == "r" {
			outer.run, outer.hasRun = id, true
		} else {
			outer.root = id
		}
	}
	if outer.root == (uuid7.ID{}) {
		outer.root = outer.run
	}
	return outer, outer.hasRun
}

func formatRunContext(run, root uuid7.ID) string {
	if run == root {
		return "r:" + run.Hex()
	}
	return "r:" + run.Hex() + ";t:" + root.Hex()
}

// outerFrom reads a run context and a trace context. The run may be in two carriers: if the first one is
// malformed, that is the problem, and the next one applies.
func outerFrom(run, traceparent, tracestate string) (outer outerContext, problem string) {
	texts := []string{run}
	if state, err := trace.ParseTraceState(tracestate); err == nil {
		texts = append(texts, state.Get(memberRun))
	}
	for _, text := range texts {
		if text == "" || outer.hasRun {
			continue
		}
		var ok bool
		if outer, ok = parseRunContext(text); !ok && problem == "" {
			problem = text
		}
	}
	carrier := propagation.MapCarrier{headerParent: traceparent, headerState: tracestate}
	span := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
	// The member names the run above: in the spans here, it would attach what they call to that run.
	outer.span = span.WithTraceState(span.TraceState().Delete(memberRun))
	return outer, problem
}

func outerFromEnviron(logger *slog.Logger) outerContext {
	outer, problem := outerFrom(os.Getenv(envRun), os.Getenv(envTraceparent), os.Getenv(envTracestate))
	if problem != "" {
		logger.Warn("flowspan: "+envRun+" is ignored: it is not r:<32 hex digits>;t:<32 hex digits>", "value", problem)
	}
	return outer
}

// Extract returns a context in which runs are children of the run that the header of a request names
// ("flowspan-run", or the member "flowspan" of "tracestate"), and part of its trace. Without such
// headers, it returns ctx.
func Extract(ctx context.Context, header http.Header) context.Context {
	outer, _ := outerFrom(header.Get(headerRun), header.Get(headerParent), header.Get(headerState))
	if !outer.hasRun && !outer.span.IsValid() {
		return ctx
	}
	if outer.span.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, outer.span)
	}
	return context.WithValue(ctx, outerKey{}, outer)
}

// Environ returns the variables of the environment ("KEY=value") that make the runs of another program
// children of the run of ctx:
//
//	cmd := exec.CommandContext(ctx, "python", "load.py")
//	cmd.Env = append(os.Environ(), flowspan.Environ(ctx)...)
//	cmd.Cancel = func() error { return nil }
//	cmd.WaitDelay = 10 * time.Second
//
// If the run is cancelled, the service also cancels the runs of the program, which then ends by itself.
// CommandContext would kill it at once, and its runs would be Crashed. The last two lines give it time.
//
// Outside runs, Environ returns none.
func Environ(ctx context.Context) []string {
	var pairs []string
	for name, value := range carried(ctx) {
		switch name {
		case headerRun:
			pairs = append(pairs, envRun+"="+value)
		case headerParent:
			pairs = append(pairs, envTraceparent+"="+value)
		case headerState:
			pairs = append(pairs, envTracestate+"="+value)
		}
	}
	return pairs
}

// Headers returns the headers that make the runs behind a request children of the run of ctx.
//
//	for name, values := range flowspan.Headers(ctx) {
//		request.Header[name] = values
//	}
//
// Outside runs, it returns none.
func Headers(ctx context.Context) http.Header {
	header := http.Header{}
	for name, value := range carried(ctx) {
		header.Set(name, value)
	}
	return header
}

func carried(ctx context.Context) map[string]string {
	run, ok := RunFromContext(ctx)
	if !ok {
		return nil
	}
	value := run.context()
	values := map[string]string{headerRun: value}
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		span = run.span.own
	}
	state, err := span.TraceState().Insert(memberRun, value)
	if err == nil {
		span = span.WithTraceState(state)
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), span), carrier)
	for _, name := range carrier.Keys() {
		values[name] = carrier.Get(name)
	}
	return values
}
