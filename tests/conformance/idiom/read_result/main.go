// Command read_result is a program of the idiom tier.
package main

import (
	"context"
	"fmt"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		run, err := client.GetFlowRun(ctx, program.Line())
		if err != nil {
			return err
		}
		var result struct {
			Size []any `json:"größe"`
		}
		if err := flowspan.DecodeJSON(run.GetState().GetResult(), &result); err != nil {
			return err
		}
		program.Print(fmt.Sprintf(`{"größe": [%v, %v, %v, %v]}`, result.Size[0], result.Size[1], "null", result.Size[3]))
		return nil
	})
}
