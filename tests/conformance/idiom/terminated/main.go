// Command terminated is a program of the idiom tier.
package main

import (
	"context"
	"log/slog"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func slow(context.Context) (any, error) {
	program.Print("waiting")
	return program.Line(), nil
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			slog.InfoContext(ctx, "> begin")
			return flowspan.Task(ctx, "slow", slow)
		})
		return err
	})
}
