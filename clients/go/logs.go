package flowspan

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"

	"flowspan.dev/go/internal/wire"
)

const (
	clientLogger  = "flowspan"
	defaultLogger = "slog"
)

// LogOption is an option of NewLogHandler.
type LogOption func(*logHandler)

// LogLevel leaves out records below a level. The default is slog.LevelInfo.
func LogLevel(level slog.Leveler) LogOption {
	return func(h *logHandler) { h.level = level }
}

// LoggerName sets the name of the logger in the records of runs. The default is "slog".
func LoggerName(name string) LogOption {
	return func(h *logHandler) { h.name = wire.Clip(name, wire.MaxName) }
}

// RunAttributes adds the names of the run to the records that are passed on, as spans have them
// (flowspan.run.id, flowspan.run.name, flowspan.flow.name, flowspan.flow_run.id, flowspan.root_run.id and
// flowspan.attempt), for handlers that export them. The record that the run stores is unchanged.
func RunAttributes() LogOption {
	return func(h *logHandler) { h.named = true }
}

// logHandler sends records to the run of their context.
type logHandler struct {
	next  slog.Handler
	level slog.Leveler
	name  string
	named bool
	// attrs writes the attributes of a record, as slog.TextHandler formats them, to text.
	attrs slog.Handler
	text  *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

// NewLogHandler returns a handler that adds records to the run of their context, and passes all of
// them on to another handler:
//
//	slog.SetDefault(slog.New(flowspan.NewLogHandler(slog.NewTextHandler(os.Stderr, nil))))
//	slog.InfoContext(ctx, "loaded", "rows", 412)
//
// The other handler may be nil. In place of the initial handler of slog.Default(), which would wait for
// itself once it is wrapped and made the default, a text handler for os.Stderr is used.
//
// Records are numbered in levels of the service: Debug is 10, Info 20,
// Warn 30 and Error 40; those in between keep their order. Attributes follow the message as key=value.
// Records whose context has no run are only passed on. A long message is stored whole, in pieces.
//
// While the outbox of the client is full, records are left out. The run then ends with a record that
// says how many.
func NewLogHandler(next slog.Handler, options ...LogOption) slog.Handler {
	if fmt.Sprintf("%T", next) == "*slog.defaultHandler" {
		next = slog.NewTextHandler(os.Stderr, nil)
	}
	h := &logHandler{next: next, level: slog.LevelInfo, name: defaultLogger, text: &lockedBuffer{}}
	for _, option := range options {
		option(h)
	}
	h.attrs = slog.NewTextHandler(&h.text.Buffer, &slog.HandlerOptions{
		Level: slog.Level(-1 << 30), // everything
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			isBuiltIn := attr.Key == slog.TimeKey || attr.Key == slog.LevelKey || attr.Key == slog.MessageKey
			if len(groups) == 0 && isBuiltIn && isBuiltInValue(attr) {
				return slog.Attr{}
			}
			return attr
		},
	})
	return h
}

// isBuiltInValue tells the built-in attributes from those of users that have the same key.
func isBuiltInValue(attr slog.Attr) bool {
	switch attr.Key {
	case slog.TimeKey:
		return attr.Value.Kind() == slog.KindTime
	case slog.LevelKey:
		_, ok := attr.Value.Any().(slog.Level)
		return ok
	default:
		return attr.Value.Kind() == slog.KindString && attr.Value.String() == ""
	}
}

// Enabled reports whether the run or the next handler takes records of the level.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	if level >= h.level.Level() {
		if _, ok := RunFromContext(ctx); ok {
			return true
		}
	}
	return h.next != nil && h.next.Enabled(ctx, level)
}

// Handle adds the record to the run of its context, and passes it on.
func (h *logHandler) Handle(ctx context.Context, record slog.Record) error {
	run, ok := RunFromContext(ctx)
	if ok && record.Level >= h.level.Level() {
		run.log(ctx, levelNumber(record.Level), h.name, h.message(ctx, record))
	}
	if h.next == nil || !h.next.Enabled(ctx, record.Level) {
		return nil
	}
	if ok && h.named {
		record = record.Clone()
		record.AddAttrs(run.logAttributes()...)
	}
	return h.next.Handle(ctx, record)
}

// logAttributes returns the names of the run for log records.
func (r *Run) logAttributes() []slog.Attr {
	said := []slog.Attr{slog.String("flowspan.run.id", r.idText), slog.String("flowspan.root_run.id", r.rootText), slog.Int("flowspan.attempt", r.Attempt())}
	for _, each := range []slog.Attr{
		slog.String("flowspan.run.name", r.name),
		slog.String("flowspan.flow.name", r.flowName),
		slog.String("flowspan.flow_run.id", r.FlowRunID()),
	} {
		if each.Value.String() != "" {
			said = append(said, each)
		}
	}
	return said
}

// message returns the message and the attributes as text.
func (h *logHandler) message(ctx context.Context, record slog.Record) string {
	text := record.Message
	record.Message = ""
	h.text.mu.Lock()
	defer h.text.mu.Unlock()
	h.text.Reset()
	if err := h.attrs.Handle(ctx, record); err != nil {
		return text
	}
	if attributes := strings.TrimSuffix(h.text.String(), "\n"); attributes != "" {
		return text + " " + attributes
	}
	return text
}

// WithAttrs returns a handler that adds attributes to each record.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(next slog.Handler) slog.Handler { return next.WithAttrs(attrs) })
}

// WithGroup returns a handler that puts the attributes of each record into a group.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return h.with(func(next slog.Handler) slog.Handler { return next.WithGroup(name) })
}

func (h *logHandler) with(derive func(slog.Handler) slog.Handler) slog.Handler {
	derived := *h
	derived.attrs = derive(h.attrs)
	if h.next != nil {
		derived.next = derive(h.next)
	}
	return &derived
}

// levelNumber returns a level of slog as one of the service: -4, 0, 4, 8 become 10, 20, 30, 40.
func levelNumber(level slog.Level) int {
	return min(max(20+int(level)*5/2, 1), 100)
}

// Log adds a record to the run, for programs that do not use slog.
func (r *Run) Log(ctx context.Context, level slog.Level, message string) {
	r.log(ctx, levelNumber(level), clientLogger, message)
}

func (r *Run) log(ctx context.Context, level int, logger, message string) {
	record := wire.Log{
		RunID: r.idText, Level: level, TimeNanos: r.client.clock.Now(), Logger: logger, Attempt: r.attempt.Load(),
	}
	record.TraceID, record.SpanID = r.spanIDs(ctx)
	record.Message = wire.Valid(message)
	if !r.sendLog(&record) {
		r.lostLogs.Add(1)
	}
}

func (r *Run) sendLog(record *wire.Log) (sent bool) {
	session := r.client.session
	if len(record.Message) > wire.MaxLogMessage {
		return session.TryText(record)
	}
	_ = encoded(
		func(b []byte) []byte { return wire.AppendLog(b, record) },
		func(body []byte) error { sent = session.Try(wire.KindLog, body); return nil },
	)
	return sent
}

func lostLogsMessage(lost int64) string {
	records := " log records of this run were"
	if lost == 1 {
		records = " log record of this run was"
	}
	return strconv.FormatInt(lost, 10) + records + " left out, because the service did not store the events of this process fast enough."
}
