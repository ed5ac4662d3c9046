package flowspan

import (
	"context"
	"errors"
	"reflect"
	"runtime/debug"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/report"
	"flowspan.dev/go/internal/wire"
)

// Flow calls a function as a run of a flow, and returns what it returns.
//
// The function gets a context with the run: tasks and flows that are called with it are children of
// the run. The run ends as COMPLETED, or as FAILED if the function returns an error or panics; a panic
// continues after that. If the run is cancelled, the context is cancelled, and the run ends as
// CANCELLED if the function returns an error: Flow returns a CancelledError with it.
//
// At the end of an outermost flow, Flow waits until the service has stored everything (see
// WithFlushTimeout). Flow fails without calling the function only if the client is closed, or if ctx
// ends, or WithBlockTimeout passes, while the outbox is full.
func Flow[T any](ctx context.Context, client *Client, name string, fn func(context.Context) (T, error), options ...RunOption) (T, error) {
	var result T
	call, err := begin(ctx, client, KindFlow, name, reflect.ValueOf(fn).Pointer(), options)
	if err != nil {
		return result, err
	}
	err = call.perform(
		func(ctx context.Context) (err error) { result, err = fn(ctx); return err },
		func() any { return result },
	)
	return result, err
}

// Task calls a function as a run of a task, and returns what it returns. The run is a child of the run
// of ctx. Outside runs, it needs a context made by NewContext. Everything else is as for Flow.
func Task[T any](ctx context.Context, name string, fn func(context.Context) (T, error), options ...RunOption) (T, error) {
	var result T
	call, err := begin(ctx, nil, KindTask, name, reflect.ValueOf(fn).Pointer(), options)
	if err != nil {
		return result, err
	}
	err = call.perform(
		func(ctx context.Context) (err error) { result, err = fn(ctx); return err },
		func() any { return result },
	)
	return result, err
}

// call is a run with its options and contexts.
type call struct {
	run     *Run
	options runOptions
	ctx     context.Context //nolint:containedctx // of the run, which is one call
	// stack is that of the panic with which perform ends.
	stack []byte
}

var errNoClient = &Error{
	Code:    codes.FailedPrecondition,
	Message: "a task was called outside flows with a context that has no client.",
	Advice:  "Use flowspan.NewContext(ctx, client).",
	cause:   status.Error(codes.FailedPrecondition, "no client"),
}

// begin creates and announces a run.
func begin(ctx context.Context, client *Client, kind Kind, name string, pc uintptr, options []RunOption) (*call, error) {
	if client == nil {
		if parent, ok := RunFromContext(ctx); ok {
			client = parent.client
		} else if found, ok := ctx.Value(clientKey{}).(*Client); ok {
			client = found
		} else {
			return nil, errNoClient
		}
	}
	c := &call{}
	for _, option := range options {
		option(&c.options)
	}
	if name = wire.Clip(name, wire.MaxName); name == "" {
		name = "unnamed"
	}
	r := newRun(ctx, client, kind, name, &c.options)
	c.run = r
	code := codeOf(pc)
	ctx = context.WithValue(ctx, runKey{}, r)
	ctx, r.cancel = context.WithCancelCause(ctx)
	ctx, said := r.startSpan(ctx, code, c.options.links)
	c.ctx = ctx
	event := wire.RunCreated{
		RunID: r.idText, Kind: flowspanpb.RunKind_RUN_KIND_TASK, FunctionName: name, RunName: r.name,
		ParentRunID: r.parentText, RootRunID: r.rootText, FlowRunID: r.flowRunID, TimeNanos: r.created,
		Tags: r.tags, Trace: said, Inputs: c.options.inputs,
		Definition: definitionOf(pc, code, &c.options),
		Parameters: c.options.parametersOf(client, kind, name),
	}
	if kind == KindFlow {
		event.Kind = flowspanpb.RunKind_RUN_KIND_FLOW
	}
	if c.options.labels != nil {
		event.Labels = c.options.validLabels(client, name)
	}
	if err := r.announce(ctx, &event); err != nil {
		var ended *report.EndedError
		if !errors.As(err, &ended) { // a broken report does not break the work
			r.cancel(err)
			r.span.end(&wire.State{Type: flowspanpb.StateType_STATE_TYPE_CANCELLED, Name: "Cancelled", TimeNanos: client.clock.Now()})
			return nil, sessionError(err)
		}
	}
	return c, nil
}

// outcome is how the function of an attempt ended.
type outcome struct {
	err      error
	timedOut bool
	panicked bool
	value    any
	stack    []byte
}

// perform calls the function, again if it is to be retried, and closes the run in any case.
func (c *call) perform(body func(context.Context) error, result func() any) error {
	r := c.run
	defer r.cancel(nil)
	state := wire.State{Type: flowspanpb.StateType_STATE_TYPE_RUNNING, Name: "Running", TimeNanos: r.client.clock.Now()}
	r.begin(&state)
	for {
		out := c.attempt(state.TimeNanos, body)
		ended, err := c.judge(&out)
		if delay, again := c.mayRetry(&ended, &out); again {
			stopped, failure := c.awaitRetry(&ended, delay)
			if stopped == nil {
				state.Name, state.Message, state.TimeNanos = "Retrying", ended.Message, r.client.clock.Now()
				r.enter(&state)
				continue
			}
			ended, err = *stopped, failure
		}
		c.close(&ended, &out, result)
		if out.panicked {
			c.stack = out.stack
			panic(out.value)
		}
		return err
	}
}

// attempt calls the function once.
func (c *call) attempt(now int64, body func(context.Context) error) (out outcome) {
	r := c.run
	r.mu.Lock()
	ctx := r.span.attempt(c.ctx, r.function, r.attempt.Load(), now)
	r.mu.Unlock()
	var limit *TimeoutError
	if c.options.timeout > 0 {
		limit = &TimeoutError{RunName: r.displayName(), Limit: c.options.timeout}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.options.timeout, limit)
		defer cancel()
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		if value := recover(); value != nil {
			out = outcome{panicked: true, value: value, stack: debug.Stack()}
			_ = r.awaitChildren() // the first panic is the one that continues
			return
		}
		// runtime.Goexit: nothing after this function runs in this goroutine.
		_ = r.awaitChildren() // the goroutine ends, whatever its tasks do
		r.end(&wire.State{
			Type: flowspanpb.StateType_STATE_TYPE_CRASHED, Name: "Crashed",
			Message: "The goroutine ended in the function (runtime.Goexit).", TimeNanos: r.client.clock.Now(),
		})
	}()
	if out.err = ctx.Err(); out.err == nil { // a cancelled run does not begin
		out.err = body(ctx)
	}
	returned = true
	if panicked := r.awaitChildren(); panicked != nil {
		return outcome{panicked: true, value: panicked, stack: panicked.Stack}
	}
	if limit != nil && out.err != nil && context.Cause(ctx) == error(limit) { //nolint:errorlint // this one
		limit.Err = out.err
		out.err, out.timedOut = limit, true
	}
	return out
}

// judge returns the terminal state of an attempt, and the error for the caller.
func (c *call) judge(out *outcome) (wire.State, error) {
	r := c.run
	state := wire.State{Type: flowspanpb.StateType_STATE_TYPE_FAILED, Name: "Failed", TimeNanos: r.client.clock.Now()}
	if out.panicked {
		state.Failure = panicFailure(out)
		state.Message = wire.Shorten("panic: "+state.Failure.GetMessage(), wire.MaxMessage)
		return state, nil
	}
	err := out.err
	if err == nil {
		state.Type, state.Name = flowspanpb.StateType_STATE_TYPE_COMPLETED, "Completed"
		return state, nil
	}
	cause := context.Cause(c.ctx)
	var stop *interrupted
	var cancelled *CancelledError
	switch {
	case errors.As(cause, &stop):
		state.Type, state.Name, state.Message = flowspanpb.StateType_STATE_TYPE_CRASHED, "Crashed", stop.message
	case errors.As(cause, &cancelled):
		state.Type, state.Name, state.Message = flowspanpb.StateType_STATE_TYPE_CANCELLED, "Cancelled", cancelMessage(cancelled)
		if !errors.As(err, new(*CancelledError)) {
			err = &CancelledError{RunID: cancelled.RunID, Reason: cancelled.Reason, Err: err}
		}
	case errors.As(err, &cancelled):
		state.Type, state.Name, state.Message = flowspanpb.StateType_STATE_TYPE_CANCELLED, "Cancelled", cancelMessage(cancelled)
	case out.timedOut:
		state.Name, state.Message, state.Failure = "TimedOut", wire.Shorten(shown(err), wire.MaxMessage), failureOf(err)
	case cause != nil && (errors.Is(err, c.ctx.Err()) || errors.Is(err, cause)):
		state.Type, state.Name = flowspanpb.StateType_STATE_TYPE_CANCELLED, "Cancelled"
		state.Message = wire.Shorten("Stopped: "+shown(cause), wire.MaxMessage)
	default:
		state.Failure = failureOf(err)
		state.Message = wire.Shorten(state.Failure.GetMessage(), wire.MaxMessage)
	}
	return state, err
}

func cancelMessage(cancelled *CancelledError) string {
	if cancelled.Reason == "" {
		return "The run was cancelled."
	}
	return wire.Shorten(cancelled.Reason, wire.MaxMessage)
}

// mayRetry reports whether another attempt follows, and after which delay.
func (c *call) mayRetry(state *wire.State, out *outcome) (time.Duration, bool) {
	o := &c.options
	if state.Type != flowspanpb.StateType_STATE_TYPE_FAILED || out.panicked || c.run.Attempt() > o.retries || c.ctx.Err() != nil {
		return 0, false
	}
	if o.retryIf != nil && !o.retryIf(out.err) {
		return 0, false
	}
	if o.backoff == nil {
		return 0, true
	}
	return max(o.backoff(c.run.Attempt()), 0), true
}

// awaitRetry waits until the next attempt. It returns a state instead if the run is cancelled.
func (c *call) awaitRetry(failed *wire.State, delay time.Duration) (*wire.State, error) {
	r := c.run
	r.gate(c.ctx)
	now := r.client.clock.Now()
	r.mu.Lock()
	r.span.attemptFailed(r.function, r.attempt.Load(), failed.Failure, failed.Message, delay, now)
	r.mu.Unlock()
	if delay > 0 {
		r.enter(&wire.State{
			Type: flowspanpb.StateType_STATE_TYPE_SCHEDULED, Name: "AwaitingRetry", Message: failed.Message,
			TimeNanos: now, ScheduledNanos: now + int64(delay),
		})
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			stopped, err := c.judge(&outcome{err: c.ctx.Err()})
			return &stopped, err
		}
	}
	r.mu.Lock()
	r.attempt.Add(1)
	r.mu.Unlock()
	return nil, nil //nolint:nilnil // no state: the next attempt follows
}

// close reports the terminal state, and waits for the service at the end of an outermost flow.
func (c *call) close(state *wire.State, out *outcome, result func() any) {
	r := c.run
	if c.options.recordResult && state.Type == flowspanpb.StateType_STATE_TYPE_COMPLETED {
		data, err := toJSON(result())
		if err == nil && len(data) <= wire.MaxPayload {
			state.Result = data
		} else {
			r.client.config.logger.Warn("flowspan: a result is left out", "run_id", r.idText, "bytes", len(data), "error", err)
		}
	}
	r.end(state)
	if r.kind != KindFlow || r.parent != nil || out.panicked {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), r.client.config.flushTimeout)
	defer cancel()
	if err := r.client.session.Flush(ctx); err != nil && !errors.As(err, new(*report.EndedError)) {
		r.client.config.logger.Warn("flowspan: the service has not stored all events of a run yet; they are kept in memory",
			"run_id", r.idText, "error", err)
	}
}

func (r *Run) displayName() string {
	if r.name != "" {
		return r.name
	}
	return r.function
}
