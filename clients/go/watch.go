package flowspan

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/rpcerr"
)

// patience is how long a watch or a tail tries to reconnect.
const patience = time.Minute

// WatchEvent is a part of a watch: a current run, the end of the current runs, or a change.
type WatchEvent struct {
	// FlowRun or TaskRun is a run in its current state, at the beginning of the watch, or the run as
	// created, with its first Change.
	FlowRun *FlowRun
	TaskRun *TaskRun
	// SnapshotEnd is true once, when all current runs were sent: changes follow.
	SnapshotEnd bool
	// Change is a transition.
	Change *Transition
	// Token resumes the watch after this event. It is empty for current runs.
	Token string
}

// WatchOption is an option of Watch.
type WatchOption func(*flowspanpb.WatchRequest)

// ResumeAt continues an earlier watch of the same run after the event with this token.
func ResumeAt(token string) WatchOption {
	return func(r *flowspanpb.WatchRequest) { r.ResumeToken = token }
}

// ChangesOnly leaves out the current runs.
func ChangesOnly() WatchOption {
	return func(r *flowspanpb.WatchRequest) {
		r.ChangesOnly = true
		r.Snapshot = flowspanpb.SnapshotScope_SNAPSHOT_SCOPE_NONE
	}
}

// FlowRunsOnly leaves out task runs.
func FlowRunsOnly() WatchOption {
	return func(r *flowspanpb.WatchRequest) { r.FlowRunsOnly = true }
}

// WatchOnly leaves out runs that a filter does not select. Only fields about what never changes are
// allowed. Services without the capability "watch_filters.v1" ignore it.
func WatchOnly(filter *RunFilter) WatchOption {
	return func(r *flowspanpb.WatchRequest) { r.Filter = filter }
}

// ActiveOnly begins with the runs that have not ended, and not with all. Services without the
// capability "watch_filters.v1" ignore it.
func ActiveOnly() WatchOption {
	return func(r *flowspanpb.WatchRequest) { r.Snapshot = flowspanpb.SnapshotScope_SNAPSHOT_SCOPE_ACTIVE }
}

// Watch follows a run and all runs that it called, until it has ended; with an empty id, all runs,
// without an end. It yields the current runs, SnapshotEnd, and then every transition in the order of
// the commits, without gaps or duplicates.
//
// After a broken connection, it resumes where it was, for up to a minute. An error ends the iteration.
func (c *Client) Watch(ctx context.Context, runID string, options ...WatchOption) iter.Seq2[*WatchEvent, error] {
	request := &flowspanpb.WatchRequest{RunId: runID}
	for _, option := range options {
		option(request)
	}
	return func(yield func(*WatchEvent, error) bool) {
		w := watching[flowspanpb.WatchResponse]{client: c}
		sent := map[string]bool{} // current runs that were sent before the connection broke
		w.open = func(ctx context.Context) (grpc.ServerStreamingClient[flowspanpb.WatchResponse], error) {
			return flowspanpb.NewWatchServiceClient(c.conn).Watch(ctx, request)
		}
		w.take = func(response *flowspanpb.WatchResponse) bool {
			if token := response.GetResumeToken(); token != "" {
				request.ResumeToken = token
				clear(sent)
			}
			event := watchEvent(response, sent)
			return event == nil || yield(event, nil)
		}
		if err := w.follow(ctx); err != nil {
			yield(nil, err)
		}
	}
}

// watchEvent returns nil for what the caller need not know.
func watchEvent(response *flowspanpb.WatchResponse, sent map[string]bool) *WatchEvent {
	event := &WatchEvent{Token: response.GetResumeToken()}
	switch item := response.GetItem().(type) {
	case *flowspanpb.WatchResponse_FlowRun:
		event.FlowRun = item.FlowRun
		return onceOnly(event, sent, item.FlowRun.GetId())
	case *flowspanpb.WatchResponse_TaskRun:
		event.TaskRun = item.TaskRun
		return onceOnly(event, sent, item.TaskRun.GetId())
	case *flowspanpb.WatchResponse_SnapshotEnd:
		event.SnapshotEnd = true
	case *flowspanpb.WatchResponse_Change:
		event.Change = item.Change.GetTransition()
		event.FlowRun, event.TaskRun = item.Change.GetFlowRun(), item.Change.GetTaskRun()
	default: // a keep-alive, or a frame of a newer service
		return nil
	}
	return event
}

// onceOnly leaves out a current run that was sent already: a snapshot that was broken off begins anew.
func onceOnly(event *WatchEvent, sent map[string]bool, id string) *WatchEvent {
	if sent[id] {
		return nil
	}
	sent[id] = true
	return event
}

// watching is a stream that is resumed after it broke.
type watching[T any] struct {
	client *Client
	open   func(context.Context) (grpc.ServerStreamingClient[T], error)
	// take returns false to end.
	take func(*T) bool
}

// follow returns nil if the stream ended, or the caller did.
func (w *watching[T]) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := w.client.readYourWrites(ctx); err != nil {
		return err
	}
	var brokenSince time.Time
	for attempt := 1; ; attempt++ {
		progressed, err := w.once(ctx)
		if err == nil {
			return nil
		}
		if progressed {
			brokenSince, attempt = time.Time{}, 1
		}
		details := rpcerr.Of(err)
		if brokenSince.IsZero() {
			brokenSince = time.Now()
		}
		if details.Code != codes.Unavailable && details.Reason != rpcerr.Overloaded || time.Since(brokenSince) > patience {
			return errorOf(err)
		}
		if !pauseBefore(ctx, min(attempt, 6), details.RetryDelay) {
			return errorOf(status.FromContextError(ctx.Err()).Err())
		}
	}
}

func (w *watching[T]) once(ctx context.Context) (progressed bool, err error) {
	stream, err := w.open(ctx)
	if err != nil {
		return false, err
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return progressed, err
		}
		progressed = true
		if !w.take(response) {
			return true, nil
		}
	}
}

// WaitForFlowRun waits until a flow run has ended, and returns it. The service pushes the end: nothing
// polls.
func (c *Client) WaitForFlowRun(ctx context.Context, id string) (*FlowRun, error) {
	for _, err := range c.Watch(ctx, id, FlowRunsOnly(), ChangesOnly()) {
		if err != nil {
			return nil, err
		}
	}
	return c.GetFlowRun(ctx, id)
}
