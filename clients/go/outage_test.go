package flowspan_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/testservice"
)

// startService starts a service of the test's own, which it may kill.
func startService(t *testing.T) *testservice.Service {
	t.Helper()
	own := testservice.New(t.TempDir())
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Kill(); err != nil {
			t.Error(err)
		}
	})
	return own
}

func TestAKilledServiceLosesNothing(t *testing.T) {
	own := startService(t)
	client := connectTo(t, own.Address, flowspan.WithLogger(quiet), flowspan.WithFlushTimeout(time.Minute))
	var flow *flowspan.Run
	const tasks = 2000
	_, err := flowspan.Flow(ctxOf(t), client, "outage", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		for n := range tasks {
			if n == 500 || n == 1500 {
				if err := own.Kill(); err != nil {
					return 0, err
				}
			}
			if n == 1000 {
				if err := own.Start(); err != nil {
					return 0, err
				}
			}
			if _, err := flowspan.Task(ctx, strconv.Itoa(n), nothing); err != nil {
				return 0, err
			}
			if n%100 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
		}
		return 0, own.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	counts, err := client.CountTaskRuns(ctxOf(t), &flowspan.RunFilter{FlowRunId: flow.ID()})
	if err != nil || counts[flowspanpb.StateType_STATE_TYPE_COMPLETED] != tasks || len(counts) != 1 {
		t.Error(counts, err)
	}
	for run, err := range client.TaskRuns(ctxOf(t), &flowspan.RunFilter{FlowRunId: flow.ID()}) {
		if err != nil || run.GetTransitionCount() != 3 {
			t.Fatal(run, err)
		}
	}
	same(t, history(t, client, flow), []string{"1 PENDING Pending", "1 RUNNING Running", "1 COMPLETED Completed"})
}

func TestALazyClientReportsWhenTheServiceComes(t *testing.T) {
	own := startService(t)
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	client := connectTo(t, own.Address, flowspan.Lazy(), flowspan.WithLogger(quiet), flowspan.WithFlushTimeout(50*time.Millisecond))
	var flow *flowspan.Run
	if _, err := flowspan.Flow(ctxOf(t), client, "early", func(ctx context.Context) (int, error) { flow = current(ctx); return 0, nil }); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctxOf(t), 50*time.Millisecond)
	defer cancel()
	if err := client.Flush(short); err == nil {
		t.Error("stored without a service")
	}
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	if err := client.Flush(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	same(t, history(t, client, flow), []string{"1 PENDING Pending", "1 RUNNING Running", "1 COMPLETED Completed"})
}

func TestCloseSaysWhatIsLost(t *testing.T) {
	own := startService(t)
	client, err := flowspan.Connect(ctxOf(t), flowspan.WithAddress(own.Address), flowspan.WithLogger(quiet), flowspan.WithFlushTimeout(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := flowspan.Flow(ctxOf(t), client, "lost", nothing); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctxOf(t), 100*time.Millisecond)
	defer cancel()
	if err := client.Close(short); err == nil || err.Error()[:47] != "flowspan: events were not stored by the service" {
		t.Error(err)
	}
	if err := client.Close(ctxOf(t)); err != nil {
		t.Error(err)
	}
	if _, err := flowspan.Flow(ctxOf(t), client, "late", func(context.Context) (int, error) { t.Error("called"); return 0, nil }); err == nil {
		t.Error("a run of a closed client")
	}
}

func TestAnAbortStopsTheRun(t *testing.T) {
	client := connect(t, flowspan.WithLogger(quiet))
	other := connect(t)
	_, err := flowspan.Flow(ctxOf(t), client, "deleted", func(ctx context.Context) (int, error) {
		if err := client.Flush(ctx); err != nil {
			return 0, err
		}
		if _, err := other.DeleteFlowRun(ctx, current(ctx).ID(), true); err != nil {
			return 0, err
		}
		current(ctx).Log(ctx, 0, "to a run that is gone")
		<-ctx.Done()
		return 0, ctx.Err()
	})
	if !errors.Is(err, flowspan.ErrCancelled) {
		t.Error(err)
	}
}

func TestHeartbeatsKeepASilentSessionAlive(t *testing.T) {
	client := connect(t, flowspan.WithLease(time.Second))
	other := connect(t)
	var flow *flowspan.Run
	_, err := flowspan.Flow(ctxOf(t), client, "silent", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		if err := client.Flush(ctx); err != nil {
			return 0, err
		}
		time.Sleep(4 * time.Second)
		if state := flowRun(t, other, flow.ID()).GetState(); flowspan.IsTerminal(state) {
			t.Error(state)
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, history(t, client, flow), []string{"1 PENDING Pending", "1 RUNNING Running", "1 COMPLETED Completed"})
}
