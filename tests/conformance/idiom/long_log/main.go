// Command long_log is a program of the idiom tier.
package main

import (
	"context"
	"log/slog"
	"strings"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			slog.InfoContext(ctx, "> before")
			slog.InfoContext(ctx, "> "+strings.Repeat("0123456789abcdef", 65536))
			slog.InfoContext(ctx, "> after")
			return nil, nil
		})
		return err
	})
}
