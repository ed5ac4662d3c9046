// Command oversize is a program of the idiom tier.
package main

import (
	"context"
	"errors"
	"strings"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		long := strings.Repeat("0123456789abcdef", 65536)
		_, _ = flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			_, err := flowspan.Task(ctx, "step", func(context.Context) (any, error) { return nil, nil },
				flowspan.Description(long), flowspan.Parameters(map[string]string{"text": long}))
			if err != nil {
				return nil, err
			}
			return nil, errors.New(long)
		}, flowspan.Description(long), flowspan.Parameters(map[string]string{"text": long}))
		return nil
	})
}
