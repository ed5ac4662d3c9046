// Command failure is a program of the idiom tier.
package main

import (
	"context"
	"errors"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

type loadError struct{ cause error }

func (e *loadError) Error() string { return "cannot load" }
func (e *loadError) Unwrap() error { return e.cause }

func fetch(context.Context) (any, error) {
	return nil, &loadError{errors.New("no such file")}
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			return flowspan.Task(ctx, "fetch", fetch)
		})
		var failed *loadError
		if errors.As(err, &failed) {
			program.Print(failed)
		}
		return nil
	})
}
