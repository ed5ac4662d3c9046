// Command token_without_scope is a program of the idiom tier.
package main

import (
	"context"
	"errors"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		_, err := client.SetVariable(ctx, "city", "Paris")
		var refused *flowspan.Error
		if errors.As(err, &refused) {
			program.Print(program.CodeName(refused), refused.Reason, program.Advice(refused))
		}
		found := "none"
		for _, err := range client.Variables(ctx, "") {
			if err != nil {
				return err
			}
			found = "some"
		}
		program.Print(found)
		return nil
	})
}
