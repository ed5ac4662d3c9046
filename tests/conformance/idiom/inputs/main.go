// Command inputs is a program of the idiom tier.
package main

import (
	"context"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		count, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (int, error) {
			load := flowspan.Go(ctx, "load", func(context.Context) ([]int, error) { return []int{1, 2, 3}, nil })
			rows, err := load.Wait(ctx)
			if err != nil {
				return 0, err
			}
			return flowspan.Task(ctx, "clean", func(context.Context) (int, error) { return len(rows), nil }, flowspan.Input("rows", load))
		})
		program.Print(count)
		return err
	})
}
