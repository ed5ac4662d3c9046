// Command service_stopped is a program of the idiom tier.
package main

import (
	"context"
	"log/slog"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func first(context.Context) (any, error) {
	program.Print("first")
	return nil, nil
}

func second(context.Context) (any, error) { return program.Line(), nil }

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			slog.InfoContext(ctx, "> before")
			if _, err := flowspan.Task(ctx, "first", first); err != nil {
				return nil, err
			}
			if _, err := flowspan.Task(ctx, "second", second); err != nil {
				return nil, err
			}
			slog.InfoContext(ctx, "> after")
			return nil, nil
		})
		return err
	})
}
