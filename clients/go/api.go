package flowspan

import (
	"context"
	"encoding/json"
	"errors"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/wire"
)

// The messages of the service. Their comments are in the protos of flowspan.
type (
	// FlowRun is one execution of a flow.
	FlowRun = flowspanpb.FlowRun
	// TaskRun is one execution of a task.
	TaskRun = flowspanpb.TaskRun
	// RunFilter selects runs: those that match every field that is set.
	RunFilter = flowspanpb.RunFilter
	// State is a state of a run.
	State = flowspanpb.State
	// Transition is a state in the history of a run.
	Transition = flowspanpb.Transition
	// Verdict is the answer of the rules to a requested transition.
	Verdict = flowspanpb.Verdict
	// LogRecord is a log record of a run.
	LogRecord = flowspanpb.LogRecord
	// Artifact is something that a run shows to people.
	Artifact = flowspanpb.Artifact
	// Variable is a named value.
	Variable = flowspanpb.Variable
	// ServiceInfo is what the service says of itself.
	ServiceInfo = flowspanpb.GetInfoResponse
)

const (
	capabilityCancel = "cancel.v1"
	capabilityGetRun = "get_run.v1"
)

// IsTerminal reports whether a state ends a run.
func IsTerminal(state *State) bool {
	switch state.GetType() {
	case flowspanpb.StateType_STATE_TYPE_COMPLETED, flowspanpb.StateType_STATE_TYPE_FAILED,
		flowspanpb.StateType_STATE_TYPE_CANCELLED, flowspanpb.StateType_STATE_TYPE_CRASHED:
		return true
	default:
		return false
	}
}

// Info returns the version, the configuration and the health of the service.
func (c *Client) Info(ctx context.Context) (*ServiceInfo, error) {
	return flowspanpb.NewSystemServiceClient(c.conn).GetInfo(ctx, &flowspanpb.GetInfoRequest{})
}

func (c *Client) flowRuns() flowspanpb.FlowRunServiceClient {
	return flowspanpb.NewFlowRunServiceClient(c.conn)
}

func (c *Client) taskRuns() flowspanpb.TaskRunServiceClient {
	return flowspanpb.NewTaskRunServiceClient(c.conn)
}

// CreateFlowRun creates a run that no process executes yet. The run needs a FlowName; its state is
// PENDING if it has none, and its id a new one. The id makes the call repeatable.
func (c *Client) CreateFlowRun(ctx context.Context, run *FlowRun) (*FlowRun, error) {
	if run.GetId() == "" {
		run.Id = c.NewRunID()
	}
	if run.GetState() == nil {
		run.State = &State{Type: flowspanpb.StateType_STATE_TYPE_PENDING, Time: timestamp(c.now())}
	}
	answer, err := c.flowRuns().CreateFlowRun(ctx, &flowspanpb.CreateFlowRunRequest{FlowRun: run})
	return answer.GetFlowRun(), err
}

// GetFlowRun returns a flow run.
func (c *Client) GetFlowRun(ctx context.Context, id string) (*FlowRun, error) {
	answer, err := c.flowRuns().GetFlowRun(ctx, &flowspanpb.GetFlowRunRequest{Id: id})
	return answer.GetFlowRun(), err
}

// GetTaskRun returns a task run.
func (c *Client) GetTaskRun(ctx context.Context, id string) (*TaskRun, error) {
	answer, err := c.taskRuns().GetTaskRun(ctx, &flowspanpb.GetTaskRunRequest{Id: id})
	return answer.GetTaskRun(), err
}

// GetRun returns the run with an id, if it is not known whether a flow or a task ran: the other one is
// nil. Services without the capability "get_run.v1" are asked twice.
func (c *Client) GetRun(ctx context.Context, id string) (*FlowRun, *TaskRun, error) {
	can, err := c.can(ctx, capabilityGetRun)
	if err != nil {
		return nil, nil, err
	}
	if can {
		answer, err := flowspanpb.NewRunServiceClient(c.conn).GetRun(ctx, &flowspanpb.GetRunRequest{Id: id})
		return answer.GetFlowRun(), answer.GetTaskRun(), err
	}
	flow, err := c.GetFlowRun(ctx, id)
	if !IsNotFound(err) {
		return flow, nil, err
	}
	task, err := c.GetTaskRun(ctx, id)
	return nil, task, err
}

// ListOption is an option of the lists of runs, artifacts and logs.
type ListOption func(*listOptions)

type listOptions struct {
	oldestFirst bool
	pageSize    int32
}

// OldestFirst lists the oldest first. Without it, lists of runs and artifacts begin with the newest.
func OldestFirst() ListOption { return func(o *listOptions) { o.oldestFirst = true } }

// PageSize sets how many items are fetched at once. The default is the service's.
func PageSize(items int) ListOption {
	return func(o *listOptions) { o.pageSize = int32(min(max(items, 0), 10_000)) }
}

func listed(options []ListOption) listOptions {
	var o listOptions
	for _, option := range options {
		option(&o)
	}
	return o
}

func (o *listOptions) order() flowspanpb.RunOrder {
	if o.oldestFirst {
		return flowspanpb.RunOrder_RUN_ORDER_OLDEST_FIRST
	}
	return flowspanpb.RunOrder_RUN_ORDER_NEWEST_FIRST
}

// pages iterates over the items of all pages. A page is fetched when its first item is needed.
func pages[T any](fetch func(token string) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for token := ""; ; {
			items, next, err := fetch(token)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			token = next
		}
	}
}

// FlowRuns iterates over the flow runs that match a filter (nil: all), the newest first. An error ends
// the iteration.
func (c *Client) FlowRuns(ctx context.Context, filter *RunFilter, options ...ListOption) iter.Seq2[*FlowRun, error] {
	o := listed(options)
	return pages(func(token string) ([]*FlowRun, string, error) {
		answer, err := c.flowRuns().ListFlowRuns(ctx, &flowspanpb.ListFlowRunsRequest{
			Filter: filter, Order: o.order(), PageSize: o.pageSize, PageToken: token,
		})
		return answer.GetFlowRuns(), answer.GetNextPageToken(), err
	})
}

// TaskRuns iterates over the task runs that match a filter, as FlowRuns does.
func (c *Client) TaskRuns(ctx context.Context, filter *RunFilter, options ...ListOption) iter.Seq2[*TaskRun, error] {
	o := listed(options)
	return pages(func(token string) ([]*TaskRun, string, error) {
		answer, err := c.taskRuns().ListTaskRuns(ctx, &flowspanpb.ListTaskRunsRequest{
			Filter: filter, Order: o.order(), PageSize: o.pageSize, PageToken: token,
		})
		return answer.GetTaskRuns(), answer.GetNextPageToken(), err
	})
}

// Flows iterates over all flows, ordered by name.
func (c *Client) Flows(ctx context.Context) iter.Seq2[*flowspanpb.Flow, error] {
	return pages(func(token string) ([]*flowspanpb.Flow, string, error) {
		answer, err := flowspanpb.NewFlowServiceClient(c.conn).ListFlows(ctx, &flowspanpb.ListFlowsRequest{PageToken: token})
		return answer.GetFlows(), answer.GetNextPageToken(), err
	})
}

func counted(counts []*flowspanpb.StateCount) map[flowspanpb.StateType]int64 {
	found := make(map[flowspanpb.StateType]int64, len(counts))
	for _, count := range counts {
		found[count.GetType()] = count.GetCount()
	}
	return found
}

// CountFlowRuns counts the flow runs that match a filter, by the type of their state.
func (c *Client) CountFlowRuns(ctx context.Context, filter *RunFilter) (map[flowspanpb.StateType]int64, error) {
	answer, err := c.flowRuns().CountFlowRuns(ctx, &flowspanpb.CountFlowRunsRequest{Filter: filter})
	return counted(answer.GetCounts()), err
}

// CountTaskRuns counts the task runs that match a filter, by the type of their state.
func (c *Client) CountTaskRuns(ctx context.Context, filter *RunFilter) (map[flowspanpb.StateType]int64, error) {
	answer, err := c.taskRuns().CountTaskRuns(ctx, &flowspanpb.CountTaskRunsRequest{Filter: filter})
	return counted(answer.GetCounts()), err
}

// Cancelled is the answer to a cancellation.
type Cancelled struct {
	// Verdict says whether the run is being cancelled: a run that has ended is REJECTED.
	Verdict *Verdict
	// AskedRuns is the number of runs whose processes were asked to stop them. Services without the
	// capability "cancel.v1" do not say it.
	AskedRuns int64
}

// Accepted reports whether the run is being cancelled, or is cancelled already.
func (c *Cancelled) Accepted() bool {
	switch c.Verdict.GetKind() {
	case flowspanpb.VerdictKind_VERDICT_KIND_ACCEPTED, flowspanpb.VerdictKind_VERDICT_KIND_DUPLICATE:
		return true
	default:
		return false
	}
}

// CancelFlowRun cancels a flow run and all runs that it called, in whichever processes they run. A
// service without the capability "cancel.v1" cancels only those of the run's own process.
func (c *Client) CancelFlowRun(ctx context.Context, id, reason string) (*Cancelled, error) {
	can, err := c.can(ctx, capabilityCancel)
	if err != nil {
		return nil, err
	}
	if can {
		answer, err := c.flowRuns().CancelFlowRun(ctx, &flowspanpb.CancelFlowRunRequest{Id: id, Reason: reason})
		return &Cancelled{answer.GetVerdict(), answer.GetAskedRunCount()}, err
	}
	answer, err := c.flowRuns().SetFlowRunState(ctx, &flowspanpb.SetFlowRunStateRequest{Id: id, State: cancelling(reason)})
	return &Cancelled{Verdict: answer.GetVerdict()}, err
}

// CancelTaskRun cancels a task run and all runs that it called, as CancelFlowRun does.
func (c *Client) CancelTaskRun(ctx context.Context, id, reason string) (*Cancelled, error) {
	can, err := c.can(ctx, capabilityCancel)
	if err != nil {
		return nil, err
	}
	if can {
		answer, err := c.taskRuns().CancelTaskRun(ctx, &flowspanpb.CancelTaskRunRequest{Id: id, Reason: reason})
		return &Cancelled{answer.GetVerdict(), answer.GetAskedRunCount()}, err
	}
	answer, err := c.taskRuns().SetTaskRunState(ctx, &flowspanpb.SetTaskRunStateRequest{Id: id, State: cancelling(reason)})
	return &Cancelled{Verdict: answer.GetVerdict()}, err
}

func cancelling(reason string) *State {
	return &State{Type: flowspanpb.StateType_STATE_TYPE_CANCELLING, Message: reason}
}

// DeleteFlowRun deletes a flow run and all runs that it called, with their histories and logs. It
// returns how many runs were deleted. Unless force is set, the runs must have ended.
func (c *Client) DeleteFlowRun(ctx context.Context, id string, force bool) (int64, error) {
	answer, err := c.flowRuns().DeleteFlowRun(ctx, &flowspanpb.DeleteFlowRunRequest{Id: id, Force: force})
	return answer.GetDeletedRunCount(), err
}

const historyPage = 10_000

// FlowRunHistory iterates over the transitions of a flow run, in order.
func (c *Client) FlowRunHistory(ctx context.Context, id string) iter.Seq2[*Transition, error] {
	return pages(func(token string) ([]*Transition, string, error) {
		answer, err := c.flowRuns().ListFlowRunTransitions(ctx, &flowspanpb.ListFlowRunTransitionsRequest{
			Id: id, PageSize: historyPage, PageToken: token,
		})
		return answer.GetTransitions(), answer.GetNextPageToken(), err
	})
}

// TaskRunHistory iterates over the transitions of a task run, in order.
func (c *Client) TaskRunHistory(ctx context.Context, id string) iter.Seq2[*Transition, error] {
	return pages(func(token string) ([]*Transition, string, error) {
		answer, err := c.taskRuns().ListTaskRunTransitions(ctx, &flowspanpb.ListTaskRunTransitionsRequest{
			Id: id, PageSize: historyPage, PageToken: token,
		})
		return answer.GetTransitions(), answer.GetNextPageToken(), err
	})
}

// CreateArtifact creates an artifact outside runs, or for any run. Its id is a new one if it has none.
func (c *Client) CreateArtifact(ctx context.Context, artifact *Artifact) (*Artifact, error) {
	if artifact.GetId() == "" {
		artifact.Id = c.NewRunID()
	}
	answer, err := c.artifacts().CreateArtifact(ctx, &flowspanpb.CreateArtifactRequest{Artifact: artifact})
	return answer.GetArtifact(), err
}

func (c *Client) artifacts() flowspanpb.ArtifactServiceClient {
	return flowspanpb.NewArtifactServiceClient(c.conn)
}

// UpdateArtifact changes the data of an artifact, as JSON.
func (c *Client) UpdateArtifact(ctx context.Context, id string, value any) (*Artifact, error) {
	data, err := toJSON(value)
	if err != nil {
		return nil, configError("the data of the artifact: %v", err)
	}
	answer, err := c.artifacts().UpdateArtifact(ctx, &flowspanpb.UpdateArtifactRequest{
		Change: &flowspanpb.ArtifactChange{Id: id, Data: jsonPayload(data)},
	})
	return answer.GetArtifact(), err
}

// GetArtifact returns an artifact by its id.
func (c *Client) GetArtifact(ctx context.Context, id string) (*Artifact, error) {
	answer, err := c.artifacts().GetArtifact(ctx, &flowspanpb.GetArtifactRequest{Which: &flowspanpb.GetArtifactRequest_Id{Id: id}})
	return answer.GetArtifact(), err
}

// LatestArtifact returns the latest artifact of a key.
func (c *Client) LatestArtifact(ctx context.Context, key string) (*Artifact, error) {
	answer, err := c.artifacts().GetArtifact(ctx, &flowspanpb.GetArtifactRequest{Which: &flowspanpb.GetArtifactRequest_Key{Key: key}})
	return answer.GetArtifact(), err
}

// Artifacts iterates over the artifacts that match a filter (nil: all), the newest first.
func (c *Client) Artifacts(ctx context.Context, filter *flowspanpb.ArtifactFilter, options ...ListOption) iter.Seq2[*Artifact, error] {
	o := listed(options)
	return pages(func(token string) ([]*Artifact, string, error) {
		answer, err := c.artifacts().ListArtifacts(ctx, &flowspanpb.ListArtifactsRequest{
			Filter: filter, Order: o.order(), PageSize: o.pageSize, PageToken: token,
		})
		return answer.GetArtifacts(), answer.GetNextPageToken(), err
	})
}

// DeleteArtifact deletes an artifact. It succeeds if there is nothing to delete.
func (c *Client) DeleteArtifact(ctx context.Context, id string) error {
	_, err := c.artifacts().DeleteArtifact(ctx, &flowspanpb.DeleteArtifactRequest{Which: &flowspanpb.DeleteArtifactRequest_Id{Id: id}})
	return err
}

func (c *Client) variables() flowspanpb.VariableServiceClient {
	return flowspanpb.NewVariableServiceClient(c.conn)
}

// SetVariable sets a variable to a value, as JSON, and replaces an existing one.
func (c *Client) SetVariable(ctx context.Context, name string, value any, tags ...string) (*Variable, error) {
	data, err := toJSON(value)
	if err != nil {
		return nil, configError("the value of the variable %q: %v", name, err)
	}
	answer, err := c.variables().SetVariable(ctx, &flowspanpb.SetVariableRequest{
		Variable: &Variable{Name: name, Value: jsonPayload(data), Tags: tags}, Overwrite: true,
	})
	return answer.GetVariable(), err
}

// GetVariable returns a variable. Use DecodeJSON for its value.
func (c *Client) GetVariable(ctx context.Context, name string) (*Variable, error) {
	answer, err := c.variables().GetVariable(ctx, &flowspanpb.GetVariableRequest{Name: name})
	return answer.GetVariable(), err
}

// Variables iterates over the variables whose name begins with a prefix, ordered by name.
func (c *Client) Variables(ctx context.Context, prefix string) iter.Seq2[*Variable, error] {
	return pages(func(token string) ([]*Variable, string, error) {
		answer, err := c.variables().ListVariables(ctx, &flowspanpb.ListVariablesRequest{NamePrefix: prefix, PageToken: token})
		return answer.GetVariables(), answer.GetNextPageToken(), err
	})
}

// DeleteVariable deletes a variable, and reports whether it existed.
func (c *Client) DeleteVariable(ctx context.Context, name string) (bool, error) {
	answer, err := c.variables().DeleteVariable(ctx, &flowspanpb.DeleteVariableRequest{Name: name})
	return answer.GetDeleted(), err
}

// SetLabels sets labels of a run and removes others. It returns all labels of the run.
func (c *Client) SetLabels(ctx context.Context, runID string, labels map[string]string, removed ...string) (map[string]string, error) {
	answer, err := flowspanpb.NewLabelServiceClient(c.conn).SetLabels(ctx, &flowspanpb.SetLabelsRequest{
		RunId: runID, Labels: labels, RemovedKeys: removed,
	})
	return answer.GetLabels(), err
}

// GetLabels returns all labels of a run.
func (c *Client) GetLabels(ctx context.Context, runID string) (map[string]string, error) {
	answer, err := flowspanpb.NewLabelServiceClient(c.conn).GetLabels(ctx, &flowspanpb.GetLabelsRequest{RunId: runID})
	return answer.GetLabels(), err
}

// IsNotFound reports whether an error says that a run, flow, artifact or variable does not exist.
func IsNotFound(err error) bool {
	var failure *Error
	return errors.As(err, &failure) && failure.Code == codes.NotFound
}

// Conn returns the connection, for the generated stubs of flowspanpb. Calls have the deadline, the
// token and the retries of the client.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// DecodeJSON decodes a payload with the encoding "json": parameters, results, variables, artifacts.
func DecodeJSON(payload *flowspanpb.Payload, value any) error {
	if payload.GetEncoding() != wire.EncodingJSON {
		return configError("the payload has the encoding %q, not %q", payload.GetEncoding(), wire.EncodingJSON)
	}
	data := payload.GetData()
	if len(data) == 0 {
		data = []byte(payload.GetText())
	}
	return json.Unmarshal(data, value)
}
