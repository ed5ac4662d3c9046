// Command cancel_child_process is a program of the idiom tier.
package main

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func child(ctx context.Context) (any, error) {
	program.Print("waiting")
	<-ctx.Done()
	return nil, ctx.Err()
}

func parent(ctx context.Context) (any, error) {
	command := exec.Command(os.Args[0], "child")
	command.Env = append(os.Environ(), flowspan.Environ(ctx)...)
	command.Stdout = os.Stdout
	if err := command.Run(); err != nil {
		return nil, err
	}
	return nil, ctx.Err()
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		which, work := "parent", parent
		if len(os.Args) > 1 {
			which, work = "child", child
		}
		_, err := flowspan.Flow(ctx, client, which, work)
		if errors.Is(err, flowspan.ErrCancelled) {
			program.Print(which, "cancelled")
		}
		return nil
	})
}
