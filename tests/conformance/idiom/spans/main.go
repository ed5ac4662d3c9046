// Command spans is a program of the idiom tier.
package main

import (
	"context"
	"errors"
	"time"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func fetch(ctx context.Context) (any, error) {
	if run, _ := flowspan.RunFromContext(ctx); run.Attempt() == 1 {
		return nil, errors.New("not yet")
	}
	return nil, nil
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, _ = flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			if _, err := flowspan.Task(ctx, "fetch", fetch, flowspan.Retries(1, flowspan.Constant(50*time.Millisecond))); err != nil {
				return nil, err
			}
			return flowspan.Task(ctx, "hopeless", func(context.Context) (any, error) { return nil, errors.New("no") })
		})
		return nil
	})
}
