package flowspan_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
)

var errOops = errors.New("oops")

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestFlowAndTasksAreReportedAsATree(t *testing.T) {
	client := connect(t)
	var flow, outer, inner, sub *flowspan.Run
	got, err := flowspan.Flow(ctxOf(t), client, "tree", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		return flowspan.Task(ctx, "outer", func(ctx context.Context) (int, error) {
			outer = current(ctx)
			_, err := flowspan.Flow(ctx, client, "sub", func(ctx context.Context) (int, error) {
				sub = current(ctx)
				return flowspan.Task(ctx, "inner", func(ctx context.Context) (int, error) {
					inner = current(ctx)
					return 1, nil
				})
			})
			return 42, err
		})
	})
	if got != 42 || err != nil {
		t.Fatal(got, err)
	}
	for _, run := range []*flowspan.Run{flow, outer, inner, sub} {
		same(t, history(t, client, run), []string{"1 PENDING Pending", "1 RUNNING Running", "1 COMPLETED Completed"})
	}
	found := taskRun(t, client, inner.ID())
	if found.GetParentRunId() != sub.ID() || found.GetRootRunId() != flow.ID() || found.GetFlowRunId() != sub.ID() {
		t.Error(found)
	}
	if found := taskRun(t, client, outer.ID()); found.GetFlowRunId() != flow.ID() || found.GetParentRunId() != flow.ID() {
		t.Error(found)
	}
	if found := flowRun(t, client, flow.ID()); found.GetRootRunId() != flow.ID() || found.GetFlowName() != "tree" {
		t.Error(found)
	}
}

func TestDetailsOfARun(t *testing.T) {
	client := connect(t)
	var flow, first, second *flowspan.Run
	_, err := flowspan.Flow(ctxOf(t), client, "details", func(ctx context.Context) ([]int, error) {
		flow = current(ctx)
		future := flowspan.Go(ctx, "first", func(ctx context.Context) (int, error) {
			first = current(ctx)
			return 1, nil
		}, flowspan.Parameters(map[string]int{"n": 1}), flowspan.Retries(2, nil))
		one, err := future.Wait(ctx)
		if err != nil {
			return nil, err
		}
		_, err = flowspan.Task(ctx, "second", func(ctx context.Context) (int, error) {
			second = current(ctx)
			return one + 1, nil
		}, flowspan.Input("one", future))
		return []int{1, 2}, err
	},
		flowspan.Name("bra\x00ve"), flowspan.Tags("a", "b"), flowspan.Description("Says much."), flowspan.CodeVersion("7"),
		flowspan.Parameters(struct {
			Day string `json:"day"`
		}{"monday"}),
		flowspan.Labels(map[string]string{"team": "data", "NOT valid": "x"}), flowspan.RecordResult())
	if err != nil {
		t.Fatal(err)
	}
	run := flowRun(t, client, flow.ID())
	got := []string{run.GetName(), strings.Join(run.GetTags(), ","), run.GetDescription(), run.GetFlowVersion(), string(run.GetParameters().GetData()), string(run.GetState().GetResult().GetData())}
	same(t, got, []string{"bra␀ve", "a,b", "Says much.", "7", `{"day":"monday"}`, "[1,2]"})
	if !strings.HasSuffix(run.GetCode().GetFilePath(), "flow_test.go") || run.GetCode().GetLine() == 0 || !strings.Contains(run.GetCode().GetFunction(), "TestDetailsOfARun") {
		t.Error(run.GetCode())
	}
	labels, err := client.GetLabels(ctxOf(t), flow.ID())
	if err != nil || len(labels) != 1 || labels["team"] != "data" {
		t.Error(labels, err)
	}
	task := taskRun(t, client, first.ID())
	if task.GetMaxAttempts() != 3 || string(task.GetParameters().GetData()) != `{"n":1}` {
		t.Error(task)
	}
	inputs := taskRun(t, client, second.ID()).GetInputs()
	if len(inputs) != 1 || inputs[0].GetRunId() != first.ID() || inputs[0].GetParameter() != "one" {
		t.Error(inputs)
	}
}

func TestRetriesHaveTheHistoryOfTheDocs(t *testing.T) {
	client := connect(t)
	var flow *flowspan.Run
	var tasks []*flowspan.Run
	_, err := flowspan.Flow(ctxOf(t), client, "retried", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		for _, backoff := range []flowspan.Backoff{flowspan.Constant(time.Millisecond), nil} {
			calls := 0
			value, err := flowspan.Task(ctx, "flaky", func(ctx context.Context) (int, error) {
				if calls++; calls == 1 {
					tasks = append(tasks, current(ctx))
					return 0, errOops
				}
				return current(ctx).Attempt(), nil
			}, flowspan.Retries(3, backoff))
			if value != 2 || err != nil {
				t.Error(value, err)
			}
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, history(t, client, tasks[0]), []string{
		"1 PENDING Pending", "1 RUNNING Running", "1 SCHEDULED AwaitingRetry", "2 RUNNING Retrying", "2 COMPLETED Completed",
	})
	same(t, history(t, client, tasks[1]), []string{
		"1 PENDING Pending", "1 RUNNING Running", "2 RUNNING Retrying", "2 COMPLETED Completed",
	})
	_ = flow
}

func TestRetryIfDecides(t *testing.T) {
	client := connect(t)
	calls := 0
	_, err := flowspan.Task(flowspan.NewContext(ctxOf(t), client), "picky", func(context.Context) (int, error) {
		calls++
		return 0, errOops
	}, flowspan.Retries(5, nil), flowspan.RetryIf(func(err error) bool { return !errors.Is(err, errOops) }))
	if calls != 1 || !errors.Is(err, errOops) {
		t.Error(calls, err)
	}
}

type brokenError struct{}

func (*brokenError) Error() string { panic("no text") }

func TestFailuresHaveTheirCauses(t *testing.T) {
	client := connect(t)
	for _, each := range []struct {
		err  error
		want string
	}{
		{errOops, "*errors.errorString(oops)"},
		{fmt.Errorf("outer: %w", errOops), "*fmt.wrapError(outer: oops) <- *errors.errorString(oops)"},
		{errors.Join(errOops, os.ErrNotExist), "*errors.joinError(oops\nfile does not exist) + *errors.errorString(oops) + *errors.errorString(file does not exist)"},
		{&brokenError{}, "*flowspan_test.brokenError(*flowspan_test.brokenError (its text cannot be shown: a method panicked))"},
		{errors.New("bad \xff\x00 bytes"), "*errors.errorString(bad \uFFFD␀ bytes)"},
	} {
		var flow *flowspan.Run
		_, err := flowspan.Flow(ctxOf(t), client, "failing", func(ctx context.Context) (int, error) {
			flow = current(ctx)
			return 0, each.err
		})
		if !errors.Is(err, each.err) {
			t.Error(err)
		}
		state := flowRun(t, client, flow.ID()).GetState()
		if got := failureText(state.GetFailure()); got != each.want || state.GetName() != "Failed" {
			t.Errorf("got  %s\nwant %s", got, each.want)
		}
	}
}

func failureText(failure *flowspanpb.Failure) string {
	texts := []string{failure.GetType() + "(" + failure.GetMessage() + ")"}
	if cause := failure.GetCause(); cause != nil {
		texts[0] += " <- " + failureText(cause)
	}
	for _, other := range failure.GetOtherCauses() {
		texts = append(texts, failureText(other))
	}
	return strings.Join(texts, " + ")
}

func TestVeryLongFailuresAreStored(t *testing.T) {
	client := connect(t)
	err := errors.New(strings.Repeat("äö", 1<<20))
	for range 100 {
		err = fmt.Errorf("%w", errors.Join(err, errOops))
	}
	var flow *flowspan.Run
	_, got := flowspan.Flow(ctxOf(t), client, "long", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		return 0, err
	})
	if !errors.Is(got, err) {
		t.Error("another error")
	}
	if state := flowRun(t, client, flow.ID()).GetState(); state.GetName() != "Failed" {
		t.Error(state.GetName())
	}
}

func TestAPanicClosesTheRunsAndContinues(t *testing.T) {
	client := connect(t)
	var runs []*flowspan.Run
	func() {
		defer func() {
			if value := recover(); value != "ouch" {
				t.Error(value)
			}
		}()
		_, _ = flowspan.Flow(ctxOf(t), client, "panics", func(ctx context.Context) (int, error) {
			runs = append(runs, current(ctx))
			return flowspan.Task(ctx, "panics", func(ctx context.Context) (int, error) {
				runs = append(runs, current(ctx))
				panic("ouch")
			}, flowspan.Retries(3, nil))
		})
	}()
	for _, run := range runs {
		same(t, history(t, client, run), []string{"1 PENDING Pending", "1 RUNNING Running", "1 FAILED Failed"})
	}
	failure := taskRun(t, client, runs[1].ID()).GetState().GetFailure()
	if failure.GetMessage() != "ouch" || !strings.Contains(failure.GetStackTrace(), "TestAPanicClosesTheRunsAndContinues") {
		t.Error(failure)
	}
}

func TestGoexitClosesTheRun(t *testing.T) {
	client := connect(t)
	var run *flowspan.Run
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = flowspan.Flow(ctxOf(t), client, "exits", func(ctx context.Context) (int, error) {
			run = current(ctx)
			runtime.Goexit()
			return 0, nil
		})
	}()
	<-done
	same(t, history(t, client, run), []string{"1 PENDING Pending", "1 RUNNING Running", "1 CRASHED Crashed"})
}

func TestATimeoutFailsTheAttempt(t *testing.T) {
	client := connect(t)
	var task *flowspan.Run
	_, err := flowspan.Task(flowspan.NewContext(ctxOf(t), client), "slow", func(ctx context.Context) (int, error) {
		task = current(ctx)
		<-ctx.Done()
		return 0, ctx.Err()
	}, flowspan.Timeout(5*time.Millisecond))
	var late *flowspan.TimeoutError
	if !errors.As(err, &late) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	same(t, history(t, client, task), []string{"1 PENDING Pending", "1 RUNNING Running", "1 FAILED TimedOut"})
}

func TestACancelledContextOfTheCallerCancelsTheRun(t *testing.T) {
	client := connect(t)
	ctx, cancel := context.WithCancel(ctxOf(t))
	var flow *flowspan.Run
	_, err := flowspan.Flow(ctx, client, "stopped", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		cancel()
		return flowspan.Task(ctx, "never", func(context.Context) (int, error) { t.Error("called"); return 0, nil })
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	same(t, history(t, client, flow), []string{"1 PENDING Pending", "1 RUNNING Running", "1 CANCELLED Cancelled"})
}

func TestACancelOfTheServiceReachesAllRunsAtOnce(t *testing.T) {
	client := connect(t)
	other := connect(t)
	var flow *flowspan.Run
	var futures []*flowspan.Future[int]
	started := make(chan string, 1)
	go func() {
		id := <-started
		answer, err := other.CancelFlowRun(context.Background(), id, "not today")
		if err != nil || !answer.Accepted() {
			t.Error(answer, err)
		}
	}()
	_, err := flowspan.Flow(ctxOf(t), client, "cancelled", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		for range 3 {
			futures = append(futures, flowspan.Go(ctx, "waits", func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, errors.New("some library's own error")
			}, flowspan.Retries(3, nil)))
		}
		if err := client.Flush(ctx); err != nil {
			return 0, err
		}
		started <- flow.ID()
		_, err := flowspan.WaitAll(context.WithoutCancel(ctx), futures)
		return 0, err
	})
	var cancelled *flowspan.CancelledError
	if !errors.Is(err, flowspan.ErrCancelled) || !errors.As(err, &cancelled) || cancelled.RunID != flow.ID() {
		t.Error(err)
	}
	same(t, history(t, client, flow), []string{"1 PENDING Pending", "1 RUNNING Running", "1 CANCELLING Cancelling", "1 CANCELLED Cancelled"})
	for _, future := range futures {
		state := taskRun(t, client, future.RunID()).GetState()
		if state.GetType() != flowspanpb.StateType_STATE_TYPE_CANCELLED || state.GetMessage() != "not today" {
			t.Error(state)
		}
	}
}

func TestParallelTasks(t *testing.T) {
	client := connect(t)
	items := make([]int, 200)
	for i := range items {
		items[i] = i
	}
	got, err := flowspan.Flow(ctxOf(t), client, "parallel", func(ctx context.Context) (int, error) {
		results, err := flowspan.WaitAll(ctx, flowspan.Map(ctx, "square", items, func(_ context.Context, n int) (int, error) { return n * n, nil }))
		sum := 0
		for _, each := range results {
			sum += each
		}
		flowspan.Go(ctx, "unawaited", func(context.Context) (int, error) { time.Sleep(5 * time.Millisecond); return 0, nil })
		return sum, err
	}, flowspan.Name(t.Name()))
	if got != 2646700 || err != nil {
		t.Error(got, err)
	}
	for run, err := range client.FlowRuns(ctxOf(t), &flowspan.RunFilter{RunName: t.Name()}) {
		if err != nil {
			t.Fatal(err)
		}
		counts, err := client.CountTaskRuns(ctxOf(t), &flowspan.RunFilter{FlowRunId: run.GetId()})
		if err != nil || counts[flowspanpb.StateType_STATE_TYPE_COMPLETED] != 201 || len(counts) != 1 {
			t.Error(counts, err)
		}
	}
}

func TestAPanicOfAParallelTaskReachesItsWaiterOrItsParent(t *testing.T) {
	client := connect(t)
	for _, waits := range []bool{true, false} {
		func() {
			defer func() {
				var panicked *flowspan.PanicError
				err, _ := recover().(error)
				if !errors.As(err, &panicked) || panicked.Value != "ouch" || !strings.Contains(string(panicked.Stack), "flow_test.go") {
					t.Error(err)
				}
			}()
			_, _ = flowspan.Flow(ctxOf(t), client, "panics", func(ctx context.Context) (int, error) {
				future := flowspan.Go(ctx, "panics", func(context.Context) (int, error) { panic("ouch") })
				if waits {
					return future.Wait(ctx)
				}
				return 0, nil
			})
		}()
	}
}

func TestATaskNeedsAClient(t *testing.T) {
	_, err := flowspan.Task(ctxOf(t), "lost", func(context.Context) (int, error) { t.Error("called"); return 0, nil })
	var failure *flowspan.Error
	if !errors.As(err, &failure) || !strings.Contains(err.Error(), "flowspan.NewContext") {
		t.Error(err)
	}
	future := flowspan.Go(ctxOf(t), "lost", func(context.Context) (int, error) { t.Error("called"); return 0, nil })
	if _, err := future.Wait(ctxOf(t)); err == nil || future.RunID() != "" {
		t.Error(err)
	}
}
