package flowspan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
)

func records(t *testing.T, client *flowspan.Client, query flowspan.LogQuery) []*flowspan.LogRecord {
	t.Helper()
	var found []*flowspan.LogRecord
	for record, err := range client.Logs(ctxOf(t), query) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, record)
	}
	return found
}

type panicking struct{}

func (panicking) LogValue() slog.Value { panic("no value") }

func TestRecordsBelongToTheRunOfTheirContext(t *testing.T) {
	client := connect(t)
	var passed bytes.Buffer
	logger := slog.New(flowspan.NewLogHandler(slog.NewTextHandler(&passed, nil), flowspan.LoggerName("etl"), flowspan.LogLevel(slog.LevelDebug)))
	long := strings.Repeat("äb", 300_000)
	var flow, task *flowspan.Run
	_, err := flowspan.Flow(ctxOf(t), client, "logs", func(ctx context.Context) (int, error) {
		flow = current(ctx)
		logger.InfoContext(ctx, "plain")
		logger.With("a", 1).WithGroup("g").WarnContext(ctx, "with\x00nul", "b", "x y", "msg", "m")
		logger.DebugContext(ctx, "low \xff")
		logger.ErrorContext(ctx, "bad", "value", panicking{})
		logger.InfoContext(ctx, long)
		logger.InfoContext(context.Background(), "outside")
		return flowspan.Task(ctx, "logs", func(ctx context.Context) (int, error) {
			task = current(ctx)
			if task.Attempt() == 1 {
				return 0, errOops
			}
			logger.InfoContext(ctx, "in the task")
			task.Log(ctx, slog.LevelWarn, "without slog")
			return 0, nil
		}, flowspan.Retries(1, nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	found := records(t, client, flowspan.LogQuery{RunID: flow.ID()})
	var got []string
	for _, record := range found {
		got = append(got, record.GetLevel().String()[10:]+" "+record.GetLogger()+" "+record.GetMessage())
	}
	if len(got) != 5 || got[4] != "INFO etl "+long || !strings.Contains(got[3], "ERROR etl bad value=") {
		t.Fatalf("%.200q", got)
	}
	same(t, got[:3], []string{"INFO etl plain", "WARNING etl with␀nul a=1 g.b=\"x y\" g.msg=m", "DEBUG etl low \uFFFD"})
	root := strings.ReplaceAll(flow.ID(), "-", "")
	if found[0].GetTraceId() != root || found[0].GetSpanId() != root[16:] || found[0].GetAttempt() != 1 {
		t.Error(found[0])
	}
	inTask := records(t, client, flowspan.LogQuery{RunID: task.ID(), MinLevel: flowspanpb.LogLevel_LOG_LEVEL_INFO})
	if len(inTask) != 2 || inTask[0].GetAttempt() != 2 || inTask[0].GetTraceId() != root || inTask[0].GetSpanId() == strings.ReplaceAll(task.ID(), "-", "")[16:] {
		t.Error(inTask)
	}
	if text := passed.String(); !strings.Contains(text, "outside") || !strings.Contains(text, "plain") || strings.Contains(text, "level=DEBUG") {
		t.Errorf("%.300q", text)
	}
	if found := records(t, client, flowspan.LogQuery{RunID: flow.ID(), Descendants: true, Contains: "task"}); len(found) != 1 {
		t.Error(len(found))
	}
}

func TestTailFollowsTheRun(t *testing.T) {
	client := connect(t)
	writer := connect(t)
	planned := make(chan string, 1)
	seen := make(chan struct{})
	go func() {
		_, err := flowspan.Flow(context.Background(), writer, "tailed", func(ctx context.Context) (int, error) {
			current(ctx).Log(ctx, slog.LevelInfo, "first")
			if err := writer.Flush(ctx); err != nil {
				return 0, err
			}
			planned <- current(ctx).ID()
			<-seen
			current(ctx).Log(ctx, slog.LevelInfo, "second")
			return 0, nil
		})
		if err != nil {
			t.Error(err)
		}
	}()
	var messages []string
	for record, err := range client.TailLogs(ctxOf(t), flowspan.LogQuery{RunID: <-planned}) {
		if err != nil {
			t.Fatal(err)
		}
		if messages = append(messages, record.GetMessage()); len(messages) == 1 {
			close(seen)
		}
	}
	same(t, messages, []string{"first", "second"})
}

func TestAFullOutboxLeavesOutLogsAndSaysHowMany(t *testing.T) {
	own := startService(t)
	client := connectTo(t, own.Address, flowspan.WithOutbox(50, 1<<20), flowspan.WithLogger(quiet), flowspan.WithBlockTimeout(50*time.Millisecond))
	var run *flowspan.Run
	_, err := flowspan.Flow(ctxOf(t), client, "noisy", func(ctx context.Context) (int, error) {
		run = current(ctx)
		if err := client.Flush(ctx); err != nil {
			return 0, err
		}
		if err := own.Kill(); err != nil {
			return 0, err
		}
		for range 80 {
			run.Log(ctx, slog.LevelInfo, "noise")
		}
		_, err := flowspan.Task(ctx, "refused", func(context.Context) (int, error) { t.Error("called"); return 0, nil })
		if err == nil || !strings.Contains(err.Error(), "outbox") {
			t.Error(err)
		}
		return 0, own.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	found := records(t, client, flowspan.LogQuery{RunID: run.ID()})
	last := found[len(found)-1]
	if len(found) != 51 || !strings.HasPrefix(last.GetMessage(), "30 log records of this run were left out") {
		t.Error(len(found), last)
	}
	same(t, history(t, client, run), []string{"1 PENDING Pending", "1 RUNNING Running", "1 COMPLETED Completed"})
}

func TestRecordsThatArePassedOnCanNameTheRun(t *testing.T) {
	client := connect(t)
	var passed bytes.Buffer
	next := slog.NewJSONHandler(&passed, nil)
	logger := slog.New(flowspan.NewLogHandler(next, flowspan.RunAttributes()))
	var run *flowspan.Run
	_, err := flowspan.Flow(ctxOf(t), client, "logs", func(ctx context.Context) (int, error) {
		return flowspan.Task(ctx, "load", func(ctx context.Context) (int, error) {
			run = current(ctx)
			logger.InfoContext(ctx, "named", "own", 1)
			logger.InfoContext(context.Background(), "outside")
			return 0, nil
		}, flowspan.Name("load-17"))
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(passed.String()), "\n")
	var said map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &said); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"own": 1.0, "flowspan.run.id": run.ID(), "flowspan.run.name": "load-17", "flowspan.flow.name": "logs",
		"flowspan.flow_run.id": run.FlowRunID(), "flowspan.root_run.id": run.RootID(), "flowspan.attempt": 1.0,
	} {
		if said[name] != want {
			t.Errorf("%s is %v, not %v", name, said[name], want)
		}
	}
	if strings.Contains(lines[1], "flowspan.") {
		t.Error(lines[1])
	}
	if found := records(t, client, flowspan.LogQuery{RunID: run.ID()}); len(found) != 1 || found[0].Message != "named own=1" {
		t.Error(found)
	}
}
