package report

import (
	"sort"

	"flowspan.dev/go/internal/wire"
)

const (
	// frameEvents and frameBytes bound a frame, whatever the service allows.
	frameEvents = 2000
	frameBytes  = 512 << 10
	// frameOverhead bounds the bytes of a frame besides the items of its batch.
	frameOverhead = 32
)

// limits is what the service takes.
type limits struct {
	// events is the number of sequences that may be sent now.
	events int64
	// bytes bounds a frame of several events; hard also one of a single event.
	bytes, hard int
	// shortRuns is true if the service knows RunCompleted.
	shortRuns bool
}

// outbox holds the events that have sequences and that the service has not acknowledged, in order.
// It is not safe for concurrent use.
type outbox struct {
	batches []*batch
	bytes   int
	// last is the sequence of the last event; acked of the last acknowledged one. sent and confirmed
	// are those of this connection: after a service has lost events, they are below acked.
	last, acked, sent, confirmed int64
	// settled is the number of queued events that are acknowledged.
	settled int64
}

func (o *outbox) unacked() int64  { return o.last - o.acked }
func (o *outbox) unsent() int64   { return o.last - o.sent }
func (o *outbox) inFlight() int64 { return o.sent - o.confirmed }

// add appends a batch, which begins after the last event.
func (o *outbox) add(b *batch) {
	o.batches = append(o.batches, b)
	o.bytes += len(b.data)
	o.last = b.last()
}

// ack forgets the events up to a sequence.
func (o *outbox) ack(upTo int64) {
	upTo = min(upTo, o.last)
	o.confirmed = max(o.confirmed, upTo)
	if upTo <= o.acked {
		return
	}
	o.acked = upTo
	o.sent = max(o.sent, upTo)
	done := 0
	for done < len(o.batches) && o.batches[done].last() <= upTo {
		o.bytes -= len(o.batches[done].data)
		o.settled = o.batches[done].queued
		o.batches[done] = nil
		done++
	}
	o.batches = o.batches[done:]
}

// resume rewinds to the event after the last one that the service has. It returns how many events
// the service has lost that it had acknowledged. Without shortRuns, the service does not know
// RunCompleted, and gets the events that it stands for.
func (o *outbox) resume(after int64, shortRuns bool) int64 {
	o.ack(after)
	o.sent, o.confirmed = after, after
	if !shortRuns {
		for index, b := range o.batches {
			if b.hasShortRuns {
				o.put(index, b.expanded())
			}
		}
	}
	return max(o.acked-after, 0)
}

// frame returns the next batch to send, as the parts of a ReportRequest, and how many events it has;
// or nil. A single event that does not fit is replaced by a placeholder: tooLarge is then its
// sequence.
func (o *outbox) frame(limits limits) (parts frame, events, tooLarge int64) {
	next := o.sent + 1
	if next > o.last || limits.events <= 0 {
		return nil, 0, 0
	}
	at := o.find(next)
	if at < 0 {
		return o.placeholders(next, limits.events)
	}
	if o.batches[at].size(o.batches[at].find(next))+frameOverhead > limits.hard {
		tooLarge = o.shrink(at, next, limits.hard)
	}
	b := o.batches[at]
	index := b.find(next)
	begin := b.before(index)
	end := index + o.fitting(b, index, limits)
	if end == index {
		return nil, 0, tooLarge
	}
	until := b.before(end)
	o.sent = b.first + int64(until.sequences) - 1
	items := b.data[begin.end:until.end:until.end]
	return frameParts(b.first+int64(begin.sequences), items), int64(end - index), tooLarge
}

// fitting returns the number of items from an index that the service takes now.
func (o *outbox) fitting(b *batch, index int, limits limits) int {
	begin := b.before(index).end
	rest := len(b.items) - index
	byBytes := sort.Search(rest, func(n int) bool { return int(b.items[index+n].end-begin)+frameOverhead > limits.bytes })
	bySequences := sort.Search(rest, func(n int) bool {
		return b.first+int64(b.items[index+n].sequences)-1-o.sent > limits.events
	})
	return min(max(byBytes, 1), bySequences)
}

// shrink makes the item of a sequence smaller: a short run is expanded, and an event that is still too
// large is replaced. It then returns its sequence, else zero.
func (o *outbox) shrink(at int, sequence int64, hardBytes int) (tooLarge int64) {
	if b := o.batches[at]; b.width(b.find(sequence)) > 1 {
		o.put(at, b.expanded())
	}
	b := o.batches[at]
	if b.size(b.find(sequence))+frameOverhead <= hardBytes {
		return 0
	}
	o.replace(sequence)
	return sequence
}

// placeholders returns a batch in place of events that are no longer here.
func (o *outbox) placeholders(next, maxEvents int64) (parts frame, events, tooLarge int64) {
	end := o.acked
	if len(o.batches) > 0 {
		end = o.batches[0].first - 1
	}
	events = min(end-next+1, maxEvents, frameEvents)
	var items []byte
	for range events {
		items = wire.AppendItem(items, wire.PlaceholderKind, nil)
	}
	o.sent += events
	return frameParts(next, items), events, 0
}

// find returns the index of the batch with a sequence; -1 if it is not here.
func (o *outbox) find(sequence int64) int {
	at := sort.Search(len(o.batches), func(n int) bool { return o.batches[n].last() >= sequence })
	if at == len(o.batches) || o.batches[at].first > sequence {
		return -1
	}
	return at
}

func (o *outbox) put(at int, b *batch) {
	o.bytes += len(b.data) - len(o.batches[at].data)
	o.batches[at] = b
}

// replace puts a placeholder in place of an event. It returns false if the event is not here.
func (o *outbox) replace(sequence int64) bool {
	at := o.find(sequence)
	if at < 0 || sequence <= o.acked {
		return false
	}
	if b := o.batches[at]; b.width(b.find(sequence)) > 1 {
		o.put(at, b.expanded())
	}
	b := o.batches[at]
	o.put(at, b.replaced(b.find(sequence)))
	return true
}
