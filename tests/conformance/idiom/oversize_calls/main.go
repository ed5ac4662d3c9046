// Command oversize_calls is a program of the idiom tier.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
)

const mib = 1 << 20

func sales(description string) *flowspan.Artifact {
	data := &flowspanpb.Payload{Encoding: "json", Data: []byte(`"# Sales"`)}
	return &flowspan.Artifact{Type: "markdown", Description: description, Data: data}
}

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		for _, size := range []int{mib, 9 * mib} {
			_, err := client.CreateArtifact(ctx, sales(strings.Repeat("x", size)))
			var refused *flowspan.Error
			if !errors.As(err, &refused) || refused.Retryable() {
				return fmt.Errorf("not refused for good: %w", err)
			}
			program.Print(strings.TrimSpace(program.CodeName(refused) + " " + refused.Reason))
		}
		stored, err := client.CreateArtifact(ctx, sales("fits"))
		program.Print(stored.GetDescription())
		return err
	})
}
