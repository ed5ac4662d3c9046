package report

import (
	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/wire"
)

const runningName = "Running"

// ShortRun follows the events of a run from its creation to its end. If all of them are still in the
// queue when the run ends, and nothing of the run came between, they are joined into one event
// (flowspan.v1.RunCompleted) for services that know it. The zero value is a run that has not begun.
//
// All fields belong to the session.
type ShortRun struct {
	phase phase
	runID string
	start int64
	ended []byte // the encoded terminal state
}

type phase int

const (
	phasePlain   phase = iota // its events are reported one by one
	phaseCreated              // its creation is in the queue
	phaseStarted              // so is its start
	phaseEnded                // and its end, without an event of its own
	phaseApart                // its creation is in a batch; its start will be, with its end
	phaseJoined               // all of it is in a batch, in one event
)

// Start queues the first state RUNNING of a run, without a message. It returns false if the run is not
// a short one so far, and nothing is queued.
func (s *Session) Start(run *ShortRun, nanos int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run.phase != phaseCreated || s.isRefusing() {
		return false
	}
	run.phase, run.start = phaseStarted, nanos
	s.add(event{kind: wire.KindStateEntered, short: run})
	return true
}

// End queues the terminal state of the first attempt of a run. It returns false if the run is not a
// short one, and nothing is queued.
func (s *Session) End(run *ShortRun, state []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run.phase != phaseStarted || s.isRefusing() {
		return false
	}
	run.phase, run.ended = phaseEnded, s.queue.keep(state)
	s.queue.bytes += len(state)
	s.queue.sequences++
	s.grown()
	return true
}

// Leave reports the events of a run one by one, because another event depends on their order: the
// creation of a child, an artifact, or a further state.
func (s *Session) Leave(run *ShortRun) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run.phase == phaseCreated || run.phase == phaseStarted {
		run.phase = phasePlain
	}
}

// takeCreation takes the whole run if it has ended, and the service knows short runs.
func (b *builder) takeCreation(e *event) fit {
	run := e.short
	if run.phase == phaseEnded && b.limits.shortRuns {
		switch b.putShortRun(e) {
		case full:
			return full
		case taken:
			b.queue.bytes -= len(run.ended)
			run.phase, run.ended = phaseJoined, nil
			return taken
		default: // in three events, it may fit
		}
	}
	if b.orPlaceholder(b.put(wire.KindRunCreated, e.body)) == full {
		return full
	}
	if run.phase == phaseEnded {
		run.phase = phaseApart
	} else {
		run.phase = phasePlain
	}
	return taken
}

func (b *builder) putShortRun(e *event) fit {
	if int64(b.sequences())+widthOfShortRun > b.limits.events {
		return full
	}
	mark := len(b.made.data)
	b.made.data = wire.AppendShortRun(b.made.data, e.body, e.short.start, e.short.ended)
	got := b.close(mark, widthOfShortRun)
	b.made.hasShortRuns = b.made.hasShortRuns || got == taken
	return got
}

// takeStart takes the state RUNNING. The end of a run whose events stay apart takes its place.
func (b *builder) takeStart(e *event) fit {
	run := e.short
	if run.phase == phaseJoined {
		return taken
	}
	b.scratch = wire.AppendStateEntered(b.scratch[:0], run.runID, 1, &wire.State{
		Type: flowspanpb.StateType_STATE_TYPE_RUNNING, Name: runningName, TimeNanos: run.start,
	})
	if b.orPlaceholder(b.put(wire.KindStateEntered, b.scratch)) == full {
		return full
	}
	if run.phase != phaseApart {
		return taken
	}
	b.queue.bytes -= len(run.ended)
	b.queue.replace(e, event{kind: wire.KindStateEntered, body: wire.AppendEntered(nil, run.runID, 1, run.ended)})
	run.phase, run.ended = phasePlain, nil
	return changed
}
