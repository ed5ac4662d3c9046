package flowspan

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/report"
	"flowspan.dev/go/internal/uuid7"
	"flowspan.dev/go/internal/wire"
)

// Kind tells flow runs from task runs.
type Kind int

// The kinds of runs.
const (
	KindFlow Kind = iota + 1
	KindTask
)

// Run is a run of this process, while its function is called.
type Run struct {
	client   *Client
	parent   *Run
	kind     Kind
	function string
	name     string
	tags     []string
	flowName string // of the flow that the run belongs to; empty if that is not known

	id, rootID                  uuid7.ID
	idText, rootText, flowRunID string
	parentText                  string
	created                     int64
	attempt                     atomic.Int32
	cancel                      context.CancelCauseFunc
	lostLogs                    atomic.Int64
	short                       report.ShortRun

	mu       sync.Mutex
	span     runSpan
	ended    bool
	children int
	idle     chan struct{} // closed when no child is left; nil without a waiter
	panics   []func() *PanicError
}

type (
	runKey    struct{}
	clientKey struct{}
	outerKey  struct{}
)

// RunFromContext returns the innermost run whose function was called with ctx, or one made from it.
func RunFromContext(ctx context.Context) (*Run, bool) {
	run, ok := ctx.Value(runKey{}).(*Run)
	return run, ok
}

// NewContext returns a context in which tasks outside flows report to a client.
func NewContext(ctx context.Context, client *Client) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

// ID returns the id of the run, a UUIDv7.
func (r *Run) ID() string { return r.idText }

// RunID returns the id as well; it makes a Run an Upstream.
func (r *Run) RunID() string { return r.idText }

// RootID returns the id of the run at the top of the tree.
func (r *Run) RootID() string { return r.rootText }

// FlowRunID returns the id of the flow run itself, or of the one that a task run belongs to. It is
// empty for a task outside flows.
func (r *Run) FlowRunID() string {
	if r.kind == KindFlow {
		return r.idText
	}
	return r.flowRunID
}

// Kind returns whether this is a flow run or a task run.
func (r *Run) Kind() Kind { return r.kind }

// FunctionName returns the name of the flow or task.
func (r *Run) FunctionName() string { return r.function }

// Name returns the name of the run. It may be empty.
func (r *Run) Name() string { return r.name }

// Attempt returns the current attempt, counted from 1.
func (r *Run) Attempt() int { return int(r.attempt.Load()) }

// Client returns the client that reports the run.
func (r *Run) Client() *Client { return r.client }

// TraceURL returns the address of the run's trace in the page of a trace viewer, by
// FLOWSPAN_TRACE_URL, or as the service told it. It is empty if neither names one, or if the trace is
// not sampled.
func (r *Run) TraceURL() string {
	span := r.span.own
	if !span.IsSampled() {
		return ""
	}
	return traceURL(r.client.session.Welcome().GetTraceUrl(), span.TraceID().String())
}

func (r *Run) spanContext() trace.SpanContext { return r.span.own }

// Cancel cancels the contexts of the run and of all runs that it called in this process. The run ends
// as CANCELLED when its function returns an error. Use Client.CancelFlowRun for a run of any process.
func (r *Run) Cancel(reason string) {
	r.cancel(&CancelledError{RunID: r.idText, Reason: reason})
}

func (r *Run) context() string { return formatRunContext(r.id, r.rootID) }

func (r *Run) kindName() string {
	if r.kind == KindFlow {
		return "flow"
	}
	return "task"
}

// outer returns the run that started this process or request.
func (r *Run) outer(ctx context.Context) outerContext {
	return outerOf(ctx, r.client)
}

func outerOf(ctx context.Context, client *Client) outerContext {
	if outer, ok := ctx.Value(outerKey{}).(outerContext); ok {
		return outer
	}
	return client.outer
}

// newRun makes a run that is not reported yet. The parent is the run of ctx.
func newRun(ctx context.Context, client *Client, kind Kind, function string, o *runOptions) *Run {
	r := &Run{client: client, kind: kind, function: function, name: o.name, tags: o.tags, id: client.ids.Next()}
	r.idText = r.id.String()
	r.rootID, r.rootText = r.id, r.idText
	r.attempt.Store(1)
	if kind == KindFlow {
		r.flowName = function
	}
	switch parent, ok := RunFromContext(ctx); {
	case ok && parent.client == client:
		r.parent = parent
		r.parentText = parent.idText
		r.rootID, r.rootText = parent.rootID, parent.rootText
		if kind == KindTask {
			r.flowRunID, r.flowName = parent.FlowRunID(), parent.flowName
		}
	case !ok:
		if outer := outerOf(ctx, client); outer.hasRun {
			r.parentText = outer.run.String()
			r.rootID, r.rootText = outer.root, outer.root.String()
		}
		client.clock.Follow()
	}
	r.created = client.clock.Now()
	return r
}

var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

const maxPooled = 64 << 10

// encoded calls a function with the bytes that another one appends.
func encoded(encode func([]byte) []byte, use func([]byte) error) error {
	buffer, _ := scratch.Get().(*[]byte)
	body := encode((*buffer)[:0])
	err := use(body)
	if cap(body) <= maxPooled {
		*buffer = body
		scratch.Put(buffer)
	}
	return err
}

// announce reports the creation of the run. It waits while the outbox is full.
func (r *Run) announce(ctx context.Context, event *wire.RunCreated) error {
	session := r.client.session
	var short *report.ShortRun
	if r.kind == KindTask {
		short = &r.short
	}
	r.client.track(r)
	r.leaveParent()
	err := encoded(
		func(b []byte) []byte { return wire.AppendRunCreated(b, event) },
		func(body []byte) error { return session.Create(ctx, short, r.idText, body) },
	)
	if err != nil {
		r.client.forget(r)
	}
	return err
}

// leaveParent keeps the events of the parent in their order: its creation comes before that of its
// child.
func (r *Run) leaveParent() {
	if r.parent != nil && r.parent.kind == KindTask {
		r.client.session.Leave(&r.parent.short)
	}
}

// begin reports the first state RUNNING.
func (r *Run) begin(state *wire.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended && !r.client.session.Start(&r.short, state.TimeNanos) {
		r.report(state)
	}
}

// enter reports a state between the first RUNNING and the terminal state.
func (r *Run) enter(state *wire.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.client.session.Leave(&r.short)
	r.report(state)
}

// end reports the terminal state, once. After it, nothing more is reported.
func (r *Run) end(state *wire.State) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	r.ended = true
	if lost := r.lostLogs.Load(); lost > 0 {
		r.reportLostLogs(lost)
	}
	r.reportEnd(state)
	r.span.end(state)
	r.mu.Unlock()
	r.client.forget(r)
}

// reportEnd needs the lock.
func (r *Run) reportEnd(state *wire.State) {
	session := r.client.session
	_ = encoded(
		func(b []byte) []byte { return wire.AppendState(b, state) },
		func(body []byte) error {
			if session.End(&r.short, body) {
				return nil
			}
			return session.Force(wire.KindStateEntered, wire.AppendEntered(nil, r.idText, r.attempt.Load(), body))
		},
	)
}

// report needs the lock: it keeps the states of the run in order.
func (r *Run) report(state *wire.State) {
	_ = encoded(
		func(b []byte) []byte { return wire.AppendStateEntered(b, r.idText, r.attempt.Load(), state) },
		func(body []byte) error { return r.client.session.Force(wire.KindStateEntered, body) },
	) // a session that has ended has logged that
}

func (r *Run) reportLostLogs(lost int64) {
	record := wire.Log{
		RunID: r.idText, Level: int(flowspanpb.LogLevel_LOG_LEVEL_WARNING), TimeNanos: r.client.clock.Now(), Logger: clientLogger,
		Message: lostLogsMessage(lost), Attempt: r.attempt.Load(),
	}
	_ = encoded(
		func(b []byte) []byte { return wire.AppendLog(b, &record) },
		func(body []byte) error { return r.client.session.Force(wire.KindLog, body) },
	)
}

// adopt counts a child that runs in a goroutine of its own; leave counts it out.
func (r *Run) adopt() {
	r.mu.Lock()
	r.children++
	r.mu.Unlock()
}

func (r *Run) leave(panicked func() *PanicError) {
	r.mu.Lock()
	if panicked() != nil {
		r.panics = append(r.panics, panicked)
	}
	r.children--
	if r.children == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
	r.mu.Unlock()
}

// awaitChildren waits for the tasks that were started with Go: a run never ends before them. It
// returns the panic of a task that nobody has waited for.
func (r *Run) awaitChildren() *PanicError {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.children > 0 {
		if r.idle == nil {
			r.idle = make(chan struct{})
		}
		idle := r.idle
		r.mu.Unlock()
		<-idle
		r.mu.Lock()
	}
	panics := r.panics
	r.panics = nil
	for _, panicked := range panics {
		if found := panicked(); found != nil {
			return found
		}
	}
	return nil
}

// track makes a run known to commands and signals.
func (c *Client) track(r *Run) {
	c.mu.Lock()
	c.open[r.idText] = r
	c.mu.Unlock()
	if c.config.signals {
		signalHub.add(c)
	}
}

func (c *Client) forget(r *Run) {
	c.mu.Lock()
	delete(c.open, r.idText)
	c.mu.Unlock()
}

// cancelRun handles a command of the service.
func (c *Client) cancelRun(runID, reason string) {
	c.mu.Lock()
	run := c.open[runID]
	c.mu.Unlock()
	if run != nil {
		run.Cancel(reason)
	}
}

// gate waits while the outbox is full, for states whose number is not bounded by that of the runs.
func (r *Run) gate(ctx context.Context) {
	_ = r.client.session.Gate(ctx) // states are never lost, so they are reported in any case
}

// NewRunID returns a new UUIDv7, greater than all that this client made before.
func (c *Client) NewRunID() string { return c.ids.Next().String() }

// now returns the current time of the client's clock.
func (c *Client) now() time.Time { return time.Unix(0, c.clock.Now()) }
