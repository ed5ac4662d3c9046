package report

import (
	"sort"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/wire"
)

// batch holds consecutive encoded events that were sent, or will be next. Their sequences and their
// order are fixed. Its bytes are never changed in place, because gRPC may still be writing them.
type batch struct {
	first int64
	data  []byte
	items []item
	// queued is the number of events that had left the queue when the batch was made.
	queued int64
	// hasShortRuns is true if an item is a RunCompleted.
	hasShortRuns bool
}

// item is the end of an encoded event in its batch: in bytes, and in sequences.
type item struct {
	end, sequences int32
}

func (b *batch) last() int64 { return b.first + int64(b.before(len(b.items)).sequences) - 1 }

// before returns the end of the item before an index.
func (b *batch) before(index int) item {
	if index == 0 {
		return item{}
	}
	return b.items[index-1]
}

// size returns the bytes of an item.
func (b *batch) size(index int) int { return int(b.items[index].end - b.before(index).end) }

// width returns the number of sequences of an item.
func (b *batch) width(index int) int32 {
	return b.items[index].sequences - b.before(index).sequences
}

// find returns the index of the item with a sequence.
func (b *batch) find(sequence int64) int {
	offset := int32(sequence - b.first)
	return sort.Search(len(b.items), func(n int) bool { return b.items[n].sequences > offset })
}

// add appends an item with new bytes.
func (b *batch) add(data []byte, sequences int32) {
	b.data = append(b.data, data...)
	b.items = append(b.items, item{int32(len(b.data)), b.before(len(b.items)).sequences + sequences})
}

// rewrite returns the batch with other bytes for some items: change appends the item to the new batch,
// or returns false to keep it.
func (b *batch) rewrite(change func(index int, data []byte, to *batch) bool) *batch {
	to := &batch{first: b.first, queued: b.queued, data: make([]byte, 0, len(b.data))}
	for index := range b.items {
		data := b.data[b.before(index).end:b.items[index].end]
		if !change(index, data, to) {
			to.add(data, b.width(index))
			to.hasShortRuns = to.hasShortRuns || b.width(index) > 1
		}
	}
	return to
}

// expanded returns the batch with the three events of each short run in place of its one event.
func (b *batch) expanded() *batch {
	return b.rewrite(func(index int, data []byte, to *batch) bool {
		if b.width(index) == 1 {
			return false
		}
		for _, part := range expanded(data) {
			to.add(part, 1)
		}
		return true
	})
}

// replaced returns the batch with a placeholder in place of one event.
func (b *batch) replaced(at int) *batch {
	return b.rewrite(func(index int, _ []byte, to *batch) bool {
		if index != at {
			return false
		}
		to.add(wire.AppendItem(nil, wire.PlaceholderKind, nil), b.width(index))
		return true
	})
}

// expanded returns the items of the three events that the item of a RunCompleted stands for.
func expanded(data []byte) [][]byte {
	var one flowspanpb.Batch
	if err := proto.Unmarshal(data, &one); err != nil || len(one.GetEvents()) != 1 {
		panic("flowspan: an event of this client is malformed") // it was encoded here
	}
	short := one.GetEvents()[0].GetRunCompleted()
	runID := short.GetCreated().GetRunId()
	running := &flowspanpb.State{Type: flowspanpb.StateType_STATE_TYPE_RUNNING, Name: runningName, Time: short.GetStartTime()}
	return [][]byte{
		wire.AppendItem(nil, wire.KindRunCreated, wire.AppendMessage(nil, short.GetCreated())),
		wire.AppendItem(nil, wire.KindStateEntered, wire.AppendMessage(nil, &flowspanpb.StateEntered{RunId: runID, Attempt: 1, State: running})),
		wire.AppendItem(nil, wire.KindStateEntered, wire.AppendMessage(nil, &flowspanpb.StateEntered{RunId: runID, Attempt: 1, State: short.GetEnded()})),
	}
}

// frameParts returns items of a batch as the parts of a ReportRequest.
func frameParts(first int64, items []byte) frame {
	return frame{batchHeader(first, len(items)), items}
}

func batchHeader(first int64, size int) []byte {
	batch := protowire.SizeTag(1) + protowire.SizeVarint(uint64(first)) + size
	b := make([]byte, 0, frameOverhead)
	b = append(b, 0x12) // field 2 of ReportRequest: batch
	b = protowire.AppendVarint(b, uint64(batch))
	b = append(b, 0x08) // field 1 of Batch: first_sequence
	return protowire.AppendVarint(b, uint64(first))
}
