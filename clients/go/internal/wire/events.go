package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"flowspan.dev/go/flowspanpb"
)

// Kind is the field of the oneof flowspan.v1.Event.event.
type Kind = protowire.Number

// The kinds of events.
const (
	KindRunCreated      Kind = 1
	KindStateEntered    Kind = 2
	KindLog             Kind = 3
	KindArtifactCreated Kind = 4
	KindArtifactChanged Kind = 5
	KindRunCompleted    Kind = 6
)

// RunCreated is a created run. Its texts must be clean (see Clip).
type RunCreated struct {
	RunID        string
	Kind         flowspanpb.RunKind
	FunctionName string
	RunName      string
	ParentRunID  string
	RootRunID    string
	FlowRunID    string
	TimeNanos    int64
	Tags         []string
	Parameters   []byte
	// Trace is nil if the service derives the trace context.
	Trace *flowspanpb.TraceContext
	// Definition holds the encoded fields that all runs of a function share (see Definition).
	Definition []byte
	Inputs     []*flowspanpb.RunInput
	Labels     map[string]string
}

// State is an entered state. Its texts must be clean.
type State struct {
	Type      flowspanpb.StateType
	Name      string
	Message   string
	TimeNanos int64
	// ScheduledNanos is zero if the state has no scheduled time.
	ScheduledNanos int64
	Failure        *flowspanpb.Failure
	// Result is the result as JSON; nil if it is not reported.
	Result []byte
}

// Definition encodes the fields of RunCreated that all runs of a function share.
func Definition(version, description string, maxAttempts int, code *flowspanpb.CodeLocation) []byte {
	b := appendString(nil, 12, version)
	b = appendString(b, 13, description)
	if maxAttempts > 0 {
		b = appendVarint(b, 14, uint64(maxAttempts))
	}
	if code != nil {
		b = appendMessage(b, 16, code)
	}
	return b
}

// AppendRunCreated appends a flowspan.v1.RunCreated. The events are encoded by hand because two to
// three of them are all that most tasks cost; a test compares them with the generated code.
func AppendRunCreated(b []byte, run *RunCreated) []byte {
	b = appendString(b, 1, run.RunID)
	b = appendVarint(b, 2, uint64(run.Kind))
	b = appendString(b, 3, run.FunctionName)
	b = appendString(b, 4, run.RunName)
	b = appendString(b, 5, run.ParentRunID)
	b = appendString(b, 6, run.RootRunID)
	b = appendString(b, 7, run.FlowRunID)
	b = appendState(b, 8, &State{Type: flowspanpb.StateType_STATE_TYPE_PENDING, Name: "Pending", TimeNanos: run.TimeNanos})
	for _, tag := range run.Tags {
		b = protowire.AppendTag(b, 9, protowire.BytesType)
		b = protowire.AppendString(b, tag)
	}
	if run.Parameters != nil {
		b = appendJSON(b, 10, run.Parameters)
	}
	if run.Trace != nil {
		b = appendMessage(b, 11, run.Trace)
	}
	b = append(b, run.Definition...)
	for _, input := range run.Inputs {
		b = appendMessage(b, 15, input)
	}
	for key, value := range run.Labels {
		size := sizeString(1, key) + sizeString(2, value)
		b = protowire.AppendTag(b, 17, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = appendString(b, 1, key)
		b = appendString(b, 2, value)
	}
	return b
}

// AppendStateEntered appends a flowspan.v1.StateEntered.
func AppendStateEntered(b []byte, runID string, attempt int32, state *State) []byte {
	b = appendString(b, 1, runID)
	b = appendVarint(b, 2, uint64(attempt))
	return appendState(b, 3, state)
}

// AppendEntered appends a flowspan.v1.StateEntered with a state that AppendState has encoded.
func AppendEntered(b []byte, runID string, attempt int32, state []byte) []byte {
	b = appendString(b, 1, runID)
	b = appendVarint(b, 2, uint64(attempt))
	b = protowire.AppendTag(b, 3, protowire.BytesType)
	return protowire.AppendBytes(b, state)
}

// AppendState appends a flowspan.v1.State.
func AppendState(b []byte, state *State) []byte {
	failure, result := rareParts(state)
	return appendParts(b, state, failure, result)
}

func appendState(b []byte, number protowire.Number, state *State) []byte {
	failure, result := rareParts(state)
	size := 1 + protowire.SizeVarint(uint64(state.Type)) + sizeString(2, state.Name) + sizeString(3, state.Message)
	size += sizeTime(state.TimeNanos) + len(failure) + len(result)
	if state.ScheduledNanos != 0 {
		size += sizeTime(state.ScheduledNanos)
	}
	b = protowire.AppendTag(b, number, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	return appendParts(b, state, failure, result)
}

// rareParts encodes the fields of a state that most states do not have.
func rareParts(state *State) (failure, result []byte) {
	if state.Failure != nil {
		failure = appendMessage(nil, 6, state.Failure)
	}
	if state.Result != nil {
		result = appendJSON(nil, 7, state.Result)
	}
	return failure, result
}

func appendParts(b []byte, state *State, failure, result []byte) []byte {
	b = appendVarint(b, 1, uint64(state.Type))
	b = appendString(b, 2, state.Name)
	b = appendString(b, 3, state.Message)
	b = appendTime(b, 4, state.TimeNanos)
	if state.ScheduledNanos != 0 {
		b = appendTime(b, 5, state.ScheduledNanos)
	}
	b = append(b, failure...)
	return append(b, result...)
}

// Log is a log record, or a piece of one.
type Log struct {
	RunID      string
	Level      int
	TimeNanos  int64
	Logger     string
	Message    string
	TraceID    string
	SpanID     string
	ChunkIndex int
	ChunkCount int
	Attempt    int32
}

// AppendLog appends a flowspan.v1.LogRecord.
func AppendLog(b []byte, log *Log) []byte {
	b = appendString(b, 2, log.RunID)
	b = appendVarint(b, 3, uint64(max(log.Level, 0)))
	b = appendTime(b, 4, log.TimeNanos)
	b = appendString(b, 5, log.Logger)
	b = appendString(b, 6, log.Message)
	b = appendString(b, 7, log.TraceID)
	b = appendString(b, 8, log.SpanID)
	if log.ChunkCount > 1 {
		b = appendVarint(b, 9, uint64(log.ChunkIndex))
		b = appendVarint(b, 10, uint64(log.ChunkCount))
	}
	return appendVarint(b, 11, uint64(log.Attempt))
}

// AppendMessage appends a generated message. It is for rare events only.
func AppendMessage(b []byte, message proto.Message) []byte {
	out, err := proto.MarshalOptions{}.MarshalAppend(b, message)
	if err != nil {
		return b // only for invalid UTF-8, which Clean has replaced
	}
	return out
}

// AppendItem appends an event as an item of flowspan.v1.Batch.events.
func AppendItem(b []byte, kind Kind, body []byte) []byte {
	return append(appendItemHeader(b, kind, len(body)), body...)
}

func appendItemHeader(b []byte, kind Kind, size int) []byte {
	b = append(b, 0x12) // field 2 of Batch
	b = protowire.AppendVarint(b, uint64(protowire.SizeTag(kind)+protowire.SizeBytes(size)))
	b = protowire.AppendTag(b, kind, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(size))
}

// AppendShortRun appends the item of a flowspan.v1.RunCompleted: an encoded RunCreated, the time of
// RUNNING, and an encoded terminal State. It takes three sequences.
func AppendShortRun(b, created []byte, startNanos int64, ended []byte) []byte {
	size := 2 + protowire.SizeBytes(len(created)) + protowire.SizeBytes(len(ended)) + sizeTime(startNanos)
	b = appendItemHeader(b, KindRunCompleted, size)
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendBytes(b, created)
	b = appendTime(b, 2, startNanos)
	b = protowire.AppendTag(b, 3, protowire.BytesType)
	return protowire.AppendBytes(b, ended)
}

// PlaceholderKind is a kind of event that no service knows. The service answers it with REJECTED and
// skips it. It stands for an event that cannot be sent, as sequences may have no gaps.
const PlaceholderKind Kind = 1000

func appendString(b []byte, number protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	b = protowire.AppendTag(b, number, protowire.BytesType)
	return protowire.AppendString(b, text)
}

func sizeString(number protowire.Number, text string) int {
	if text == "" {
		return 0
	}
	return protowire.SizeTag(number) + protowire.SizeBytes(len(text))
}

func appendVarint(b []byte, number protowire.Number, value uint64) []byte {
	if value == 0 {
		return b
	}
	b = protowire.AppendTag(b, number, protowire.VarintType)
	return protowire.AppendVarint(b, value)
}

func appendMessage(b []byte, number protowire.Number, message proto.Message) []byte {
	b = protowire.AppendTag(b, number, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(proto.Size(message)))
	return AppendMessage(b, message)
}

func appendJSON(b []byte, number protowire.Number, data []byte) []byte {
	size := sizeString(1, EncodingJSON) + protowire.SizeTag(2) + protowire.SizeBytes(len(data))
	b = protowire.AppendTag(b, number, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendString(b, 1, EncodingJSON)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	return protowire.AppendBytes(b, data)
}

const (
	nanosPerSecond = 1_000_000_000
	nanosPerMicro  = 1_000
)

// parts returns the seconds and nanoseconds of a time, in microseconds: the service drops the rest.
func parts(nanos int64) (seconds, rest uint64) {
	nanos = max(nanos, 0)
	return uint64(nanos / nanosPerSecond), uint64(nanos % nanosPerSecond / nanosPerMicro * nanosPerMicro)
}

func bodyOfTime(nanos int64) int {
	seconds, rest := parts(nanos)
	size := 0
	if seconds != 0 {
		size += 1 + protowire.SizeVarint(seconds)
	}
	if rest != 0 {
		size += 1 + protowire.SizeVarint(rest)
	}
	return size
}

func sizeTime(nanos int64) int {
	return 1 + protowire.SizeBytes(bodyOfTime(nanos))
}

func appendTime(b []byte, number protowire.Number, nanos int64) []byte {
	seconds, rest := parts(nanos)
	b = protowire.AppendTag(b, number, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(bodyOfTime(nanos)))
	b = appendVarint(b, 1, seconds)
	return appendVarint(b, 2, rest)
}
