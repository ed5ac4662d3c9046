// Command nested is a program of the idiom tier.
package main

import (
	"context"
	"log/slog"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func innermost(ctx context.Context) (any, error) {
	slog.InfoContext(ctx, "> at the bottom")
	return nil, nil
}

func step(ctx context.Context) (any, error) {
	slog.InfoContext(ctx, "> in the step")
	run, _ := flowspan.RunFromContext(ctx)
	return flowspan.Flow(ctx, run.Client(), "innermost", innermost)
}

func inner(ctx context.Context) (any, error) {
	return flowspan.Task(ctx, "step", step)
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "outer", func(ctx context.Context) (any, error) {
			if _, err := flowspan.Flow(ctx, client, "inner", inner); err != nil {
				return nil, err
			}
			return flowspan.Task(ctx, "after", func(context.Context) (any, error) { return nil, nil })
		})
		return err
	})
}
