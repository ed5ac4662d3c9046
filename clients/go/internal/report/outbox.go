package report

import (
	"sort"

	"google.golang.org/protobuf/encoding/protowire"

	"flowspan.dev/go/internal/wire"
)

const (
	chunkEvents = 2000
	chunkBytes  = 256 << 10
	// frameOverhead bounds the bytes of a frame besides the items of its batch.
	frameOverhead = 32
)

// chunk holds consecutive encoded events. Its bytes are never changed in place, because gRPC may
// still be writing them; only more are appended.
type chunk struct {
	first int64
	data  []byte
	ends  []int32
}

func (c *chunk) last() int64 { return c.first + int64(len(c.ends)) - 1 }

func (c *chunk) span(index int) (from, to int32) {
	if index > 0 {
		from = c.ends[index-1]
	}
	return from, c.ends[index]
}

// outbox holds the events that the service has not acknowledged, in order. It is not safe for
// concurrent use.
type outbox struct {
	chunks []*chunk
	bytes  int
	// last is the sequence of the last event; acked of the last acknowledged one; sent of the last
	// one sent on this connection.
	last, acked, sent int64
}

func (o *outbox) unacked() int64 { return o.last - o.acked }
func (o *outbox) unsent() int64  { return o.last - o.sent }

func (o *outbox) add(kind wire.Kind, body []byte) {
	var c *chunk
	if n := len(o.chunks); n > 0 {
		c = o.chunks[n-1]
	}
	if c == nil || len(c.ends) >= chunkEvents || len(c.data)+len(body) > chunkBytes {
		c = &chunk{first: o.last + 1}
		o.chunks = append(o.chunks, c)
	}
	before := len(c.data)
	c.data = wire.AppendItem(c.data, kind, body)
	c.ends = append(c.ends, int32(len(c.data)))
	o.bytes += len(c.data) - before
	o.last++
}

// ack forgets the events up to a sequence.
func (o *outbox) ack(upTo int64) {
	upTo = min(upTo, o.last)
	if upTo <= o.acked {
		return
	}
	o.acked = upTo
	o.sent = max(o.sent, upTo)
	done := 0
	for done < len(o.chunks) && o.chunks[done].last() <= upTo {
		o.bytes -= len(o.chunks[done].data)
		o.chunks[done] = nil
		done++
	}
	o.chunks = o.chunks[done:]
}

// resume rewinds to the event after the last one that the service has. It returns how many events
// the service has lost that it had acknowledged.
func (o *outbox) resume(after int64) int64 {
	o.ack(after)
	o.sent = after
	return max(o.acked-after, 0)
}

// frame returns the next batch to send, as the parts of a ReportRequest, with the number of its
// events; or nil. Several events have at most maxBytes. A single one that has hardBytes or more is
// replaced by a placeholder: tooLarge is then its sequence.
func (o *outbox) frame(maxEvents int64, maxBytes, hardBytes int) (parts [][]byte, events int64, tooLarge int64) {
	next := o.sent + 1
	if next > o.last || maxEvents <= 0 {
		return nil, 0, 0
	}
	c := o.find(next)
	if c == nil {
		return o.placeholders(next, maxEvents)
	}
	index := int(next - c.first)
	from, to := c.span(index)
	if int(to-from)+frameOverhead > hardBytes {
		o.replace(next)
		from, _ = c.span(index)
		tooLarge = next
	}
	limit := min(int64(len(c.ends)-index), maxEvents, chunkEvents)
	count := int64(sort.Search(int(limit), func(n int) bool {
		return int(c.ends[index+n]-from)+frameOverhead > maxBytes
	}))
	count = max(count, 1)
	to = c.ends[index+int(count)-1]
	items := c.data[from:to:to]
	return [][]byte{batchHeader(next, len(items)), items}, count, tooLarge
}

// placeholders returns a batch in place of events that are no longer here.
func (o *outbox) placeholders(next, maxEvents int64) ([][]byte, int64, int64) {
	end := o.acked
	if len(o.chunks) > 0 {
		end = o.chunks[0].first - 1
	}
	count := min(end-next+1, maxEvents, chunkEvents)
	var items []byte
	for range count {
		items = wire.AppendItem(items, wire.PlaceholderKind, nil)
	}
	return [][]byte{batchHeader(next, len(items)), items}, count, 0
}

func (o *outbox) find(sequence int64) *chunk {
	at := sort.Search(len(o.chunks), func(n int) bool { return o.chunks[n].last() >= sequence })
	if at == len(o.chunks) || o.chunks[at].first > sequence {
		return nil
	}
	return o.chunks[at]
}

// replace puts a placeholder in place of an event. It returns false if the event is not here.
func (o *outbox) replace(sequence int64) bool {
	c := o.find(sequence)
	if c == nil || sequence <= o.acked {
		return false
	}
	index := int(sequence - c.first)
	from, to := c.span(index)
	item := wire.AppendItem(nil, wire.PlaceholderKind, nil)
	data := make([]byte, 0, len(c.data)+len(item))
	data = append(data, c.data[:from]...)
	data = append(data, item...)
	data = append(data, c.data[to:]...)
	change := int32(len(item)) - (to - from)
	ends := append([]int32(nil), c.ends...)
	for i := index; i < len(ends); i++ {
		ends[i] += change
	}
	c.data, c.ends = data, ends
	o.bytes += int(change)
	return true
}

func batchHeader(first int64, size int) []byte {
	batch := protowire.SizeTag(1) + protowire.SizeVarint(uint64(first)) + size
	b := make([]byte, 0, frameOverhead)
	b = append(b, 0x12) // field 2 of ReportRequest: batch
	b = protowire.AppendVarint(b, uint64(batch))
	b = append(b, 0x08) // field 1 of Batch: first_sequence
	return protowire.AppendVarint(b, uint64(first))
}
