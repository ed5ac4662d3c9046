// Command trace_context is a program of the idiom tier.
package main

import (
	"context"
	"strings"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		if _, err := flowspan.Flow(ctx, client, "etl", func(context.Context) (any, error) { return nil, nil }); err != nil {
			return err
		}
		for run, err := range client.FlowRuns(ctx, nil) {
			if err != nil {
				return err
			}
			program.Print(strings.Split(run.GetTrace().GetTraceparent(), "-")[1], run.GetTrace().GetParentSpanId())
		}
		return nil
	})
}
