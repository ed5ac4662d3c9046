// Command retries_exhausted is a program of the idiom tier.
package main

import (
	"context"
	"fmt"
	"time"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func fetch(ctx context.Context) (any, error) {
	run, _ := flowspan.RunFromContext(ctx)
	return nil, fmt.Errorf("attempt %d", run.Attempt())
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, _ = flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			return flowspan.Task(ctx, "fetch", fetch, flowspan.Retries(1, flowspan.Constant(50*time.Millisecond)))
		})
		return nil
	})
}
