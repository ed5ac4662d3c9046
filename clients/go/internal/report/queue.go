package report

import (
	"bytes"

	"flowspan.dev/go/internal/wire"
)

const (
	arenaBytes = 64 << 10
	// eventOverhead is roughly what an event takes in memory besides its bytes.
	eventOverhead = 64
	// compactFrom is the number of taken events from which the queue moves the others to its begin.
	compactFrom = 4096
)

// event is an event that has no sequence yet, so that it can still be joined with others, or divided.
type event struct {
	kind wire.Kind
	body []byte
	// short is set for the creation and the start of a run that may become a short run. A start has
	// no body.
	short *ShortRun
	// text is set for a log record that is sent in pieces; there is no body then.
	text *longText
}

func (e *event) size() int {
	size := len(e.body) + eventOverhead
	if e.text != nil {
		size += len(e.text.record.Message)
	}
	return size
}

// queue holds the events that are not in a batch yet, in order. Not safe for concurrent use.
type queue struct {
	events []event
	head   int
	bytes  int
	// sequences is how many sequences the events will take: at least, as a text may be divided.
	sequences int64
	// added and taken count events since the beginning.
	added, taken int64
	arena        []byte
}

// add appends an event that takes a sequence.
func (q *queue) add(e event) {
	if q.head >= compactFrom && q.head*2 >= len(q.events) {
		rest := copy(q.events, q.events[q.head:])
		clear(q.events[rest:])
		q.events, q.head = q.events[:rest], 0
	}
	q.events = append(q.events, e)
	q.bytes += e.size()
	q.sequences++
	q.added++
}

// replace gives an event another form.
func (q *queue) replace(e *event, by event) {
	q.bytes += by.size() - e.size()
	*e = by
}

// pop forgets the first event.
func (q *queue) pop() {
	e := &q.events[q.head]
	q.bytes -= e.size()
	*e = event{}
	q.head++
	q.taken++
	if q.head == len(q.events) {
		q.events, q.head = q.events[:0], 0
	}
}

func (q *queue) isEmpty() bool { return q.head == len(q.events) }

// keep returns a copy of bytes.
func (q *queue) keep(body []byte) []byte {
	if len(body) > cap(q.arena)-len(q.arena) {
		if len(body) > arenaBytes/4 {
			return bytes.Clone(body)
		}
		q.arena = make([]byte, 0, arenaBytes)
	}
	start := len(q.arena)
	q.arena = append(q.arena, body...)
	return q.arena[start:len(q.arena):len(q.arena)]
}

// batch makes the next batch of the first events; nil if there is none that fits. It returns the
// sequences of the events that were too large, in whose place the batch has placeholders.
func (q *queue) batch(first int64, limits limits) (made *batch, tooLarge []int64) {
	builder := builder{limits: limits, queue: q, made: batch{first: first}}
	builder.limits.events = min(limits.events, frameEvents)
	builder.limits.bytes = min(limits.bytes, limits.hard, frameBytes)
	for !q.isEmpty() {
		switch builder.take(&q.events[q.head]) {
		case taken:
			q.pop()
			continue
		case changed:
			continue
		case full, oversize:
		}
		break
	}
	if len(builder.made.items) == 0 {
		return nil, nil
	}
	builder.made.queued = q.taken
	return &builder.made, builder.tooLarge
}
