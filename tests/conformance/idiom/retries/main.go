// Command retries is a program of the idiom tier.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func fetch(ctx context.Context) (int, error) {
	run, _ := flowspan.RunFromContext(ctx)
	slog.InfoContext(ctx, fmt.Sprintf("> attempt %d", run.Attempt()))
	if run.Attempt() < 3 {
		return 0, errors.New("not yet")
	}
	return run.Attempt(), nil
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		attempt, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (int, error) {
			return flowspan.Task(ctx, "fetch", fetch, flowspan.Retries(2, flowspan.Constant(50*time.Millisecond)))
		})
		program.Print("done after", attempt)
		return err
	})
}
