package flowspan

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"flowspan.dev/go/flowspanpb"
)

// LogQuery selects log records.
type LogQuery struct {
	// RunID is the flow run or task run. It is required.
	RunID string
	// Descendants includes the records of the runs that the run called.
	Descendants bool
	// MinLevel is the least severity, such as flowspanpb.LogLevel_LOG_LEVEL_WARNING.
	MinLevel flowspanpb.LogLevel
	// Loggers are the names of loggers, which include their descendants: "app" matches "app.db".
	Loggers []string
	// Since is the time of the first record.
	Since time.Time
	// Contains is a text that the message contains.
	Contains string
}

// Logs iterates over the log records of a run, the oldest first. Long records, which are stored in
// pieces, come as one.
func (c *Client) Logs(ctx context.Context, query LogQuery, options ...ListOption) iter.Seq2[*LogRecord, error] {
	o := listed(options)
	raw := pages(func(token string) ([]*LogRecord, string, error) {
		answer, err := flowspanpb.NewLogServiceClient(c.conn).ListLogs(ctx, &flowspanpb.ListLogsRequest{
			RunId: query.RunID, IncludeDescendants: query.Descendants, MinLevel: query.MinLevel, Loggers: query.Loggers,
			LoggedAfter: timestamp(query.Since), MessageContains: query.Contains, PageSize: o.pageSize, PageToken: token,
		})
		return answer.GetLogs(), answer.GetNextPageToken(), err
	})
	return func(yield func(*LogRecord, error) bool) {
		join := joiner{query: &query}
		for record, err := range raw {
			if err != nil {
				yield(nil, err)
				return
			}
			if whole := join.add(record); whole != nil && !yield(whole, nil) {
				return
			}
		}
	}
}

// TailLogs iterates over the existing log records of a run, and then the new ones, until the run has
// ended. After a broken connection, it resumes where it was, for up to a minute.
func (c *Client) TailLogs(ctx context.Context, query LogQuery) iter.Seq2[*LogRecord, error] {
	request := &flowspanpb.TailLogsRequest{
		RunId: query.RunID, IncludeDescendants: query.Descendants, MinLevel: query.MinLevel, Loggers: query.Loggers,
		LoggedAfter: timestamp(query.Since), MessageContains: query.Contains,
	}
	return func(yield func(*LogRecord, error) bool) {
		join := joiner{query: &query}
		w := watching[flowspanpb.TailLogsResponse]{client: c}
		w.open = func(ctx context.Context) (grpc.ServerStreamingClient[flowspanpb.TailLogsResponse], error) {
			return flowspanpb.NewLogServiceClient(c.conn).TailLogs(ctx, request)
		}
		w.take = func(response *flowspanpb.TailLogsResponse) bool {
			for _, record := range response.GetLogs() {
				request.AfterPosition = max(request.GetAfterPosition(), record.GetPosition())
				if whole := join.add(record); whole != nil && !yield(whole, nil) {
					return false
				}
			}
			request.AfterPosition = max(request.GetAfterPosition(), response.GetPosition())
			return true
		}
		if err := w.follow(ctx); err != nil {
			yield(nil, err)
		}
	}
}

// joiner puts the pieces of long records together.
type joiner struct {
	query  *LogQuery
	pieces map[pieceKey][]*LogRecord
}

type pieceKey struct {
	run, logger string
	time        int64
	attempt     int32
	count       int32
}

// add returns a whole record, or nil if pieces are missing or the record does not match.
func (j *joiner) add(record *LogRecord) *LogRecord {
	count := record.GetChunkCount()
	if count <= 1 {
		return record
	}
	key := pieceKey{record.GetRunId(), record.GetLogger(), record.GetTime().AsTime().UnixNano(), record.GetAttempt(), count}
	if j.pieces == nil {
		j.pieces = map[pieceKey][]*LogRecord{}
	}
	j.pieces[key] = append(j.pieces[key], record)
	pieces := j.pieces[key]
	if len(pieces) < int(count) {
		return nil
	}
	delete(j.pieces, key)
	slices.SortFunc(pieces, func(a, b *LogRecord) int { return int(a.GetChunkIndex() - b.GetChunkIndex()) })
	text := make([]byte, 0, len(pieces[0].GetMessage())*len(pieces))
	for _, piece := range pieces {
		text = append(text, piece.GetMessage()...)
	}
	whole, _ := proto.Clone(pieces[0]).(*LogRecord)
	whole.Message, whole.ChunkIndex, whole.ChunkCount = string(text), 0, 0
	if !strings.Contains(whole.GetMessage(), j.query.Contains) {
		return nil
	}
	return whole
}
