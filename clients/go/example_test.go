package flowspan_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
)

// connectExample connects to the service of the tests. A program leaves out the address.
func connectExample(ctx context.Context) *flowspan.Client {
	client, err := flowspan.Connect(ctx, flowspan.WithAddress(service.Address))
	if err != nil {
		log.Fatal(err)
	}
	return client
}

func Example() {
	ctx := context.Background()
	client := connectExample(ctx)
	defer func() { _ = client.Close(ctx) }()

	total, err := flowspan.Flow(ctx, client, "sum", func(ctx context.Context) (int, error) {
		futures := flowspan.Map(ctx, "double", []int{1, 2, 3}, func(_ context.Context, n int) (int, error) { return 2 * n, nil })
		results, err := flowspan.WaitAll(ctx, futures)
		sum := 0
		for _, result := range results {
			sum += result
		}
		return sum, err
	})
	fmt.Println(total, err)
	// Output: 12 <nil>
}

func ExampleRetries() {
	ctx := context.Background()
	client := connectExample(ctx)
	defer func() { _ = client.Close(ctx) }()

	_, err := flowspan.Flow(ctx, client, "patient", func(ctx context.Context) (int, error) {
		return flowspan.Task(ctx, "flaky", func(ctx context.Context) (int, error) {
			run, _ := flowspan.RunFromContext(ctx)
			fmt.Println("attempt", run.Attempt())
			if run.Attempt() < 3 {
				return 0, errors.New("not yet")
			}
			return 1, nil
		}, flowspan.Retries(3, flowspan.Constant(time.Millisecond)))
	})
	fmt.Println(err)
	// Output:
	// attempt 1
	// attempt 2
	// attempt 3
	// <nil>
}

func ExampleNewLogHandler() {
	ctx := context.Background()
	client := connectExample(ctx)
	defer func() { _ = client.Close(ctx) }()
	logger := slog.New(flowspan.NewLogHandler(nil))

	var runID string
	_, _ = flowspan.Flow(ctx, client, "logging", func(ctx context.Context) (int, error) {
		run, _ := flowspan.RunFromContext(ctx)
		runID = run.ID()
		logger.WarnContext(ctx, "almost full", "percent", 97)
		return 0, nil
	})
	for record, err := range client.Logs(ctx, flowspan.LogQuery{RunID: runID}) {
		fmt.Println(record.GetLevel(), record.GetMessage(), err)
	}
	// Output: LOG_LEVEL_WARNING almost full percent=97 <nil>
}

func ExampleClient_FlowRuns() {
	ctx := context.Background()
	client := connectExample(ctx)
	defer func() { _ = client.Close(ctx) }()

	_, _ = flowspan.Flow(ctx, client, "listed", func(context.Context) (int, error) { return 0, errors.New("no luck") })
	failed := &flowspan.RunFilter{
		FunctionNames: []string{"listed"},
		StateTypes:    []flowspanpb.StateType{flowspanpb.StateType_STATE_TYPE_FAILED},
	}
	for run, err := range client.FlowRuns(ctx, failed) {
		fmt.Println(run.GetFlowName(), run.GetState().GetName(), run.GetState().GetMessage(), err)
	}
	// Output: listed Failed no luck <nil>
}

func ExampleError() {
	ctx := context.Background()
	client := connectExample(ctx)
	defer func() { _ = client.Close(ctx) }()

	_, err := client.GetFlowRun(ctx, client.NewRunID())
	var failure *flowspan.Error
	if errors.As(err, &failure) {
		fmt.Println(failure.Code, failure.Reason, failure.Retryable())
	}
	// Output: NotFound NOT_FOUND false
}

func ExampleEnviron() {
	start := func(ctx context.Context) error {
		command := exec.CommandContext(ctx, "python", "load.py") // its flows are children of the run of ctx
		command.Env = append(os.Environ(), flowspan.Environ(ctx)...)
		command.Cancel = func() error { return nil } // the service cancels its runs as well
		command.WaitDelay = 10 * time.Second
		return command.Run()
	}
	_ = start
}
