// Command artifacts is a program of the idiom tier.
package main

import (
	"context"
	"errors"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			_, text := flowspan.Markdown(ctx, "# Sales", flowspan.Key("report"))
			_, table := flowspan.Table(ctx, []map[string]any{{"city": "東京", "sales": 3}})
			_, link := flowspan.Link(ctx, "https://example.org/", "")
			progress, err := flowspan.NewProgress(ctx)
			if err == nil {
				err = progress.Set(ctx, 100)
			}
			return nil, errors.Join(text, table, link, err)
		})
		return err
	})
}
