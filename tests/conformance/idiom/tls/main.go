// Command tls is a program of the idiom tier.
package main

import (
	"context"
	"log/slog"
	"strings"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			slog.InfoContext(ctx, "> begin")
			return flowspan.Task(ctx, "fetch", func(context.Context) (any, error) { return nil, nil })
		})
		if err != nil {
			return err
		}
		for run, err := range client.FlowRuns(ctx, nil) {
			if err != nil {
				return err
			}
			program.Print(run.GetFlowName(), strings.TrimPrefix(run.GetState().GetType().String(), "STATE_TYPE_"))
		}
		return nil
	})
}
