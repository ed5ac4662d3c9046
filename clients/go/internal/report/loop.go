package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/rpcerr"
)

const (
	welcomeTimeout = 15 * time.Second
	ackTimeout     = 30 * time.Second
	goodbyeTimeout = 2 * time.Second
	warnAfter      = 5 * time.Second
	defaultLease   = 30 * time.Second
	heartbeats     = 3 // in one lease
	// lookEvery is how often a session whose access token was refused looks for another one.
	lookEvery = 500 * time.Millisecond
	// ofUseAfter is how long a connection lives before its end counts as the end of an outage.
	ofUseAfter = time.Second
	// leastFrame is the least that a limit is lowered to when messages are refused by size.
	leastFrame = 256
	// capabilityShortRuns is that of services which know RunCompleted.
	capabilityShortRuns = "run_completed.v1"
	// widthOfShortRun is the number of sequences of a RunCompleted.
	widthOfShortRun = 3
	unlimited       = 1 << 40
)

func plural(events int64) string {
	if events == 1 {
		return "1 event"
	}
	return strconv.FormatInt(events, 10) + " events"
}

// run connects, and reconnects, until the session is closed or cannot go on.
func (s *Session) run() {
	defer close(s.done)
	pace := backoff{}
	refused := refusals{single: unlimited, target: unlimited}
	var warned bool
	var downSince time.Time
	for {
		link := &link{session: s, refused: &refused}
		token := s.config.Token()
		err := link.serve()
		if err == nil || s.ctx.Err() != nil {
			return
		}
		if link.wasOfUse {
			pace.reset()
			downSince = time.Time{}
			warned = false
		}
		details := rpcerr.Of(err)
		if s.hasEnded(link, err, &details) {
			return
		}
		now := time.Now()
		if downSince.IsZero() {
			downSince = now
		}
		s.fail(err)
		if !warned && now.Sub(downSince) >= warnAfter {
			warned = true
			s.config.Logger.Warn("flowspan: the service does not answer; events are kept in memory until it does",
				"error", details.Message, "events", s.Unacked())
		}
		if !s.pause(pace.next(now, isHopeless(&details), details.RetryDelay), details.AboutAccess(), token) {
			return
		}
	}
}

// pause waits; it returns false if the session was cancelled. If the access token was refused, the
// wait ends when there is another one.
func (s *Session) pause(delay time.Duration, refused bool, token string) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	var look <-chan time.Time
	if refused {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		s.mu.Lock()
		idle := s.closing && s.unacked() == 0
		s.mu.Unlock()
		if idle {
			return false // there is nothing to reconnect for
		}
		select {
		case <-timer.C:
			return true
		case <-look:
			if now := s.config.Token(); now != "" && now != token {
				return true
			}
		case <-s.ctx.Done():
			return false
		case <-s.wake:
		}
	}
}

func (s *Session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = err
}

// isHopeless reports whether the next attempt would fail as well.
func isHopeless(details *rpcerr.Details) bool {
	switch details.Code {
	case codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied:
		return true
	default:
		return false
	}
}

// hasEnded handles the end of a stream after which the session cannot go on as it was.
func (s *Session) hasEnded(link *link, err error, details *rpcerr.Details) bool {
	switch {
	case details.AboutSize():
		link.learnLimit()
		return false
	case details.Code == codes.InvalidArgument:
		if s.replaceRefused(details) {
			return false
		}
	case details.Reason == rpcerr.SessionTakenOver, details.Reason == rpcerr.WrongSecret:
	default:
		return false
	}
	s.end(err)
	return true
}

// replaceRefused puts a placeholder in place of the event that the service refuses to read.
func (s *Session) replaceRefused(details *rpcerr.Details) bool {
	sequence, err := strconv.ParseInt(details.Metadata["sequence"], 10, 64)
	if err != nil {
		return false
	}
	s.mu.Lock()
	replaced := s.outbox.replace(sequence)
	s.mu.Unlock()
	if replaced {
		s.config.Logger.Error("flowspan: the service refused an event, which is left out", "sequence", sequence, "error", details.Message)
	}
	return replaced
}

func (s *Session) end(err error) {
	s.mu.Lock()
	s.ended = &EndedError{Cause: err}
	flushes := s.flushes
	s.flushes = nil
	s.free()
	s.mu.Unlock()
	for _, waiter := range flushes {
		close(waiter.done)
	}
	s.config.Logger.Error("flowspan: nothing more is reported", "error", err)
}

// free wakes those who wait for space. It needs the lock.
func (s *Session) free() {
	close(s.freed)
	s.freed = make(chan struct{})
}

// link is one connection of the session.
type link struct {
	session *Session
	stream  grpc.ClientStream
	lease   time.Duration
	window  int64
	// limit is the largest frame that the service takes.
	limit int
	// shortRuns is true if the service knows RunCompleted.
	shortRuns bool
	refused   *refusals
	wasOfUse  bool
	lastFrame time.Time
	// answered is when the service last acknowledged something, or had nothing to acknowledge.
	answered atomic.Int64
	inFlight []sentFrame
}

// refusals is what was learned from messages that gRPC, or a proxy, refused because of their size.
type refusals struct {
	// target is the size that a frame of several events, or of a piece of a text, must not exceed.
	target int
	// single is a size that is refused even for one event.
	single int
}

type sentFrame struct {
	last   int64
	size   int
	events int64 // a short run is one event
}

// serve opens the stream and reports until it ends. It returns nil after a Goodbye.
func (l *link) serve() error {
	ctx, cancel := context.WithCancel(l.session.ctx)
	defer cancel()
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := l.session.config.Conn.NewStream(
		ctx, description, flowspanpb.ReportService_Report_FullMethodName, grpc.ForceCodecV2(codec{}))
	if err != nil {
		return err
	}
	l.stream = stream
	if err := l.greet(cancel); err != nil {
		return err
	}
	began := time.Now()
	defer func() { l.wasOfUse = l.wasOfUse || time.Since(began) >= ofUseAfter }()
	received := make(chan error, 1)
	answers := make(chan struct{}, 1)
	go func() { received <- l.receive(answers) }()
	err = l.send(received, answers)
	var end *receivedError
	switch {
	case errors.As(err, &end):
		return end.cause
	case errors.Is(err, io.EOF): // the receiver gets the status of the stream
		return <-received
	case err == nil: // give the service a moment to take the Goodbye
		slow := time.AfterFunc(goodbyeTimeout, cancel)
		defer slow.Stop()
	default:
		cancel()
	}
	<-received //nolint:errcheck // the receiver has ended; err says why
	return err
}

// greet exchanges Hello and Welcome.
func (l *link) greet(cancel context.CancelFunc) error {
	s := l.session
	hello := s.config.Hello()
	s.mu.Lock()
	acked := s.outbox.acked
	hello.AckedSequence = acked
	s.mu.Unlock()
	data, err := proto.Marshal(&flowspanpb.ReportRequest{Frame: &flowspanpb.ReportRequest_Hello{Hello: hello}})
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	slow := time.AfterFunc(welcomeTimeout, cancel)
	defer slow.Stop()
	// An error here is io.EOF; the status follows from RecvMsg.
	if err := l.stream.SendMsg(frame{data}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	response := new(flowspanpb.ReportResponse)
	if err := l.stream.RecvMsg(response); err != nil {
		if !slow.Stop() {
			return status.Errorf(codes.Unavailable, "no Welcome within %s", welcomeTimeout)
		}
		return streamEnd(err)
	}
	welcome := response.GetWelcome()
	if welcome == nil {
		return status.Error(codes.Unavailable, "the first frame of the service is not Welcome")
	}
	return l.begin(welcome, acked)
}

// begin takes the limits of the Welcome and resumes after the events that the service has.
func (l *link) begin(welcome *flowspanpb.Welcome, acked int64) error {
	s := l.session
	l.lease = welcome.GetLease().AsDuration()
	if l.lease <= 0 {
		l.lease = defaultLease
	}
	l.window = welcome.GetMaxUnackedEvents()
	if l.window <= 0 {
		l.window = frameEvents
	}
	l.limit = int(welcome.GetMaxFrameBytes())
	if l.limit <= 0 {
		l.limit = int(welcome.GetMaxBatchBytes())
	}
	if l.limit <= 0 {
		l.limit = unlimited
	}
	// A window of two would never open for a short run.
	l.shortRuns = l.window >= widthOfShortRun && slices.Contains(welcome.GetCapabilities(), capabilityShortRuns)
	s.mu.Lock()
	if after := welcome.GetResumeAfter(); after > s.outbox.last {
		s.mu.Unlock()
		return status.Errorf(codes.InvalidArgument,
			"the service has %d events of this session, which sent %d: another process reports in it", after, s.outbox.last)
	}
	lost := s.outbox.resume(welcome.GetResumeAfter(), l.shortRuns)
	s.trouble = nil
	s.welcomed = welcome
	s.settle()
	s.mu.Unlock()
	if lost > 0 {
		s.config.Logger.Warn("flowspan: the service has lost events of this session that it had stored: was its database replaced or restored?", "events", lost)
	}
	l.lastFrame = time.Now()
	l.answered.Store(l.lastFrame.UnixNano())
	for _, verdict := range welcome.GetVerdicts() {
		if verdict.GetSequence() > acked {
			s.takeVerdict(verdict)
		}
	}
	return nil
}

// receivedError is an error that the receiver returned, so that it is not awaited again.
type receivedError struct{ cause error }

func (e *receivedError) Error() string { return e.cause.Error() }
func (e *receivedError) Unwrap() error { return e.cause }

func streamEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return status.Error(codes.Unavailable, "the service ended the stream")
	}
	return err
}

// receive handles the frames of the service until the stream ends.
func (l *link) receive(answers chan<- struct{}) error {
	for {
		// A new message each time: verdicts are kept by those who log them.
		response := new(flowspanpb.ReportResponse)
		if err := l.stream.RecvMsg(response); err != nil {
			return streamEnd(err)
		}
		switch frame := response.GetFrame().(type) {
		case *flowspanpb.ReportResponse_Ack:
			l.answered.Store(time.Now().UnixNano())
			l.session.takeAck(frame.Ack)
			select {
			case answers <- struct{}{}:
			default:
			}
		case *flowspanpb.ReportResponse_Command:
			if cancel := frame.Command.GetCancelRun(); cancel != nil {
				l.session.config.OnCancel(cancel.GetRunId(), cancel.GetReason())
			}
			// Drain needs no action: the stream ends, and the session is resumed. Unknown commands
			// are those of a newer service.
		}
	}
}

// send sends frames until the stream ends or the session is closed.
func (l *link) send(received <-chan error, answers <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, closed, err := l.sendWaiting()
		if err != nil || closed {
			return err
		}
		timer.Reset(wait)
		select {
		case <-l.session.wake:
		case <-answers:
			l.wasOfUse = true
		case <-timer.C:
		case err := <-received:
			return &receivedError{err}
		case <-l.session.ctx.Done():
			return l.session.ctx.Err()
		}
	}
}

// sendWaiting sends what is due. It returns how long nothing else is, or true after a Goodbye.
func (l *link) sendWaiting() (wait time.Duration, closed bool, err error) {
	for {
		now := time.Now()
		parts, wait, step := l.next(now)
		switch step {
		case stepWait:
			return wait, false, nil
		case stepGoodbye:
			return 0, true, l.goodbye()
		case stepGiveUp:
			return 0, false, status.Errorf(codes.DeadlineExceeded, "no ack within %s", ackTimeout)
		case stepSend:
		}
		l.lastFrame = now
		if err := l.stream.SendMsg(parts); err != nil {
			return 0, false, err
		}
	}
}

var heartbeat = protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), nil)

// step is what the sender does next.
type step int

const (
	stepWait step = iota
	stepSend
	stepGoodbye // the session is closed, and everything is stored
	stepGiveUp  // the service does not acknowledge
)

// next returns what to do next: the frame to send, or how long nothing is due.
func (l *link) next(now time.Time) (frame, time.Duration, step) {
	s := l.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing && s.unacked() == 0 {
		return nil, 0, stepGoodbye
	}
	wait := l.lastFrame.Add(l.lease / heartbeats).Sub(now)
	if s.outbox.unsent() > 0 || !s.queue.isEmpty() {
		due := l.due(now)
		if due <= 0 {
			if parts := l.take(now); parts != nil {
				return parts, 0, stepSend
			}
			due = wait // an ack opens the window
		}
		wait = min(wait, due)
	}
	if s.outbox.inFlight() > 0 {
		left := time.Unix(0, l.answered.Load()).Add(ackTimeout).Sub(now)
		if left <= 0 {
			return nil, 0, stepGiveUp
		}
		wait = min(wait, left)
	}
	if wait <= 0 {
		return frame{heartbeat}, 0, stepSend
	}
	return nil, wait, stepWait
}

// due returns how long the next events may wait for others that share their frame. It needs the lock.
func (l *link) due(now time.Time) time.Duration {
	s := l.session
	if s.outbox.unsent() > 0 || s.queue.sequences >= frameEvents || s.hurried > s.queue.taken {
		return 0
	}
	return s.queuedSince.Add(s.config.Linger).Sub(now)
}

// take takes the next frame out of the outbox; nil if the window is full. It needs the lock.
func (l *link) take(now time.Time) frame {
	s := l.session
	hard := min(l.limit, l.refused.single)
	inFlight := s.outbox.inFlight()
	limits := limits{events: l.window - inFlight, bytes: min(hard, l.refused.target), hard: hard, shortRuns: l.shortRuns}
	if s.outbox.unsent() == 0 {
		made, tooLarge := s.queue.batch(s.outbox.last+1, limits)
		for _, sequence := range tooLarge {
			l.leftOut(sequence)
		}
		if made == nil {
			return nil
		}
		s.outbox.add(made)
		s.queuedSince = now
	}
	parts, events, tooLarge := s.outbox.frame(limits)
	if tooLarge > 0 {
		l.leftOut(tooLarge)
	}
	if parts == nil {
		return nil
	}
	if inFlight <= 0 {
		l.answered.Store(now.UnixNano())
	}
	l.note(sentFrame{last: s.outbox.sent, size: parts.size(), events: events}, s.outbox.acked)
	return parts
}

func (l *link) leftOut(sequence int64) {
	l.session.config.Logger.Error("flowspan: an event is too large for the service and is left out", "sequence", sequence)
}

// note keeps the sizes of the frames in flight, for learnLimit.
func (l *link) note(sent sentFrame, acked int64) {
	done := 0
	for done < len(l.inFlight) && l.inFlight[done].last <= acked {
		done++
	}
	l.inFlight = append(l.inFlight[done:], sent)
}

// learnLimit notes that gRPC or a proxy refused the largest frame in flight, which is never sent
// again: its events are sent in smaller batches, and an event that is too large on its own is left
// out. Long texts that were not sent yet are divided into smaller pieces.
func (l *link) learnLimit() {
	var largest sentFrame
	for _, sent := range l.inFlight {
		if sent.size > largest.size {
			largest = sent
		}
	}
	if largest.events == 1 {
		l.refused.single = min(l.refused.single, largest.size)
	}
	if largest.size > 0 { // the pieces of long texts become smaller, too
		l.refused.target = max(min(l.refused.target, largest.size)/2, leastFrame)
	}
	l.session.config.Logger.Warn("flowspan: a report was refused as too large and is sent in parts", "bytes", largest.size)
}

func (l *link) goodbye() error {
	tag := protowire.AppendTag(nil, 4, protowire.BytesType)
	if err := l.stream.SendMsg(frame{protowire.AppendBytes(tag, nil)}); err != nil {
		return err
	}
	return l.stream.CloseSend()
}

// takeAck forgets stored events and handles the verdicts on them.
func (s *Session) takeAck(ack *flowspanpb.Ack) {
	s.mu.Lock()
	s.outbox.ack(ack.GetUpToSequence())
	s.settle()
	s.mu.Unlock()
	for _, verdict := range ack.GetVerdicts() {
		s.takeVerdict(verdict)
	}
}

// settle wakes those who wait for acks. It needs the lock.
func (s *Session) settle() {
	s.free()
	waiting := s.flushes[:0]
	for _, waiter := range s.flushes {
		if s.isSettled(waiter.upTo) {
			close(waiter.done)
		} else {
			waiting = append(waiting, waiter)
		}
	}
	clear(s.flushes[len(waiting):])
	s.flushes = waiting
}

func (s *Session) takeVerdict(verdict *flowspanpb.Verdict) {
	switch verdict.GetKind() {
	case flowspanpb.VerdictKind_VERDICT_KIND_ABORT:
		s.config.OnCancel(verdict.GetRunId(), fmt.Sprintf("%s (%s)", verdict.GetReason(), verdict.GetRule()))
		s.logVerdict("flowspan: the service stops a run", verdict)
	case flowspanpb.VerdictKind_VERDICT_KIND_REJECTED:
		s.logVerdict("flowspan: the service rejected an event", verdict)
	default:
	}
}

// logVerdict logs the first verdict of each rule as a warning, and the others for debugging.
func (s *Session) logVerdict(text string, verdict *flowspanpb.Verdict) {
	log := s.config.Logger.Debug
	if _, again := s.logged.LoadOrStore(verdict.GetRule(), true); !again {
		log = s.config.Logger.Warn
	}
	log(text, "run_id", verdict.GetRunId(), "rule", verdict.GetRule(), "reason", verdict.GetReason())
}
