// Command create_foreign_run is a program of the idiom tier.
package main

import (
	"context"
	"errors"
	"strings"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		id := program.Line()
		_, err := client.CreateFlowRun(ctx, &flowspan.FlowRun{
			Id: id, FlowName: "planned", State: &flowspanpb.State{Type: flowspanpb.StateType_STATE_TYPE_SCHEDULED},
		})
		var refused *flowspan.Error
		if errors.As(err, &refused) {
			program.Print(refused.Reason)
		}
		run, err := client.GetFlowRun(ctx, id)
		program.Print(run.GetFlowName(), strings.TrimPrefix(run.GetState().GetType().String(), "STATE_TYPE_"))
		return err
	})
}
