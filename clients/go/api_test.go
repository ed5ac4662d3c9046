package flowspan_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
)

func nothing(context.Context) (int, error) { return 0, nil }

func TestAnErrorIsTyped(t *testing.T) {
	client := connect(t)
	_, err := client.GetFlowRun(ctxOf(t), client.NewRunID())
	var failure *flowspan.Error
	if !errors.As(err, &failure) {
		t.Fatal(err)
	}
	if failure.Code != codes.NotFound || failure.Reason != "NOT_FOUND" || failure.Retryable() || !flowspan.IsNotFound(err) {
		t.Errorf("%+v", failure)
	}
	_, err = client.GetFlowRun(ctxOf(t), "nonsense")
	if !errors.As(err, &failure) || failure.Reason != "INVALID_FIELD" || failure.Metadata["field"] == "" {
		t.Errorf("%+v", failure)
	}
}

func TestNoServiceIsAClearError(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	_, err = flowspan.Connect(ctxOf(t), flowspan.WithAddress(address), flowspan.WithTimeout(2*time.Second))
	var failure *flowspan.Error
	if !errors.As(err, &failure) || !failure.Retryable() || !strings.Contains(err.Error(), "no service answers at "+address) || !strings.Contains(err.Error(), "flowspan server start") {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"localhost", "http://localhost:4600", "localhost:0", "localhost:70000", "unix:relative", ":4600"} {
		_, err := flowspan.Connect(ctxOf(t), flowspan.WithAddress(bad))
		var failure *flowspan.Error
		if !errors.As(err, &failure) || failure.Code != codes.InvalidArgument || !strings.Contains(err.Error(), bad) {
			t.Error(bad, err)
		}
	}
	client := connectTo(t, "unix:"+filepath.Join(service.Home, "service.sock"))
	if _, err := client.Info(ctxOf(t)); err != nil {
		t.Error(err)
	}
}

func TestTheLocalServiceIsFoundByItsPublishedAddress(t *testing.T) {
	t.Setenv("FLOWSPAN_HOME", service.Home)
	client, err := flowspan.Connect(ctxOf(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(ctxOf(t)) }()
	info, err := client.Info(ctxOf(t))
	if err != nil || !strings.Contains(info.GetDatabaseLocation(), service.Home) {
		t.Error(info, err)
	}
}

func TestTheTokenFileIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	t.Setenv("FLOWSPAN_TOKEN_FILE", file)
	_, err := flowspan.Connect(ctxOf(t), flowspan.WithAddress(service.Address))
	if err == nil || !strings.Contains(err.Error(), "FLOWSPAN_TOKEN_FILE") {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	connect(t) // a service without tokens ignores it
}

func TestListsFetchPagesOnDemand(t *testing.T) {
	client := connect(t)
	name := t.Name()
	for range 5 {
		if _, err := flowspan.Flow(ctxOf(t), client, name, nothing); err != nil {
			t.Fatal(err)
		}
	}
	filter := &flowspan.RunFilter{FunctionNames: []string{name}}
	var ids []string
	for run, err := range client.FlowRuns(ctxOf(t), filter, flowspan.PageSize(2), flowspan.OldestFirst()) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, run.GetId())
	}
	if len(ids) != 5 || ids[0] >= ids[1] || ids[1] >= ids[4] {
		t.Error(ids)
	}
	for run := range client.FlowRuns(ctxOf(t), filter, flowspan.PageSize(2)) {
		if run.GetId() != ids[4] {
			t.Error(run.GetId())
		}
		break
	}
	counts, err := client.CountFlowRuns(ctxOf(t), filter)
	if err != nil || counts[flowspanpb.StateType_STATE_TYPE_COMPLETED] != 5 {
		t.Error(counts, err)
	}
	if deleted, err := client.DeleteFlowRun(ctxOf(t), ids[0], false); deleted != 1 || err != nil {
		t.Error(deleted, err)
	}
	for _, err := range client.FlowRuns(ctxOf(t), &flowspan.RunFilter{IdPrefix: "?"}) {
		if err == nil {
			t.Error("no error")
		}
	}
	var names []string
	for flow, err := range client.Flows(ctxOf(t)) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, flow.GetName())
	}
	if !strings.Contains(strings.Join(names, " "), name) {
		t.Error(names)
	}
}

func TestACreatedRunCanBeCancelledAndAwaited(t *testing.T) {
	client := connect(t)
	run, err := client.CreateFlowRun(ctxOf(t), &flowspan.FlowRun{FlowName: "planned"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan *flowspan.FlowRun, 1)
	go func() {
		run, err := client.WaitForFlowRun(context.Background(), run.GetId())
		if err != nil {
			t.Error(err)
		}
		ended <- run
	}()
	answer, err := client.CancelFlowRun(ctxOf(t), run.GetId(), "no more")
	if err != nil || !answer.Accepted() {
		t.Fatal(answer, err)
	}
	if state := (<-ended).GetState(); state.GetType() != flowspanpb.StateType_STATE_TYPE_CANCELLED {
		t.Error(state)
	}
	if answer, err := client.CancelFlowRun(ctxOf(t), run.GetId(), ""); err != nil || answer.Accepted() {
		t.Error("an ended run was cancelled", answer, err)
	}
}

func TestWatchSeesEveryTransition(t *testing.T) {
	client := connect(t)
	writer := connect(t)
	planned := make(chan string, 1)
	release := make(chan struct{})
	go func() {
		_, err := flowspan.Flow(context.Background(), writer, "watched", func(ctx context.Context) (int, error) {
			if err := writer.Flush(ctx); err != nil {
				return 0, err
			}
			planned <- current(ctx).ID()
			<-release
			return flowspan.Task(ctx, "watched", nothing)
		})
		if err != nil {
			t.Error(err)
		}
	}()
	id := <-planned
	var seen []string
	for event, err := range client.Watch(ctxOf(t), id) {
		switch {
		case err != nil:
			t.Fatal(err)
		case event.SnapshotEnd:
			seen = append(seen, "end")
			close(release)
		case event.Change != nil:
			seen = append(seen, fmt.Sprintf("%s %t", event.Change.GetState().GetName(), event.TaskRun != nil))
		default:
			seen = append(seen, event.FlowRun.GetState().GetName())
		}
	}
	same(t, seen, []string{"Running", "end", "Pending true", "Running false", "Completed false", "Completed false"})
}

func TestGetRunFindsBothKinds(t *testing.T) {
	client := connect(t)
	var flow, task *flowspan.Run
	if _, err := flowspan.Flow(ctxOf(t), client, "either", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		return flowspan.Task(ctx, "either", func(ctx context.Context) (int, error) { task = current(ctx); return 0, nil })
	}); err != nil {
		t.Fatal(err)
	}
	if run, none, err := client.GetRun(ctxOf(t), flow.ID()); err != nil || run.GetId() != flow.ID() || none != nil {
		t.Error(run, none, err)
	}
	if none, run, err := client.GetRun(ctxOf(t), task.ID()); err != nil || run.GetId() != task.ID() || none != nil {
		t.Error(run, none, err)
	}
	if _, _, err := client.GetRun(ctxOf(t), client.NewRunID()); !flowspan.IsNotFound(err) {
		t.Error(err)
	}
}

func TestAWatchCanBeFiltered(t *testing.T) {
	client := connect(t)
	ctx, stop := context.WithCancel(ctxOf(t))
	defer stop()
	for event, err := range client.Watch(ctx, "", flowspan.ActiveOnly(), flowspan.FlowRunsOnly(), flowspan.WatchOnly(&flowspan.RunFilter{FunctionNames: []string{t.Name()}})) {
		switch {
		case err != nil:
			t.Fatal(err)
		case event.SnapshotEnd:
			for _, name := range []string{"another", t.Name()} {
				if _, err := flowspan.Flow(ctx, client, name, nothing); err != nil {
					t.Fatal(err)
				}
			}
		case event.FlowRun.GetFlowName() != t.Name():
			t.Fatal(event)
		}
		if event.Change != nil {
			break
		}
	}
}

func TestVariablesAndArtifacts(t *testing.T) {
	client := connect(t)
	if _, err := client.SetVariable(ctxOf(t), "go-limit", map[string]int{"n": 3}, "x"); err != nil {
		t.Fatal(err)
	}
	variable, err := client.GetVariable(ctxOf(t), "go-limit")
	var value map[string]int
	if err != nil || flowspan.DecodeJSON(variable.GetValue(), &value) != nil || value["n"] != 3 {
		t.Error(variable, err)
	}
	for variable, err := range client.Variables(ctxOf(t), "go-") {
		if err != nil || variable.GetName() != "go-limit" {
			t.Error(variable, err)
		}
	}
	if existed, err := client.DeleteVariable(ctxOf(t), "go-limit"); !existed || err != nil {
		t.Error(existed, err)
	}
	var run *flowspan.Run
	_, err = flowspan.Flow(ctxOf(t), client, "artifacts", func(ctx context.Context) (int, error) {
		run = current(ctx)
		progress, err := flowspan.NewProgress(ctx)
		if err != nil {
			return 0, err
		}
		_, markdown := flowspan.Markdown(ctx, "# Hi\x00", flowspan.Key("go-hi"), flowspan.About("says hi"))
		_, table := flowspan.Table(ctx, []map[string]int{{"a": 1}})
		_, link := flowspan.Link(ctx, "https://example.com", "")
		_, image := flowspan.Image(ctx, "https://example.com/x.png")
		return 0, errors.Join(markdown, table, link, image, progress.Set(ctx, 50), progress.Set(ctx, 130))
	})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for artifact, err := range client.Artifacts(ctxOf(t), &flowspanpb.ArtifactFilter{RunId: run.ID()}, flowspan.OldestFirst()) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, artifact.GetType()+" "+string(artifact.GetData().GetData()))
	}
	same(t, found, []string{
		"progress 100", `markdown "# Hi␀"`, `table [{"a":1}]`, `link "[https://example.com](https://example.com)"`, `image "https://example.com/x.png"`,
	})
	latest, err := client.LatestArtifact(ctxOf(t), "go-hi")
	if err != nil || latest.GetDescription() != "says hi" {
		t.Error(latest, err)
	}
	if _, err := flowspan.Markdown(ctxOf(t), "x"); err == nil {
		t.Error("an artifact outside runs")
	}
	if updated, err := client.UpdateArtifact(ctxOf(t), latest.GetId(), "new"); err != nil || string(updated.GetData().GetData()) != `"new"` {
		t.Error(updated, err)
	}
	if err := client.DeleteArtifact(ctxOf(t), latest.GetId()); err != nil {
		t.Error(err)
	}
}
