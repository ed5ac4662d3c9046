// Command write_result is a program of the idiom tier.
package main

import (
	"context"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "other", func(context.Context) (any, error) {
			return map[string]any{"größe": []any{1, 2.5, nil, true}}, nil
		}, flowspan.RecordResult())
		return err
	})
}
