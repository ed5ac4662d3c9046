// Command child_process is a program of the idiom tier.
package main

import (
	"context"
	"os"
	"os/exec"
	"strings"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		if len(os.Args) > 1 {
			_, err := flowspan.Flow(ctx, client, "child", func(ctx context.Context) (any, error) {
				return flowspan.Task(ctx, "step", func(context.Context) (any, error) { return nil, nil })
			})
			return err
		}
		_, err := flowspan.Flow(ctx, client, "parent", func(ctx context.Context) (any, error) {
			command := exec.CommandContext(ctx, os.Args[0], "child")
			command.Env = append(os.Environ(), flowspan.Environ(ctx)...)
			return nil, command.Run()
		})
		traces := map[string]bool{}
		for run, err := range client.FlowRuns(ctx, nil) {
			if err != nil {
				return err
			}
			traces[strings.Split(run.GetTrace().GetTraceparent(), "-")[1]] = true
		}
		if len(traces) == 1 {
			program.Print("one trace")
		}
		return err
	})
}
