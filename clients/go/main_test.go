package flowspan_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"

	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/testservice"
)

// helperEnv makes the test binary act as a program of a user (see TestMain).
const helperEnv = "FLOWSPAN_GO_TEST_HELPER"

var service *testservice.Service

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		helpers[name]()
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	for _, name := range []string{"FLOWSPAN_ADDRESS", "FLOWSPAN_RUN", "TRACEPARENT", "TRACESTATE", "FLOWSPAN_TOKEN"} {
		_ = os.Unsetenv(name)
	}
	home, err := os.MkdirTemp("", "flowspan-go-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(home) }()
	service = testservice.New(home)
	if err := service.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := service.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(goleak.IgnoreAnyFunction("os/signal.loop")); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// quiet is a logger for messages that a test provokes.
var quiet = slog.New(slog.DiscardHandler)

func ctxOf(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// connect returns a client of the shared service, which is closed with the test.
func connect(t *testing.T, options ...flowspan.Option) *flowspan.Client {
	t.Helper()
	return connectTo(t, service.Address, options...)
}

func connectTo(t *testing.T, address string, options ...flowspan.Option) *flowspan.Client {
	t.Helper()
	client, err := flowspan.Connect(ctxOf(t), append([]flowspan.Option{flowspan.WithAddress(address)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := client.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return client
}

// history returns the states of a run, as "1 PENDING Pending".
func history(t *testing.T, client *flowspan.Client, run *flowspan.Run) []string {
	t.Helper()
	transitions := client.TaskRunHistory
	if run.Kind() == flowspan.KindFlow {
		transitions = client.FlowRunHistory
	}
	var states []string
	for each, err := range transitions(ctxOf(t), run.ID()) {
		if err != nil {
			t.Fatal(err)
		}
		kind := each.GetState().GetType().String()[len("STATE_TYPE_"):]
		states = append(states, fmt.Sprintf("%d %s %s", each.GetAttempt(), kind, each.GetState().GetName()))
	}
	return states
}

func flowRun(t *testing.T, client *flowspan.Client, id string) *flowspanpb.FlowRun {
	t.Helper()
	run, err := client.GetFlowRun(ctxOf(t), id)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func taskRun(t *testing.T, client *flowspan.Client, id string) *flowspanpb.TaskRun {
	t.Helper()
	run, err := client.GetTaskRun(ctxOf(t), id)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func current(ctx context.Context) *flowspan.Run {
	run, _ := flowspan.RunFromContext(ctx)
	return run
}

// helper returns a command that runs one of the helpers in another process.
func helper(ctx context.Context, name, address string, env ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), helperEnv+"="+name, "FLOWSPAN_ADDRESS="+address)
	command.Env = append(command.Env, env...)
	command.Stderr = os.Stderr
	return command
}
