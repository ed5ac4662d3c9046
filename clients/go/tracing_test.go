package flowspan_test

import (
	"context"
	"math"
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

func TestSpansSayWhatTheyBelongToAndHowLongTheyWaited(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	client := connect(t, flowspan.WithTracerProvider(provider))
	var outer, inner *flowspan.Run
	_, err := flowspan.Flow(ctxOf(t), client, "outer", func(ctx context.Context) (int, error) {
		outer = current(ctx)
		return flowspan.Flow(ctx, client, "inner", func(ctx context.Context) (int, error) {
			inner = current(ctx)
			return flowspan.Task(ctx, "patient", func(ctx context.Context) (int, error) {
				if current(ctx).Attempt() == 1 {
					return 0, errOops
				}
				return flowspan.Task(ctx, "innermost", func(context.Context) (int, error) { return 0, nil })
			}, flowspan.Retries(1, flowspan.Constant(30*time.Millisecond)))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	spans := map[string]tracetest.SpanStub{}
	for _, span := range exporter.GetSpans() {
		// On a busy machine, other runs wait visibly as well.
		if span.Name != "waiting" || attributes(span.Attributes)["flowspan.wait.reason"] == "retry" {
			spans[span.Name] = span
		}
	}
	for name, flow := range map[string]*flowspan.Run{"outer": outer, "inner": inner, "patient": inner, "innermost": inner} {
		said := attributes(spans[name].Attributes)
		if said["flowspan.flow.name"] != flow.FunctionName() || said["flowspan.flow_run.id"] != flow.ID() || said["flowspan.root_run.id"] != outer.ID() {
			t.Error(name, said)
		}
		length := spans[name].EndTime.Sub(spans[name].StartTime).Seconds()
		if queued, ran := seconds(spans[name], "queued_s"), seconds(spans[name], "run_s"); queued < 0 || ran <= 0 || math.Abs(queued+ran-length) > 1e-6 {
			t.Error(name, queued, ran, length)
		}
	}
	waiting, patient := spans["waiting"], spans["patient"]
	if waiting.Parent.SpanID() != patient.SpanContext.SpanID() || waiting.EndTime.Sub(waiting.StartTime) < 30*time.Millisecond {
		t.Error(waiting)
	}
	if queued := seconds(patient, "queued_s"); queued < 0.03 {
		t.Error(queued)
	}
}

func seconds(span tracetest.SpanStub, name string) float64 {
	for _, each := range span.Attributes {
		if each.Key == attribute.Key("flowspan."+name) {
			return each.Value.AsFloat64()
		}
	}
	return -1
}

func TestInputsAreLinks(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	client := connect(t, flowspan.WithTracerProvider(sdk.NewTracerProvider(sdk.WithSyncer(exporter))))
	nothing := func(context.Context) (int, error) { return 0, nil }
	_, err := flowspan.Flow(ctxOf(t), client, "linked", func(ctx context.Context) (int, error) {
		one := flowspan.Go(ctx, "one", nothing)
		inputs := []flowspan.RunOption{flowspan.Input("other", one)}
		for range 11 {
			inputs = append(inputs, flowspan.Input("many", flowspan.Go(ctx, "load", nothing)))
		}
		return flowspan.Task(ctx, "reduce", nothing, inputs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, span := range exporter.GetSpans() {
		if span.Name != "reduce" {
			continue
		}
		if len(span.Links) != 2 {
			t.Fatal(span.Links)
		}
		one, many := attributes(span.Links[0].Attributes), attributes(span.Links[1].Attributes)
		if one["flowspan.input.name"] != "other" || one["flowspan.input.count"] != "" || one["flowspan.run.id"] == "" {
			t.Error(one)
		}
		if many["flowspan.input.name"] != "many" || many["flowspan.input.count"] != "11" || !span.Links[1].SpanContext.IsValid() {
			t.Error(many)
		}
	}
}

func TestARunKnowsTheAddressOfItsTrace(t *testing.T) {
	t.Setenv("FLOWSPAN_TRACE_URL", "http://localhost:16686/trace/{trace_id}")
	provider := sdk.NewTracerProvider()
	unsampled := sdk.NewTracerProvider(sdk.WithSampler(sdk.NeverSample()))
	for _, each := range []struct {
		provider  trace.TracerProvider
		isSampled bool
	}{{provider, true}, {unsampled, false}} {
		client := connect(t, flowspan.WithTracerProvider(each.provider))
		_, err := flowspan.Flow(ctxOf(t), client, "linked", func(ctx context.Context) (int, error) {
			want := ""
			if each.isSampled {
				want = "http://localhost:16686/trace/" + trace.SpanContextFromContext(ctx).TraceID().String()
			}
			if found := current(ctx).TraceURL(); found != want {
				t.Errorf("%q is not %q", found, want)
			}
			return 0, nil
		})
		if err != nil {
			t.Fatal(err)
		}
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
