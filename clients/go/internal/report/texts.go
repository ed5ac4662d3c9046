package report

import (
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/wire"
)

// lengthsOfPiece bounds what the text of a piece adds to the lengths around it, in bytes.
const lengthsOfPiece = 16

// longText is a log record that is sent in pieces. It is divided only when its first piece is sent,
// because the largest frame of the service is known by then. After that, the pieces are fixed.
type longText struct {
	record wire.Log
	pieces []string
	next   int
}

// TryText queues a log record of any length unless the outbox is full. It returns false if the record
// is not queued.
func (s *Session) TryText(record *wire.Log) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isRefusing() || !s.hasSpace() {
		return false
	}
	s.add(event{kind: wire.KindLog, text: &longText{record: *record}})
	return true
}

// textOf returns an encoded log record as a text to divide.
func textOf(body []byte) *longText {
	record := new(flowspanpb.LogRecord)
	if err := proto.Unmarshal(body, record); err != nil {
		return nil
	}
	return &longText{record: wire.Log{
		RunID: record.GetRunId(), Level: int(record.GetLevel()), TimeNanos: record.GetTime().AsTime().UnixNano(),
		Logger: record.GetLogger(), Message: record.GetMessage(), TraceID: record.GetTraceId(), SpanID: record.GetSpanId(),
		Attempt: record.GetAttempt(),
	}}
}

// takeText takes as many pieces of a text as fit.
func (b *builder) takeText(text *longText) fit {
	if text.next == 0 {
		text.pieces = wire.Pieces(text.record.Message, b.pieceBytes(text.record))
		b.queue.sequences += int64(len(text.pieces)) - 1
	}
	record := text.record
	record.ChunkCount = len(text.pieces)
	for text.next < len(text.pieces) {
		record.ChunkIndex, record.Message = text.next, text.pieces[text.next]
		b.scratch = wire.AppendLog(b.scratch[:0], &record)
		if b.orPlaceholder(b.put(wire.KindLog, b.scratch)) == full {
			if text.next == 0 { // to be divided anew
				b.queue.sequences -= int64(len(text.pieces)) - 1
			}
			return full
		}
		text.next++
	}
	return taken
}

// pieceBytes returns the largest piece of a record's message that fits into a frame.
func (b *builder) pieceBytes(record wire.Log) int {
	record.ChunkIndex, record.ChunkCount, record.Message = len(record.Message), len(record.Message)+1, ""
	around := len(wire.AppendItem(nil, wire.KindLog, wire.AppendLog(nil, &record))) + lengthsOfPiece + frameOverhead
	space := b.limits.bytes - around
	if space < utf8.UTFMax {
		return wire.MaxLogMessage // no frame of the service holds a piece of it
	}
	return min(space, wire.MaxLogMessage)
}
