// Command create_run is a program of the idiom tier.
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
		planned := func(id, name string) *flowspan.FlowRun {
			return &flowspan.FlowRun{
				Id: id, FlowName: name, Name: "monday's", Tags: []string{"later"},
				State:      &flowspanpb.State{Type: flowspanpb.StateType_STATE_TYPE_SCHEDULED},
				Parameters: &flowspanpb.Payload{Encoding: "json", Data: []byte(`{"day": "monday"}`)},
			}
		}
		run, err := client.CreateFlowRun(ctx, planned(client.NewRunID(), "planned"))
		if err != nil {
			return err
		}
		program.Print("created")
		again, err := client.CreateFlowRun(ctx, planned(run.GetId(), "planned"))
		if err != nil {
			return err
		}
		if again.GetId() == run.GetId() {
			program.Print("the same")
		}
		_, err = client.CreateFlowRun(ctx, planned(run.GetId(), "other"))
		var refused *flowspan.Error
		if errors.As(err, &refused) {
			program.Print(refused.Reason)
		}
		if _, err := client.CancelFlowRun(ctx, run.GetId(), ""); err != nil {
			return err
		}
		ended, err := client.GetFlowRun(ctx, run.GetId())
		program.Print(strings.TrimPrefix(ended.GetState().GetType().String(), "STATE_TYPE_"))
		return err
	})
}
