package flowspan_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"flowspan.dev/go"
)

func TestRunsAreSpansOfTheSDK(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	client := connect(t, flowspan.WithTracerProvider(provider))
	var flow, task *flowspan.Run
	_, err := flowspan.Flow(ctxOf(t), client, "traced", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		_, library := provider.Tracer("library").Start(ctx, "SELECT")
		library.End()
		if _, err := flowspan.Markdown(ctx, "x", flowspan.Key("traced")); err != nil {
			return 0, err
		}
		return flowspan.Task(ctx, "flaky", func(ctx context.Context) (int, error) {
			task = current(ctx)
			if task.Attempt() == 1 {
				return 0, errOops
			}
			_, library := provider.Tracer("library").Start(ctx, "second")
			library.End()
			return 0, nil
		}, flowspan.Retries(1, flowspan.Constant(time.Millisecond)))
	}, flowspan.Tags("a"))
	if err != nil {
		t.Fatal(err)
	}
	spans := map[string]tracetest.SpanStub{}
	for _, span := range exporter.GetSpans() {
		name := span.Name
		if name == "flaky attempt" {
			name += " " + attributes(span.Attributes)["flowspan.attempt"]
		}
		spans[name] = span
	}
	parents := map[string]string{"SELECT": "traced", "flaky": "traced", "flaky attempt 1": "flaky", "flaky attempt 2": "flaky", "second": "flaky attempt 2"}
	for child, parent := range parents {
		if spans[child].Parent.SpanID() != spans[parent].SpanContext.SpanID() || !spans[child].SpanContext.IsValid() {
			t.Errorf("%s is not a child of %s", child, parent)
		}
	}
	said := attributes(spans["traced"].Attributes)
	for name, want := range map[string]string{
		"flowspan.run.id": flow.ID(), "flowspan.run.kind": "flow", "flowspan.tags": `["a"]`,
		"flowspan.state.type": "COMPLETED", "flowspan.state.name": "Completed", "flowspan.attempts": "1",
	} {
		if said[name] != want {
			t.Errorf("%s is %q, not %q", name, said[name], want)
		}
	}
	if failed := spans["flaky attempt 1"]; failed.Status.Code != codes.Error || attributes(failed.Attributes)["error.type"] != "*errors.errorString" || failed.Events[0].Name != "exception" {
		t.Error(failed)
	}
	// On a busy machine, the run has waited before, which is another event.
	if events := spans["traced"].Events; spans["flaky"].Status.Code == codes.Error || events[len(events)-1].Name != "flowspan.artifact" {
		t.Error(spans["flaky"].Status, spans["traced"].Events)
	}
	stored := taskRun(t, client, task.ID()).GetTrace()
	if !strings.Contains(stored.GetTraceparent(), spans["flaky"].SpanContext.SpanID().String()) || stored.GetExportedByService() ||
		stored.GetParentSpanId() != spans["traced"].SpanContext.SpanID().String() {
		t.Error(stored)
	}
}

func attributes(pairs []attribute.KeyValue) map[string]string {
	found := map[string]string{}
	for _, pair := range pairs {
		found[string(pair.Key)] = pair.Value.String()
	}
	return found
}

func TestHeadersCarryTheRunToAnotherService(t *testing.T) {
	client := connect(t)
	var caller, callee, byState *flowspan.Run
	_, err := flowspan.Flow(ctxOf(t), client, "caller", func(ctx context.Context) (int, error) {
		caller = current(ctx)
		header := flowspan.Headers(ctx)
		onlyState := http.Header{
			"Traceparent": header["Traceparent"], "Tracestate": header["Tracestate"],
			"Flowspan-Run": {"malformed"},
		}
		for _, each := range []struct {
			header http.Header
			run    **flowspan.Run
		}{{header, &callee}, {onlyState, &byState}} {
			request := flowspan.Extract(ctxOf(t), each.header)
			if _, err := flowspan.Flow(request, client, "callee", func(ctx context.Context) (int, error) { *each.run = current(ctx); return 0, nil }); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []*flowspan.Run{callee, byState} {
		found := flowRun(t, client, run.ID())
		if found.GetParentRunId() != caller.ID() || found.GetRootRunId() != caller.ID() {
			t.Error(found)
		}
		trace := found.GetTrace()
		if !strings.HasPrefix(trace.GetTraceparent(), "00-"+strings.ReplaceAll(caller.ID(), "-", "")) {
			t.Error(trace)
		}
		if trace.GetTracestate() != "" { // the member of the caller is not for its callees
			t.Error(trace)
		}
	}
	if len(flowspan.Headers(ctxOf(t))) != 0 || len(flowspan.Environ(ctxOf(t))) != 0 {
		t.Error("a context without a run carries one")
	}
	version4 := "r:0199c0de000040008000000000000001" // the service takes only UUIDv7
	for _, bad := range []string{"", "r:xyz", "t:" + strings.Repeat("0", 32), "nonsense", version4} {
		ctx := flowspan.Extract(ctxOf(t), http.Header{"Flowspan-Run": {bad}})
		if trace.SpanContextFromContext(ctx).IsValid() {
			t.Error(bad)
		}
		if _, err := flowspan.Flow(ctx, client, "callee", func(ctx context.Context) (int, error) { callee = current(ctx); return 0, nil }); err != nil || callee.RootID() != callee.ID() {
			t.Error(bad, err)
		}
	}
}
