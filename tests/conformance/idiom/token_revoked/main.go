// Command token_revoked is a program of the idiom tier.
package main

import (
	"context"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func nothing(context.Context) (any, error) { return nil, nil }

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			for _, name := range []string{"first", "second"} {
				if _, err := flowspan.Task(ctx, name, nothing); err != nil {
					return nil, err
				}
				program.Print(name)
				program.Line()
			}
			return flowspan.Task(ctx, "third", nothing)
		})
		return err
	})
}
