// Command cancel_task is a program of the idiom tier.
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

func after(context.Context) (any, error) {
	program.Print("after")
	return nil, nil
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			if _, err := flowspan.Task(ctx, "slow", slow); errors.Is(err, flowspan.ErrCancelled) {
				program.Print("cancelled")
			}
			return flowspan.Task(ctx, "after", after)
		})
		return err
	})
}
