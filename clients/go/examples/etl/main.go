// Command etl is a small flow: it extracts numbers in parallel, retries what fails, and reports what
// it found.
//
//	flowspan server start &
//	go run flowspan.dev/go/examples/etl
//	flowspan run ls
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"flowspan.dev/go"
)

var errTooBusy = errors.New("the source is too busy")

type row struct {
	Source string `json:"source"`
	Rows   int    `json:"rows"`
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	// From here on, records that are logged with the context of a run belong to the run.
	slog.SetDefault(slog.New(flowspan.NewLogHandler(slog.NewTextHandler(os.Stderr, nil))))
	client, err := flowspan.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(ctx)) }()
	sources := []string{"orders", "customers", "returns"}
	total, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (int, error) {
		return etl(ctx, sources)
	}, flowspan.Parameters(map[string]any{"sources": sources}), flowspan.Tags("example"))
	if err != nil {
		return err
	}
	fmt.Println("loaded", total, "rows")
	return nil
}

func etl(ctx context.Context, sources []string) (int, error) {
	progress, err := flowspan.NewProgress(ctx, flowspan.About("Sources that are loaded"))
	if err != nil {
		return 0, err
	}
	extracted := flowspan.Map(ctx, "extract", sources, extract,
		flowspan.Retries(3, flowspan.Exponential(50*time.Millisecond, time.Second)),
		flowspan.Timeout(10*time.Second))
	var rows []row
	total := 0
	for i, future := range extracted {
		found, err := future.Wait(ctx)
		if err != nil {
			return 0, err
		}
		loaded, err := flowspan.Task(ctx, "load", func(ctx context.Context) (int, error) {
			slog.InfoContext(ctx, "loading", "source", found.Source, "rows", found.Rows)
			return found.Rows, nil
		}, flowspan.Name("load-"+found.Source), flowspan.Input("rows", future))
		if err != nil {
			return 0, err
		}
		total += loaded
		rows = append(rows, found)
		if err := progress.Set(ctx, float64(100*(i+1)/len(extracted))); err != nil {
			return 0, err
		}
	}
	_, err = flowspan.Table(ctx, rows, flowspan.Key("loaded-rows"))
	return total, err
}

func extract(ctx context.Context, source string) (row, error) {
	run, _ := flowspan.RunFromContext(ctx)
	if source == "customers" && run.Attempt() == 1 {
		return row{}, errTooBusy
	}
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
		return row{}, ctx.Err()
	}
	return row{Source: source, Rows: 100 * len(source)}, nil
}
