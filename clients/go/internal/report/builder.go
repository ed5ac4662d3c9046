package report

import "flowspan.dev/go/internal/wire"

// fit is what became of an event for which a batch is made.
type fit int

const (
	taken    fit = iota // it is in the batch, or needs no place in one
	changed             // a part of it is in the batch, or it has another form now
	full                // it is for the next batch
	oversize            // it does not even fit alone
)

// builder makes one batch from the first events of a queue.
type builder struct {
	limits   limits
	queue    *queue
	made     batch
	tooLarge []int64
	scratch  []byte
}

func (b *builder) take(e *event) fit {
	switch {
	case e.text != nil:
		return b.takeText(e.text)
	case e.short == nil:
		return b.takePlain(e)
	case e.body == nil:
		return b.takeStart(e)
	default:
		return b.takeCreation(e)
	}
}

func (b *builder) takePlain(e *event) fit {
	got := b.put(e.kind, e.body)
	if got == oversize && e.kind == wire.KindLog {
		if text := textOf(e.body); text != nil {
			b.queue.replace(e, event{kind: wire.KindLog, text: text})
			return changed
		}
	}
	return b.orPlaceholder(got)
}

// put appends an event that takes one sequence.
func (b *builder) put(kind wire.Kind, body []byte) fit {
	if int64(b.sequences()) >= b.limits.events {
		return full
	}
	mark := len(b.made.data)
	b.made.data = wire.AppendItem(b.made.data, kind, body)
	return b.close(mark, 1)
}

// orPlaceholder puts a placeholder in place of an event that does not fit.
func (b *builder) orPlaceholder(got fit) fit {
	if got != oversize {
		return got
	}
	b.tooLarge = append(b.tooLarge, b.made.first+int64(b.sequences()))
	mark := len(b.made.data)
	b.made.data = wire.AppendItem(b.made.data, wire.PlaceholderKind, nil)
	b.limits.hard = max(b.limits.hard, len(b.made.data)+frameOverhead) // a placeholder always fits
	return b.close(mark, 1)
}

// close completes the item from a mark on, or takes it back if it does not fit.
func (b *builder) close(mark int, sequences int32) fit {
	size := len(b.made.data) + frameOverhead
	got := taken
	switch {
	case mark > 0 && size > b.limits.bytes:
		got = full
	case size > b.limits.hard:
		got = oversize
	}
	if got != taken {
		b.made.data = b.made.data[:mark]
		return got
	}
	b.made.items = append(b.made.items, item{int32(len(b.made.data)), b.sequences() + sequences})
	b.queue.sequences -= int64(sequences)
	return taken
}

// sequences returns the number of sequences of the batch so far.
func (b *builder) sequences() int32 { return b.made.before(len(b.made.items)).sequences }
