// Command other_causes is a program of the idiom tier.
package main

import (
	"context"
	"errors"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

type together struct{ errors []error }

func (*together) Error() string     { return "two things failed" }
func (e *together) Unwrap() []error { return e.errors }

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, _ = flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (any, error) {
			return nil, &together{[]error{errors.New("first"), errors.New("second")}}
		})
		return nil
	})
}
