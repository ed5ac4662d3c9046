// Package report sends the events of a process to the service: one stream, an outbox of
// unacknowledged events, and reconnection without loss.
package report

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/wire"
)

// ErrFull is returned if the outbox stayed full for longer than the timeout.
var ErrFull = errors.New("the outbox of unstored events is full")

// ErrClosed is returned after Close.
var ErrClosed = errors.New("the client is closed")

// EndedError says that the session cannot go on. Nothing more is sent.
type EndedError struct {
	Cause error
}

func (e *EndedError) Error() string { return "the report session ended: " + e.Cause.Error() }

// Unwrap returns the status of the stream.
func (e *EndedError) Unwrap() error { return e.Cause }

// Config is what a session needs.
type Config struct {
	// Conn opens the stream.
	Conn grpc.ClientConnInterface
	// Hello returns the first frame, without acked_sequence.
	Hello func() *flowspanpb.Hello
	// Token returns the access token of the next call; empty if there is none. Nil if calls never
	// have one.
	Token func() string
	// OnCancel is called when the service asks to cancel a run, or will accept no more of it.
	OnCancel func(runID, reason string)
	// Logger gets the messages about the connection.
	Logger *slog.Logger
	// MaxEvents and MaxBytes bound the outbox.
	MaxEvents int
	MaxBytes  int
	// Linger is how long an event waits for others that share its batch.
	Linger time.Duration
	// BlockTimeout bounds the wait of Gate for space. Zero waits without a limit.
	BlockTimeout time.Duration
}

// Session reports the events of this process.
type Session struct {
	config Config
	ctx    context.Context //nolint:containedctx // the life of the goroutine, not of a call
	cancel context.CancelFunc
	wake   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	queue   queue
	outbox  outbox
	started bool
	closing bool
	// hurried counts the queued events for which a flush waits: they do not linger.
	hurried     int64
	queuedSince time.Time
	freed       chan struct{} // closed when the outbox shrinks
	flushes     []flush
	ended       error
	trouble     error
	welcomed    *flowspanpb.Welcome

	logged sync.Map // the rules whose verdicts were logged
}

// flush waits until a number of queued events are acknowledged.
type flush struct {
	upTo int64
	done chan struct{}
}

// NewSession returns a session that connects with its first event.
func NewSession(config Config) *Session {
	if config.Token == nil {
		config.Token = func() string { return "" }
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Session{
		config: config,
		ctx:    ctx,
		cancel: cancel,
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		freed:  make(chan struct{}),
	}
}

// Gate waits until the outbox has space. After BlockTimeout, it returns ErrFull; when the context
// ends, its cause.
func (s *Session) Gate(ctx context.Context) error {
	var timeout <-chan time.Time
	for {
		s.mu.Lock()
		if s.isRefusing() {
			defer s.mu.Unlock()
			return s.refusal()
		}
		if s.hasSpace() {
			s.mu.Unlock()
			return nil
		}
		freed := s.freed
		s.mu.Unlock()
		if timeout == nil && s.config.BlockTimeout > 0 {
			timer := time.NewTimer(s.config.BlockTimeout)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-freed:
		case <-timeout:
			return ErrFull
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Create queues the creation of a run, and waits while the outbox is full (see Gate). short is nil for
// a run whose events are always reported one by one.
func (s *Session) Create(ctx context.Context, short *ShortRun, runID string, body []byte) error {
	if s.tryCreate(short, runID, body) {
		return nil
	}
	if err := s.Gate(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isRefusing() {
		return s.refusal()
	}
	s.create(short, runID, body)
	return nil
}

func (s *Session) tryCreate(short *ShortRun, runID string, body []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isRefusing() || !s.hasSpace() {
		return false
	}
	s.create(short, runID, body)
	return true
}

// Force queues an event even if the outbox is full.
func (s *Session) Force(kind wire.Kind, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isRefusing() {
		return s.refusal()
	}
	s.add(event{kind: kind, body: s.queue.keep(body)})
	return nil
}

// Try queues an event unless the outbox is full. It returns false if the event is not queued.
func (s *Session) Try(kind wire.Kind, body []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isRefusing() || !s.hasSpace() {
		return false
	}
	s.add(event{kind: kind, body: s.queue.keep(body)})
	return true
}

// isRefusing, refusal, unacked, hasSpace, create, add and grown need the lock.

func (s *Session) isRefusing() bool { return s.closing || s.ended != nil }

func (s *Session) refusal() error {
	if s.ended != nil {
		return s.ended
	}
	return ErrClosed
}

func (s *Session) unacked() int64 { return s.queue.sequences + s.outbox.unacked() }

func (s *Session) hasSpace() bool {
	return s.unacked() < int64(s.config.MaxEvents) && s.queue.bytes+s.outbox.bytes < s.config.MaxBytes
}

func (s *Session) create(short *ShortRun, runID string, body []byte) {
	if short != nil {
		short.phase, short.runID = phaseCreated, runID
	}
	s.add(event{kind: wire.KindRunCreated, body: s.queue.keep(body), short: short})
}

func (s *Session) add(e event) {
	if s.queue.isEmpty() {
		s.queuedSince = time.Now()
		if !s.started {
			s.started = true
			go s.run()
		}
		s.signal()
	}
	s.queue.add(e)
	s.grown()
}

// grown wakes the sender for each full frame.
func (s *Session) grown() {
	if s.queue.sequences%frameEvents == 0 {
		s.signal()
	}
}

func (s *Session) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Flush waits until the service has stored every event so far.
//
// It returns the error of the context with the reason why the service does not answer, or the
// EndedError of a session that cannot go on.
func (s *Session) Flush(ctx context.Context) error {
	s.mu.Lock()
	upTo := s.queue.added
	if s.isSettled(upTo) {
		s.mu.Unlock()
		return nil
	}
	if s.ended != nil {
		defer s.mu.Unlock()
		return s.ended
	}
	s.hurried = max(s.hurried, upTo)
	waiter := flush{upTo: upTo, done: make(chan struct{})}
	s.flushes = append(s.flushes, waiter)
	s.signal()
	s.mu.Unlock()
	select {
	case <-waiter.done:
		return s.resultOf(upTo)
	case <-ctx.Done():
		if err := s.resultOf(upTo); err == nil {
			return nil
		}
		return errors.Join(context.Cause(ctx), s.Trouble())
	case <-s.done:
		return s.resultOf(upTo)
	}
}

func (s *Session) resultOf(upTo int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isSettled(upTo) {
		return nil
	}
	return s.refusal()
}

// isSettled reports whether a number of queued events are acknowledged. It needs the lock.
func (s *Session) isSettled(upTo int64) bool {
	return s.outbox.settled >= upTo || s.unacked() == 0
}

// Trouble returns the reason why there is no connection, or nil.
func (s *Session) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return s.ended
	}
	return s.trouble
}

// Unacked returns the number of events that the service has not acknowledged.
func (s *Session) Unacked() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unacked()
}

// Welcome returns the last Welcome of the service, or nil.
func (s *Session) Welcome() *flowspanpb.Welcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.welcomed
}

// Close takes no more events, waits until all are stored, and says Goodbye. When the context ends,
// the rest is lost: the error says how many events.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	started := s.started
	s.closing = true
	s.hurried = s.queue.added
	s.signal()
	s.mu.Unlock()
	if !started {
		s.cancel()
		return nil
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		s.cancel()
		<-s.done
	}
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if lost := s.unacked(); lost > 0 {
		return &LostError{Events: lost, Cause: errors.Join(s.ended, s.trouble, context.Cause(ctx))}
	}
	return nil
}

// LostError says that events were not stored when the client was closed.
type LostError struct {
	Events int64
	Cause  error
}

func (e *LostError) Error() string {
	text := "events were not stored by the service: " + plural(e.Events)
	if e.Cause != nil {
		text += " (" + e.Cause.Error() + ")"
	}
	return text
}

// Unwrap returns the reason.
func (e *LostError) Unwrap() error { return e.Cause }
