// Package flowspan reports flows and tasks of Go programs to a flowspan service, and reads the runs of
// all programs.
//
// A flow is a function that you want to see as a run; a task is a step of it. Both are ordinary
// functions:
//
//	client, err := flowspan.Connect(ctx)
//	…
//	defer client.Close(ctx)
//	rows, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (int, error) {
//		text, err := flowspan.Task(ctx, "fetch", fetch, flowspan.Retries(3, flowspan.Exponential(time.Second, time.Minute)))
//		if err != nil {
//			return 0, err
//		}
//		return load(ctx, text)
//	})
//
// The context carries the run: tasks, log records (NewLogHandler), artifacts (Markdown, Table, …) and
// programs that the run starts (Environ, Headers) belong to the run of their context. If a run is
// cancelled, its context is.
//
// # Reports
//
// A task costs its caller a few microseconds, and no call: a goroutine sends the events in batches.
// While the service does not answer, they wait in memory, in a bounded outbox (WithOutbox), and nothing
// is lost as long as the process lives. Log records may be left out, which the run then says; states
// never are.
//
// # Traces
//
// If the program has an OpenTelemetry SDK, each run is a span of it, and libraries' spans are its
// children. Without an SDK, the service exports the spans of runs.
package flowspan
