package flowspan_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
)

// helpers are programs that tests start as processes of their own.
var helpers = map[string]func(){
	"waits":    func() { waits(false) },
	"stubborn": func() { waits(true) },
	"handles":  handles,
	"child":    child,
}

// waits runs a flow that waits for its end, and prints its id.
func waits(ignoresCancel bool) {
	ctx := context.Background()
	client, err := flowspan.Connect(ctx)
	if err != nil {
		panic(err)
	}
	_, err = flowspan.Flow(ctx, client, "waits", func(ctx context.Context) (int, error) {
		return flowspan.Task(ctx, "waits", func(ctx context.Context) (int, error) {
			run := current(ctx)
			if err := client.Flush(ctx); err != nil {
				return 0, err
			}
			fmt.Println(run.RootID(), run.ID())
			if ignoresCancel {
				select {}
			}
			<-ctx.Done()
			return 0, ctx.Err()
		})
	})
	fmt.Println("returned", err)
	_ = client.Close(ctx)
	fmt.Println("closed")
}

// handles is a program with a handler of its own.
func handles() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	client, err := flowspan.Connect(ctx)
	if err != nil {
		panic(err)
	}
	_, _ = flowspan.Flow(ctx, client, "handles", func(ctx context.Context) (int, error) {
		_ = client.Flush(ctx)
		fmt.Println(current(ctx).ID(), "")
		<-ctx.Done()
		return 0, ctx.Err()
	})
	_ = client.Close(context.Background())
	fmt.Println("end of main")
}

// child runs a flow of another process.
func child() {
	ctx := context.Background()
	client, err := flowspan.Connect(ctx)
	if err != nil {
		panic(err)
	}
	_, _ = flowspan.Flow(ctx, client, "child", func(ctx context.Context) (int, error) {
		fmt.Println(current(ctx).ID(), "")
		return 0, nil
	})
	if err := client.Close(ctx); err != nil {
		panic(err)
	}
}

// startHelper returns the helper, its output, and the ids that it printed first.
func startHelper(t *testing.T, name string) (command *exec.Cmd, output *bufio.Reader, ids []string) {
	t.Helper()
	command = helper(ctxOf(t), name, service.Address)
	pipe, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	output = bufio.NewReader(pipe)
	line, err := output.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return command, output, strings.Fields(line)
}

func TestSignalsEndTheOpenRuns(t *testing.T) {
	client := connect(t)
	for _, each := range []struct {
		helper  string
		signal  syscall.Signal
		message string
	}{
		{"waits", syscall.SIGTERM, "Terminated from outside (SIGTERM)."},
		{"waits", syscall.SIGINT, "Interrupted from the keyboard (SIGINT)."},
		{"stubborn", syscall.SIGTERM, "Terminated from outside (SIGTERM)."},
	} {
		t.Run(each.helper+each.signal.String(), func(t *testing.T) {
			command, output, ids := startHelper(t, each.helper)
			if err := command.Process.Signal(each.signal); err != nil {
				t.Fatal(err)
			}
			for {
				line, err := output.ReadString('\n')
				if err != nil {
					break
				}
				if strings.HasPrefix(line, "closed") {
					t.Error("the program was not ended by the signal")
				}
			}
			var exit *exec.ExitError
			if err := command.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != each.signal {
				t.Error(err)
			}
			states := []*flowspan.State{flowRun(t, client, ids[0]).GetState(), taskRun(t, client, ids[1]).GetState()}
			for _, state := range states {
				if state.GetType() != flowspanpb.StateType_STATE_TYPE_CRASHED || state.GetMessage() != each.message {
					t.Error(state)
				}
			}
		})
	}
}

func TestAProgramWithAHandlerOfItsOwnContinues(t *testing.T) {
	client := connect(t)
	command, output, ids := startHelper(t, "handles")
	if err := command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	line, _ := output.ReadString('\n')
	if err := command.Wait(); err != nil || !strings.HasPrefix(line, "end of main") {
		t.Error(line, err)
	}
	if state := flowRun(t, client, ids[0]).GetState(); !flowspan.IsTerminal(state) {
		t.Error(state)
	}
}

func TestASecondSignalEndsTheProcessAtOnce(t *testing.T) {
	command, _, _ := startHelper(t, "stubborn")
	began := time.Now()
	for range 2 {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	_ = command.Wait()
	if took := time.Since(began); took > 4*time.Second {
		t.Error(took)
	}
}

func TestAProgramIsAChildOfTheRunThatStartedIt(t *testing.T) {
	client := connect(t)
	var flow, task *flowspan.Run
	var childID string
	_, err := flowspan.Flow(ctxOf(t), client, "parent", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		return flowspan.Task(ctx, "starts", func(ctx context.Context) (int, error) {
			task = current(ctx)
			output, err := helper(ctx, "child", service.Address, flowspan.Environ(ctx)...).Output()
			childID = strings.TrimSpace(string(output))
			return 0, err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	child := flowRun(t, client, childID)
	if child.GetParentRunId() != task.ID() || child.GetRootRunId() != flow.ID() {
		t.Error(child)
	}
	// Its span continues that of the task.
	if parent := child.GetTrace().GetParentSpanId(); parent == "" || !strings.HasSuffix(strings.ReplaceAll(task.ID(), "-", ""), parent) {
		t.Error(child.GetTrace())
	}
	if !strings.Contains(child.GetTrace().GetTraceparent(), strings.ReplaceAll(flow.ID(), "-", "")) {
		t.Error(child.GetTrace())
	}
}
