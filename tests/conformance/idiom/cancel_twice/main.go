// Command cancel_twice is a program of the idiom tier.
package main

import (
	"context"
	"errors"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			program.Print("waiting")
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if errors.Is(err, flowspan.ErrCancelled) {
			program.Print("cancelled")
		}
		program.Line()
		_, err = flowspan.Flow(ctx, client, "other", func(context.Context) (any, error) { return nil, nil })
		return err
	})
}
