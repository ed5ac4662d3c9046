package main

import (
	"context"
	"testing"
	"time"

	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/testservice"
)

func TestTheExampleLoadsWhatItExtracts(t *testing.T) {
	service := testservice.New(t.TempDir())
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = service.Stop() }()
	t.Setenv("FLOWSPAN_ADDRESS", service.Address)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		t.Fatal(err)
	}
	client, err := flowspan.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }()
	counts, err := client.CountTaskRuns(ctx, nil)
	if err != nil || counts[flowspanpb.StateType_STATE_TYPE_COMPLETED] != 6 || len(counts) != 1 {
		t.Error(counts, err)
	}
	table, err := client.LatestArtifact(ctx, "loaded-rows")
	if err != nil || string(table.GetData().GetData()) != `[{"source":"orders","rows":600},{"source":"customers","rows":900},{"source":"returns","rows":700}]` {
		t.Error(table, err)
	}
}
