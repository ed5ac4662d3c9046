// Command cancel is a program of the idiom tier.
package main

import (
	"context"
	"errors"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func slow(ctx context.Context) (any, error) {
	program.Print("waiting")
	<-ctx.Done()
	return nil, ctx.Err()
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			if _, err := flowspan.Task(ctx, "slow", slow); err != nil {
				return nil, err
			}
			return flowspan.Task(ctx, "after", func(context.Context) (any, error) { return nil, nil })
		})
		if errors.Is(err, flowspan.ErrCancelled) {
			program.Print("cancelled")
		}
		return nil
	})
}
