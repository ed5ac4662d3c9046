package flowspan

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/trace"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/wire"
)

type runOptions struct {
	name          string
	tags          []string
	parameters    any
	hasParameters bool
	retries       int
	backoff       Backoff
	retryIf       func(error) bool
	timeout       time.Duration
	description   string
	version       string
	inputs        []*flowspanpb.RunInput
	links         []inputLink
	labels        map[string]string
	recordResult  bool
}

// RunOption is an option of one run of a flow or task.
type RunOption func(*runOptions)

// Name sets the name of the run, for people.
func Name(name string) RunOption {
	return func(o *runOptions) { o.name = wire.Clip(name, wire.MaxName) }
}

// Tags adds tags, by which runs are found. A run has at most 64; further ones are left out.
func Tags(tags ...string) RunOption {
	return func(o *runOptions) {
		for _, tag := range tags {
			if tag != "" && len(o.tags) < wire.MaxTags {
				o.tags = append(o.tags, wire.Clip(tag, wire.MaxName))
			}
		}
	}
}

// Parameters records the arguments of the run, as one JSON object: a struct or a map. Arguments of
// more than 512 KiB (for a task: 64 KiB) are left out, with a warning.
func Parameters(arguments any) RunOption {
	return func(o *runOptions) { o.parameters, o.hasParameters = arguments, true }
}

// Retries repeats the function up to a number of times if it returns an error, each time after a
// delay. A nil backoff repeats at once. Cancelled runs and panics are not repeated.
func Retries(retries int, backoff Backoff) RunOption {
	return func(o *runOptions) { o.retries, o.backoff = max(retries, 0), backoff }
}

// RetryIf repeats the function only after errors for which a condition holds. It needs Retries.
func RetryIf(condition func(error) bool) RunOption {
	return func(o *runOptions) { o.retryIf = condition }
}

// Timeout bounds each attempt: its context ends with a TimeoutError as its cause. If the function
// then returns an error, the attempt has failed as TimedOut.
func Timeout(timeout time.Duration) RunOption {
	return func(o *runOptions) { o.timeout = timeout }
}

// Description says what the flow or task does, for people. It is the same for all runs of a function.
func Description(text string) RunOption {
	return func(o *runOptions) { o.description = wire.Clip(text, wire.MaxDescription) }
}

// CodeVersion sets the version of the code, for people.
func CodeVersion(version string) RunOption {
	return func(o *runOptions) { o.version = wire.Clip(version, wire.MaxName) }
}

// Upstream is a run whose result another run takes: a Future or a Run.
type Upstream interface{ RunID() string }

// Input says that the run takes the result of another run as a parameter.
func Input(parameter string, upstream Upstream) RunOption {
	return func(o *runOptions) {
		if id := upstream.RunID(); id != "" && parameter != "" && len(o.inputs) < wire.MaxInputs {
			parameter = wire.Clip(parameter, wire.MaxName)
			o.inputs = append(o.inputs, &flowspanpb.RunInput{RunId: id, Parameter: parameter})
			if found, ok := upstream.(interface{ spanContext() trace.SpanContext }); ok {
				o.links = append(o.links, inputLink{parameter, id, found.spanContext()})
			}
		}
	}
}

// Labels sets labels of the run, which can be changed later (see Client.SetLabels). A label whose key
// is not valid is left out, with a warning: keys have 1 to 64 of a-z, 0-9 and ._/-, values at most
// 256 bytes.
func Labels(labels map[string]string) RunOption {
	return func(o *runOptions) {
		if o.labels == nil {
			o.labels = map[string]string{}
		}
		maps.Copy(o.labels, labels)
	}
}

// RecordResult stores the result with the run, as JSON. A result of more than 1 MiB is left out, with
// a warning.
func RecordResult() RunOption {
	return func(o *runOptions) { o.recordResult = true }
}

// Backoff returns the delay after a failed attempt, which is counted from 1.
type Backoff func(attempt int) time.Duration

// Constant waits the same time after each attempt.
func Constant(delay time.Duration) Backoff {
	return func(int) time.Duration { return delay }
}

// Exponential doubles the delay after each attempt: first, 2 × first, 4 × first, …, up to a longest
// one. Each delay has a jitter of up to a quarter, so that runs that failed together do not come back
// together.
func Exponential(first, longest time.Duration) Backoff {
	return func(attempt int) time.Duration {
		delay := min(float64(first)*math.Pow(2, float64(attempt-1)), float64(longest))
		return time.Duration(delay * (0.75 + rand.Float64()/2)) //nolint:gosec // no secret
	}
}

// toJSON returns a value as JSON. The methods of users' types may panic.
func toJSON(value any) (data []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			data, err = nil, fmt.Errorf("it cannot be encoded as JSON: %s", shown(cause))
		}
	}()
	return json.Marshal(value)
}

// parametersOf returns the arguments as a JSON object of a limited size; nil if there are none.
func (o *runOptions) parametersOf(client *Client, kind Kind, function string) []byte {
	if !o.hasParameters {
		return nil
	}
	limit := wire.MaxFlowParameters
	if kind == KindTask {
		limit = wire.MaxTaskParameters
	}
	data, err := toJSON(o.parameters)
	switch {
	case err != nil:
	case len(data) == 0 || data[0] != '{':
		err = fmt.Errorf("%T is not an object in JSON: use a struct or a map", o.parameters)
	case len(data) > limit:
		err = fmt.Errorf("they have %d bytes, and at most %d are stored", len(data), limit)
	default:
		return data
	}
	client.config.logger.Warn("flowspan: the parameters of a run are left out", "function", function, "error", err)
	return nil
}

// validLabels returns the labels that the service takes.
func (o *runOptions) validLabels(client *Client, function string) map[string]string {
	valid := map[string]string{}
	for key, value := range o.labels {
		value = wire.Clean(value)
		if !isLabelKey(key) || len(value) > wire.MaxName || len(valid) == wire.MaxLabels {
			client.config.logger.Warn("flowspan: a label is left out", "function", function, "key", key)
			continue
		}
		valid[key] = value
	}
	return valid
}

func isLabelKey(key string) bool {
	if key == "" || len(key) > wire.MaxLabelKey {
		return false
	}
	for _, c := range []byte(key) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '/', c == '-':
		default:
			return false
		}
	}
	return true
}
