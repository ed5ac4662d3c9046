// Command unicode_and_nul is a program of the idiom tier.
package main

import (
	"context"
	"errors"
	"log/slog"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, _ = flowspan.Flow(ctx, client, "größe 東京", func(ctx context.Context) (any, error) {
			slog.InfoContext(ctx, "> a\x00b Ελλάδα עברית 😀")
			return nil, errors.New("no\x00thing 😀")
		}, flowspan.Tags("мир", "👩‍👩‍👧‍👦"), flowspan.Parameters(map[string]string{"straße": "naïve \u202e 東京"}))
		return nil
	})
}
