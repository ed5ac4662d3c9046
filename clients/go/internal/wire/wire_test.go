package wire

import (
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"flowspan.dev/go/flowspanpb"
)

const someTime = 1_700_000_000_123_456_789

func stamp(nanos int64) *timestamppb.Timestamp {
	return &timestamppb.Timestamp{Seconds: nanos / 1e9, Nanos: int32(nanos % 1e9 / 1000 * 1000)}
}

// check compares bytes encoded by hand with what the generated code makes of them.
func check(t *testing.T, data []byte, got, want proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if unknown := got.ProtoReflect().GetUnknown(); len(unknown) > 0 {
		t.Errorf("unknown fields: %x", unknown)
	}
}

// stateEntered returns what the generated code reads of a state.
func stateEntered(t *testing.T, state *State) *flowspanpb.StateEntered {
	t.Helper()
	entered := new(flowspanpb.StateEntered)
	if err := proto.Unmarshal(AppendStateEntered(nil, "id", 1, state), entered); err != nil {
		t.Fatal(err)
	}
	return entered
}

func TestEventsAreEncodedAsTheGeneratedCodeReadsThem(t *testing.T) {
	trace := &flowspanpb.TraceContext{Traceparent: "00-a-b-03", ParentSpanId: "b", ExportedByService: true}
	code := &flowspanpb.CodeLocation{FilePath: "/a/b.go", Line: 300, Function: "main.main"}
	inputs := []*flowspanpb.RunInput{{RunId: "i", Parameter: "p"}, {RunId: "j", Parameter: "q"}}
	full := RunCreated{
		RunID: "id", Kind: flowspanpb.RunKind_RUN_KIND_TASK, FunctionName: "f", RunName: "ä", ParentRunID: "p", RootRunID: "r",
		FlowRunID: "fr", TimeNanos: someTime, Tags: []string{"a", strings.Repeat("b", 200)}, Parameters: []byte(`{"a":1}`), Trace: trace,
		Definition: Definition("v", strings.Repeat("d", 300), 4, code), Inputs: inputs, Labels: map[string]string{"k": "v", "empty": ""},
	}
	check(t, AppendRunCreated(nil, &full), &flowspanpb.RunCreated{}, &flowspanpb.RunCreated{
		RunId: "id", Kind: flowspanpb.RunKind_RUN_KIND_TASK, FunctionName: "f", RunName: "ä", ParentRunId: "p", RootRunId: "r",
		FlowRunId: "fr", State: &flowspanpb.State{Type: flowspanpb.StateType_STATE_TYPE_PENDING, Name: "Pending", Time: stamp(someTime)},
		Tags: full.Tags, Parameters: &flowspanpb.Payload{Encoding: "json", Data: full.Parameters}, Trace: trace, Version: "v",
		Description: strings.Repeat("d", 300), MaxAttempts: 4, Code: code, Inputs: inputs, Labels: full.Labels,
	})
	failure := &flowspanpb.Failure{Type: "t", Message: strings.Repeat("m", 5000), Cause: &flowspanpb.Failure{Type: "c"}}
	for _, state := range []State{
		{Type: flowspanpb.StateType_STATE_TYPE_RUNNING, TimeNanos: someTime},
		{Type: flowspanpb.StateType_STATE_TYPE_FAILED, Name: "Failed", Message: "m", TimeNanos: 0, Failure: failure},
		{Type: flowspanpb.StateType_STATE_TYPE_SCHEDULED, Name: "AwaitingRetry", TimeNanos: someTime, ScheduledNanos: someTime + 1e9},
		{Type: flowspanpb.StateType_STATE_TYPE_COMPLETED, Name: "Completed", TimeNanos: someTime / 1e9 * 1e9, Result: []byte("[1]")},
	} {
		want := &flowspanpb.State{Type: state.Type, Name: state.Name, Message: state.Message, Time: stamp(state.TimeNanos), Failure: state.Failure}
		if state.ScheduledNanos != 0 {
			want.ScheduledTime = stamp(state.ScheduledNanos)
		}
		if state.Result != nil {
			want.Result = &flowspanpb.Payload{Encoding: "json", Data: state.Result}
		}
		check(t, AppendStateEntered(nil, "id", 2, &state), &flowspanpb.StateEntered{}, &flowspanpb.StateEntered{RunId: "id", Attempt: 2, State: want})
	}
	ended := State{Type: flowspanpb.StateType_STATE_TYPE_FAILED, Name: "Failed", TimeNanos: someTime + 2e9, Failure: failure}
	encoded := AppendState(nil, &ended)
	check(t, encoded, &flowspanpb.State{}, &flowspanpb.State{Type: ended.Type, Name: "Failed", Time: stamp(ended.TimeNanos), Failure: failure})
	check(t, AppendEntered(nil, "id", 1, encoded), &flowspanpb.StateEntered{}, stateEntered(t, &ended))
	for _, created := range []RunCreated{full, {RunID: "id"}} {
		var want flowspanpb.RunCreated
		if err := proto.Unmarshal(AppendRunCreated(nil, &created), &want); err != nil {
			t.Fatal(err)
		}
		short := &flowspanpb.RunCompleted{Created: &want, StartTime: stamp(someTime + 1e9), Ended: stateEntered(t, &ended).GetState()}
		check(t, AppendShortRun(nil, AppendRunCreated(nil, &created), someTime+1e9, encoded), &flowspanpb.Batch{},
			&flowspanpb.Batch{Events: []*flowspanpb.Event{{Event: &flowspanpb.Event_RunCompleted{RunCompleted: short}}}})
	}
	log := Log{
		RunID: "id", Level: 20, TimeNanos: someTime, Logger: "l", Message: strings.Repeat("x", 1000), TraceID: "t", SpanID: "s", ChunkIndex: 1, ChunkCount: 3, Attempt: 2,
	}
	check(t, AppendLog(nil, &log), &flowspanpb.LogRecord{}, &flowspanpb.LogRecord{
		RunId: "id", Level: 20, Time: stamp(someTime), Logger: "l", Message: log.Message, TraceId: "t", SpanId: "s", ChunkIndex: 1, ChunkCount: 3, Attempt: 2,
	})
}

func TestTextsStayWithinTheirLimits(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("ä€😀", 50), "nul\x00", "bad\xff", strings.Repeat("\xff", 100), strings.Repeat("\x00", 100)} {
		for _, limit := range []int{70, 100, 1000} {
			for name, got := range map[string]string{"Clip": Clip(text, limit), "Shorten": Shorten(text, limit)} {
				if len(got) > limit || !utf8.ValidString(got) || strings.Contains(got, "\x00") {
					t.Errorf("%s(%.20q, %d) = %q", name, text, limit, got)
				}
			}
		}
	}
	for _, text := range []string{"", "a", strings.Repeat("ä€😀", 1000)} {
		pieces := Pieces(text, 100)
		if strings.Join(pieces, "") != text {
			t.Error("a text is not whole")
		}
		for _, piece := range pieces {
			if len(piece) > 100 || !utf8.ValidString(piece) {
				t.Errorf("%q", piece)
			}
		}
	}
}
