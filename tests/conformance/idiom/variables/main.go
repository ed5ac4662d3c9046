// Command variables is a program of the idiom tier.
package main

import (
	"context"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		program.Line()
		for range 2 {
			variable, err := client.GetVariable(ctx, "city")
			if err != nil {
				return err
			}
			var city struct {
				Name string `json:"name"`
			}
			if err := flowspan.DecodeJSON(variable.GetValue(), &city); err != nil {
				return err
			}
			program.Print(city.Name)
			if _, err := client.SetVariable(ctx, "city", map[string]string{"name": "Paris"}); err != nil {
				return err
			}
		}
		if _, err := client.DeleteVariable(ctx, "city"); err != nil {
			return err
		}
		if _, err := client.GetVariable(ctx, "city"); flowspan.IsNotFound(err) {
			program.Print("none")
		}
		return nil
	})
}
