// Command lease_lost is a program of the idiom tier.
package main

import (
	"context"
	"log/slog"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			program.Print("waiting")
			program.Line()
			slog.InfoContext(ctx, "> alive")
			return nil, nil
		})
		return err
	})
}
