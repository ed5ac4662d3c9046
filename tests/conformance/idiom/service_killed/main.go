// Command service_killed is a program of the idiom tier.
package main

import (
	"context"
	"log/slog"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

type step func(context.Context) (any, error)

func first(context.Context) (any, error) {
	program.Print("first")
	return nil, nil
}

func second(context.Context) (any, error) { return program.Line(), nil }

func third(context.Context) (any, error) { return nil, nil }

// steps yields the tasks in order.
func steps(yield func(string, step) bool) {
	_ = yield("first", first) && yield("second", second) && yield("third", third)
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			slog.InfoContext(ctx, "> before")
			for name, function := range steps {
				if _, err := flowspan.Task(ctx, name, function); err != nil {
					return nil, err
				}
				if name == "second" {
					slog.InfoContext(ctx, "> meanwhile")
				}
			}
			program.Print("later")
			program.Line()
			slog.InfoContext(ctx, "> after")
			return nil, nil
		})
		return err
	})
}
