// Command skewed_clock is a program of the idiom tier.
package main

import (
	"context"

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
			if _, err := flowspan.Task(ctx, "fetch", func(context.Context) (any, error) { return nil, nil }); err != nil {
				return nil, err
			}
			return flowspan.Task(ctx, "slow", slow)
		})
		return err
	})
}
