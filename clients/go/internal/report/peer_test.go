package report

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/rpcerr"
	"flowspan.dev/go/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a service that misbehaves as a test says. It checks what every client must keep.
type peer struct {
	flowspanpb.UnimplementedReportServiceServer

	welcome flowspanpb.Welcome
	// welcomes are those of the first connections, in place of welcome.
	welcomes []*flowspanpb.Welcome
	// onBatch decides about a batch, before it is stored: an error ends the stream.
	onBatch func(connection int, batch *flowspanpb.Batch) error
	// mute makes the peer store batches and not acknowledge them, on the first connection.
	mute bool

	t           *testing.T
	mu          sync.Mutex
	stored      []string
	shortRuns   int
	logs        []*flowspanpb.LogRecord
	connections int
	hellos      []*flowspanpb.Hello
	heartbeats  int
	goodbyes    int
	// commands are sent after each Welcome.
	commands []*flowspanpb.Command
}

func (p *peer) Report(stream grpc.BidiStreamingServer[flowspanpb.ReportRequest, flowspanpb.ReportResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.connections++
	connection := p.connections
	p.hellos = append(p.hellos, first.GetHello())
	welcome := proto.CloneOf(&p.welcome)
	if connection <= len(p.welcomes) {
		welcome = proto.CloneOf(p.welcomes[connection-1])
	}
	welcome.ResumeAfter = int64(len(p.stored))
	p.mu.Unlock()
	if err := stream.Send(&flowspanpb.ReportResponse{Frame: &flowspanpb.ReportResponse_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	for _, command := range p.commands {
		if err := stream.Send(&flowspanpb.ReportResponse{Frame: &flowspanpb.ReportResponse_Command{Command: command}}); err != nil {
			return err
		}
	}
	next := welcome.GetResumeAfter() + 1
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		if limit := welcome.GetMaxFrameBytes(); limit > 0 && int64(proto.Size(request)) > limit {
			p.t.Errorf("a frame of %d bytes, above %d", proto.Size(request), limit)
		}
		switch frame := request.GetFrame().(type) {
		case *flowspanpb.ReportRequest_Batch:
			if frame.Batch.GetFirstSequence() != next {
				p.t.Errorf("a batch begins at %d, not at %d", frame.Batch.GetFirstSequence(), next)
			}
			for _, event := range frame.Batch.GetEvents() {
				if event.GetRunCompleted() != nil && !slices.Contains(welcome.GetCapabilities(), capabilityShortRuns) {
					p.t.Error("a short run for a service that does not know it")
				}
				next += int64(len(parts(event)))
			}
			if inFlight := next - 1 - p.upTo(); inFlight > welcome.GetMaxUnackedEvents() {
				p.t.Errorf("%d events in flight", inFlight)
			}
			if err := p.take(stream, connection, frame.Batch); err != nil {
				return err
			}
		case *flowspanpb.ReportRequest_Heartbeat:
			p.mu.Lock()
			p.heartbeats++
			p.mu.Unlock()
		case *flowspanpb.ReportRequest_Goodbye:
			p.mu.Lock()
			p.goodbyes++
			p.mu.Unlock()
			return nil
		}
	}
}

func (p *peer) take(stream grpc.BidiStreamingServer[flowspanpb.ReportRequest, flowspanpb.ReportResponse], connection int, batch *flowspanpb.Batch) error {
	if p.onBatch != nil {
		if err := p.onBatch(connection, batch); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.store(batch)
	upTo := int64(len(p.stored))
	p.mu.Unlock()
	if p.mute && connection == 1 {
		return nil
	}
	return stream.Send(&flowspanpb.ReportResponse{Frame: &flowspanpb.ReportResponse_Ack{Ack: &flowspanpb.Ack{UpToSequence: upTo}}})
}

// store needs the lock. An event is stored as the text of a log record, or as the id of its run with
// the state; "" is one that the peer does not know.
func (p *peer) store(batch *flowspanpb.Batch) {
	for _, event := range batch.GetEvents() {
		if event.GetRunCompleted() != nil {
			p.shortRuns++
		}
		p.stored = append(p.stored, parts(event)...)
		if log := event.GetLog(); log != nil {
			p.logs = append(p.logs, log)
		}
	}
}

func (p *peer) upTo() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(len(p.stored))
}

// parts describes an event, or the three that it stands for.
func parts(event *flowspanpb.Event) []string {
	entered := func(id string, state *flowspanpb.State) string {
		return id + " " + state.GetName() + " " + strconv.Itoa(int(state.GetTime().GetSeconds()))
	}
	switch {
	case event.GetRunCompleted() != nil:
		short := event.GetRunCompleted()
		id := short.GetCreated().GetRunId()
		running := &flowspanpb.State{Name: "Running", Time: short.GetStartTime()}
		return []string{entered(id, short.GetCreated().GetState()), entered(id, running), entered(id, short.GetEnded())}
	case event.GetRunCreated() != nil:
		return []string{entered(event.GetRunCreated().GetRunId(), event.GetRunCreated().GetState())}
	case event.GetStateEntered() != nil:
		return []string{entered(event.GetStateEntered().GetRunId(), event.GetStateEntered().GetState())}
	default:
		return []string{event.GetLog().GetMessage()}
	}
}

// serve starts the peer, and returns a session with it.
func (p *peer) serve(t *testing.T, change func(*Config)) *Session {
	t.Helper()
	p.t = t
	if p.welcome.GetLease() == nil {
		p.welcome.Lease = durationpb.New(30 * time.Second)
	}
	if p.welcome.GetMaxUnackedEvents() == 0 {
		p.welcome.MaxUnackedEvents = 20_000
	}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	flowspanpb.RegisterReportServiceServer(server, p)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///peer", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	config := Config{
		Conn: conn, Hello: func() *flowspanpb.Hello { return &flowspanpb.Hello{SessionId: "s"} },
		OnCancel: func(string, string) {}, Logger: slog.New(slog.DiscardHandler),
		MaxEvents: 100_000, MaxBytes: 64 << 20, Linger: time.Millisecond,
	}
	if change != nil {
		change(&config)
	}
	session := NewSession(config)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = session.Close(ctx)
		_ = conn.Close()
		server.Stop()
	})
	return session
}

func numbers(from, to int) []string {
	var texts []string
	for n := from; n <= to; n++ {
		texts = append(texts, strconv.Itoa(n))
	}
	return texts
}

func emit(t *testing.T, session *Session, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := session.Force(wire.KindLog, wire.AppendLog(nil, &wire.Log{RunID: "r", Message: text})); err != nil {
			t.Fatal(err)
		}
	}
}

func flushed(t *testing.T, session *Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := session.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func (p *peer) check(want []string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.stored, want) {
		p.t.Errorf("stored %d events, not %d: %.300q", len(p.stored), len(want), p.stored)
	}
}

func refusal(code codes.Code, reason string, metadata map[string]string) error {
	refused, err := status.New(code, "refused").WithDetails(&errdetails.ErrorInfo{Domain: rpcerr.Domain, Reason: reason, Metadata: metadata})
	if err != nil {
		panic(err)
	}
	return refused.Err()
}

func TestEverythingIsStoredAndOneGoodbyeFollows(t *testing.T) {
	p := &peer{}
	session := p.serve(t, nil)
	emit(t, session, numbers(1, 5000)...)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := session.Close(ctx); err != nil {
		t.Fatal(err)
	}
	p.check(numbers(1, 5000))
	if p.goodbyes != 1 || p.connections != 1 {
		t.Error(p.goodbyes, p.connections)
	}
	if err := session.Force(wire.KindLog, nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestSmallFramesAndASmallWindowAreKept(t *testing.T) {
	p := &peer{welcome: flowspanpb.Welcome{MaxFrameBytes: 200, MaxUnackedEvents: 10}}
	var unacked sync.Map
	p.onBatch = func(_ int, batch *flowspanpb.Batch) error {
		if n := len(batch.GetEvents()); n > 10 {
			t.Errorf("%d events in flight", n)
		}
		unacked.Store(batch.GetFirstSequence(), true)
		return nil
	}
	session := p.serve(t, nil)
	emit(t, session, numbers(1, 1000)...)
	flushed(t, session)
	p.check(numbers(1, 1000))
}

func TestABrokenStreamIsResumedExactly(t *testing.T) {
	p := &peer{}
	p.onBatch = func(connection int, batch *flowspanpb.Batch) error {
		if connection < 4 {
			if connection == 2 { // the batch is stored, and its ack is lost
				p.mu.Lock()
				p.store(batch)
				p.mu.Unlock()
			}
			return status.Error(codes.Unavailable, "cut")
		}
		return nil
	}
	session := p.serve(t, nil)
	emit(t, session, numbers(1, 3000)...)
	flushed(t, session)
	p.check(numbers(1, 3000))
	if p.connections != 4 {
		t.Error(p.connections)
	}
}

func TestEventsThatTheServiceHasLostAreFilledWithPlaceholders(t *testing.T) {
	p := &peer{}
	session := p.serve(t, nil)
	emit(t, session, numbers(1, 10)...)
	flushed(t, session)
	p.mu.Lock()
	p.stored = p.stored[:3] // a backup was restored
	p.mu.Unlock()
	p.onBatch = func(connection int, _ *flowspanpb.Batch) error {
		if connection == 1 {
			return status.Error(codes.Unavailable, "cut")
		}
		return nil
	}
	emit(t, session, "11")
	flushed(t, session)
	p.check(append(numbers(1, 3), "", "", "", "", "", "", "", "11"))
	if p.hellos[1].GetAckedSequence() != 10 {
		t.Error(p.hellos[1])
	}
}

func TestSomeEndsAreFinal(t *testing.T) {
	for _, end := range []error{
		refusal(codes.Aborted, "SESSION_TAKEN_OVER", nil),
		refusal(codes.PermissionDenied, "WRONG_SECRET", nil),
		refusal(codes.InvalidArgument, "BAD_SEQUENCE", nil),
	} {
		t.Run(end.Error(), func(t *testing.T) {
			p := &peer{onBatch: func(int, *flowspanpb.Batch) error { return end }}
			session := p.serve(t, nil)
			emit(t, session, "1")
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var ended *EndedError
			if err := session.Flush(ctx); !errors.As(err, &ended) || status.Code(ended.Cause) != status.Code(end) {
				t.Error(err)
			}
			if err := session.Force(wire.KindLog, nil); !errors.As(err, &ended) {
				t.Error(err)
			}
			time.Sleep(100 * time.Millisecond)
			if p.connections != 1 {
				t.Error("it reconnected")
			}
		})
	}
}

func TestAReplacedTokenIsUsedSoon(t *testing.T) {
	for _, end := range []error{
		refusal(codes.Unauthenticated, "UNAUTHENTICATED", nil),
		refusal(codes.PermissionDenied, rpcerr.MissingScope, nil),
	} {
		t.Run(end.Error(), func(t *testing.T) {
			var token atomic.Value
			token.Store("old")
			p := &peer{onBatch: func(connection int, _ *flowspanpb.Batch) error {
				if connection > 1 {
					return nil
				}
				time.AfterFunc(100*time.Millisecond, func() { token.Store("new") })
				return end
			}}
			session := p.serve(t, func(config *Config) {
				config.Token = func() string { return token.Load().(string) } //nolint:forcetypeassert // stored above
			})
			begun := time.Now()
			emit(t, session, "1")
			flushed(t, session)
			p.check([]string{"1"})
			if waited := time.Since(begun); waited >= 5*time.Second {
				t.Errorf("it took %s", waited)
			}
		})
	}
}

func TestARefusedEventIsReplaced(t *testing.T) {
	p := &peer{}
	p.onBatch = func(_ int, batch *flowspanpb.Batch) error {
		for i, event := range batch.GetEvents() {
			if event.GetLog().GetMessage() == "5" {
				sequence := strconv.FormatInt(batch.GetFirstSequence()+int64(i), 10)
				return refusal(codes.InvalidArgument, "INVALID_FIELD", map[string]string{"sequence": sequence})
			}
		}
		return nil
	}
	session := p.serve(t, nil)
	emit(t, session, numbers(1, 9)...)
	flushed(t, session)
	p.check(append(append(numbers(1, 4), ""), numbers(6, 9)...))
}

func TestMessagesThatAreRefusedBySizeAreDivided(t *testing.T) {
	const limit = 3000
	p := &peer{}
	p.onBatch = func(_ int, batch *flowspanpb.Batch) error {
		if size := proto.Size(batch); size > limit {
			return status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", size, limit)
		}
		return nil
	}
	session := p.serve(t, nil)
	huge := fmt.Sprintf("%05000d", 1)
	emit(t, session, numbers(1, 900)...)
	emit(t, session, huge)
	emit(t, session, numbers(1, 900)...)
	flushed(t, session)
	p.check(append(append(numbers(1, 900), ""), numbers(1, 900)...))
}

func TestHeartbeatsAndTheEndOfASilentConnection(t *testing.T) {
	p := &peer{welcome: flowspanpb.Welcome{Lease: durationpb.New(60 * time.Millisecond)}}
	session := p.serve(t, nil)
	emit(t, session, "1")
	flushed(t, session)
	time.Sleep(200 * time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heartbeats < 3 {
		t.Error(p.heartbeats)
	}
}

func TestTheOutboxIsBounded(t *testing.T) {
	p := &peer{mute: true}
	session := p.serve(t, func(config *Config) { config.MaxEvents, config.BlockTimeout = 5, 30*time.Millisecond })
	emit(t, session, numbers(1, 5)...)
	if session.Try(wire.KindLog, nil) {
		t.Error("it took more than it may")
	}
	if err := session.Gate(t.Context()); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := session.Gate(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if session.Unacked() != 5 {
		t.Error(session.Unacked())
	}
}

func TestVerdictsAndCommands(t *testing.T) {
	var mu sync.Mutex
	var cancelled []string
	p := &peer{commands: []*flowspanpb.Command{
		{Id: "1", Command: &flowspanpb.Command_Drain{Drain: &flowspanpb.Drain{}}},
		{Id: "2"}, // of a kind that this client does not know
		{Id: "3", Command: &flowspanpb.Command_CancelRun{CancelRun: &flowspanpb.CancelRun{RunId: "d", Reason: "asked"}}},
	}}
	p.welcome.Verdicts = []*flowspanpb.Verdict{
		{Sequence: 0, RunId: "acked before", Kind: flowspanpb.VerdictKind_VERDICT_KIND_ABORT},
		{Sequence: 1, RunId: "a", Kind: flowspanpb.VerdictKind_VERDICT_KIND_ABORT, Rule: "x", Reason: "gone"},
		{Sequence: 2, RunId: "b", Kind: flowspanpb.VerdictKind_VERDICT_KIND_REJECTED},
		{Sequence: 3, RunId: "c", Kind: 99},
	}
	session := p.serve(t, func(config *Config) {
		config.OnCancel = func(runID, reason string) {
			mu.Lock()
			defer mu.Unlock()
			cancelled = append(cancelled, runID+": "+reason)
		}
	})
	emit(t, session, "1")
	flushed(t, session)
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(cancelled, []string{"a: gone (x)", "d: asked"}) {
		t.Error(cancelled)
	}
}

func TestBackoff(t *testing.T) {
	pace := backoff{}
	now := time.Now()
	for attempt := range 20 {
		delay := pace.next(now, false, 0)
		if longest := min(firstDelay<<attempt, eagerDelay) * 13 / 10; delay > longest || delay < longest/2 {
			t.Error(attempt, delay)
		}
	}
	if delay := pace.next(now.Add(time.Hour), false, 0); delay < 2*time.Second || delay > 4*time.Second {
		t.Error(delay)
	}
	if delay := pace.next(now, false, time.Hour); delay < longestRetryAfter || delay > longestRetryAfter*14/10 {
		t.Error(delay)
	}
	if delay := pace.next(now, true, 0); delay < 7*time.Second {
		t.Error(delay)
	}
}
