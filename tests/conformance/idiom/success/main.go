// Command success is a program of the idiom tier.
package main

import (
	"context"
	"log/slog"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func fetch(ctx context.Context) ([]int, error) {
	slog.InfoContext(ctx, "> fetched 3")
	return []int{1, 2, 3}, nil
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		sum, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (int, error) {
			slog.InfoContext(ctx, "> begin")
			slog.WarnContext(ctx, "> careful")
			rows, err := flowspan.Task(ctx, "fetch", fetch, flowspan.Tags("network", "shop"))
			sum := 0
			for _, row := range rows {
				sum += row
			}
			return sum, err
		}, flowspan.Parameters(map[string]any{"day": "monday", "limit": 3}), flowspan.Description("Loads the sales of a day."))
		program.Print(sum)
		return err
	})
}
