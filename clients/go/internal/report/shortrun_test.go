package report

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/wire"
)

const second = int64(time.Second)

// knowing is the Welcome of a service that knows short runs.
func knowing() flowspanpb.Welcome {
	return flowspanpb.Welcome{Capabilities: []string{"other.v1", capabilityShortRuns}}
}

func create(t *testing.T, session *Session, run *ShortRun, id string) {
	t.Helper()
	body := wire.AppendRunCreated(nil, &wire.RunCreated{RunID: id, TimeNanos: second})
	if err := session.Create(t.Context(), run, id, body); err != nil {
		t.Fatal(err)
	}
}

func completed() *wire.State {
	return &wire.State{Type: flowspanpb.StateType_STATE_TYPE_COMPLETED, Name: "Completed", TimeNanos: 3 * second}
}

// enter queues a state in the ordinary way.
func enter(t *testing.T, session *Session, id string, state *wire.State) {
	t.Helper()
	if err := session.Force(wire.KindStateEntered, wire.AppendStateEntered(nil, id, 1, state)); err != nil {
		t.Fatal(err)
	}
}

// shortRun reports a run from its creation to its end.
func shortRun(t *testing.T, session *Session, id string) {
	t.Helper()
	run := &ShortRun{}
	create(t, session, run, id)
	if !session.Start(run, 2*second) || !session.End(run, wire.AppendState(nil, completed())) {
		t.Error("a run is not a short one")
	}
}

// states returns what the peer stores of a run.
func states(id string) []string {
	return []string{id + " Pending 1", id + " Running 2", id + " Completed 3"}
}

// patient makes a session collect events until a flush.
func patient(config *Config) { config.Linger = time.Hour }

func TestAShortRunIsOneEventInThePlaceOfItsCreation(t *testing.T) {
	p := &peer{welcome: knowing()}
	session := p.serve(t, patient)
	first, second := &ShortRun{}, &ShortRun{}
	create(t, session, first, "a")
	create(t, session, second, "b")
	session.Start(first, 2e9)
	emit(t, session, "log")
	session.Start(second, 2e9)
	session.End(first, wire.AppendState(nil, completed()))
	if unacked := session.Unacked(); unacked != 6 {
		t.Error(unacked)
	}
	flushed(t, session)
	p.check([]string{"a Pending 1", "a Running 2", "a Completed 3", "b Pending 1", "log", "b Running 2"})
	if session.End(second, nil) {
		t.Error("the end of a run whose creation was sent is an event of its own")
	}
	if p.shortRuns != 1 || session.Unacked() != 0 {
		t.Error(p.shortRuns, session.Unacked())
	}
}

func TestAShortRunIsThreeEventsForAServiceThatDoesNotKnowIt(t *testing.T) {
	for name, welcome := range map[string]*flowspanpb.Welcome{
		"old":            {},
		"narrow windows": {Capabilities: []string{capabilityShortRuns}, MaxUnackedEvents: 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := &peer{}
			proto.Merge(&p.welcome, welcome)
			session := p.serve(t, patient)
			shortRun(t, session, "a")
			emit(t, session, "log")
			shortRun(t, session, "b")
			flushed(t, session)
			p.check(slices.Concat(states("a"), []string{"log"}, states("b")))
			if p.shortRuns != 0 {
				t.Error(p.shortRuns)
			}
		})
	}
}

func TestRunsOnWhoseOrderOthersDependAreReportedInParts(t *testing.T) {
	p := &peer{welcome: knowing()}
	session := p.serve(t, patient)
	run := &ShortRun{}
	create(t, session, run, "a")
	session.Start(run, 2e9)
	session.Leave(run)
	emit(t, session, "artifact")
	if session.End(run, nil) {
		t.Error("it is short all the same")
	}
	enter(t, session, "a", completed())
	create(t, session, nil, "flow")
	if session.Start(&ShortRun{}, 0) {
		t.Error("a run that has not begun is a short one")
	}
	flushed(t, session)
	p.check([]string{"a Pending 1", "a Running 2", "artifact", "a Completed 3", "flow Pending 1"})
}

// TestTheFormMayChangeOnEachConnection cuts the first connections, without an ack.
func TestTheFormMayChangeOnEachConnection(t *testing.T) {
	knows, old := knowing(), flowspanpb.Welcome{}
	knows.MaxUnackedEvents, old.MaxUnackedEvents = 20_000, 20_000
	for _, order := range [][]*flowspanpb.Welcome{{&knows, &old, &knows}, {&old, &knows, &old}, {&knows, &knows, &old}} {
		p := &peer{welcome: knowing(), welcomes: order}
		var joined []int
		p.onBatch = func(connection int, batch *flowspanpb.Batch) error {
			joined = append(joined, 0)
			for _, event := range batch.GetEvents() {
				if event.GetRunCompleted() != nil {
					joined[len(joined)-1]++
				}
			}
			switch connection {
			case 1:
				return status.Error(codes.Unavailable, "cut")
			case 2: // the batch is stored, and its ack is lost
				p.mu.Lock()
				p.store(batch)
				p.mu.Unlock()
				return status.Error(codes.Unavailable, "cut")
			default:
				return nil
			}
		}
		session := p.serve(t, patient)
		shortRun(t, session, "a")
		shortRun(t, session, "b")
		flushed(t, session)
		p.check(slices.Concat(states("a"), states("b")))
		first := 0
		if slices.Equal(order[0].GetCapabilities(), knows.GetCapabilities()) {
			first = 2
		}
		if joined[0] != first {
			t.Error(joined)
		}
	}
}

func TestAnEventOfAShortRunThatIsRefusedIsReplacedAlone(t *testing.T) {
	p := &peer{welcome: knowing()}
	refused := false
	p.onBatch = func(_ int, batch *flowspanpb.Batch) error {
		if batch.GetEvents()[0].GetRunCompleted() == nil {
			return nil
		}
		refused = true
		return refusal(codes.InvalidArgument, "INVALID_FIELD", map[string]string{"sequence": "3"})
	}
	session := p.serve(t, patient)
	shortRun(t, session, "a")
	shortRun(t, session, "b")
	flushed(t, session)
	p.check(append([]string{"a Pending 1", "a Running 2", ""}, states("b")...))
	if !refused || p.shortRuns != 0 {
		t.Error(refused, p.shortRuns)
	}
}

func TestALongTextIsDividedForTheFramesOfTheService(t *testing.T) {
	text := strings.Repeat("0123456789ä€😀", 40_000)
	for _, limit := range []int64{300, 2_000, 65_536, 1 << 20, 4 << 20} {
		t.Run(strconv.FormatInt(limit, 10), func(t *testing.T) {
			p := &peer{}
			p.welcome.MaxFrameBytes = limit
			session := p.serve(t, func(config *Config) { config.Linger = time.Millisecond })
			record := wire.Log{RunID: "r", Level: 20, TimeNanos: 7e9 + 8000, Logger: "l", Attempt: 2}
			emit(t, session, "before")
			for _, part := range []string{text[:1000], text[:200_000], text} {
				record.Message = wire.Valid(part)
				if len(part) > wire.MaxLogMessage {
					if !session.TryText(&record) {
						t.Fatal("the outbox is full")
					}
				} else if !session.Try(wire.KindLog, wire.AppendLog(nil, &record)) {
					t.Fatal("the outbox is full")
				}
			}
			emit(t, session, "after")
			flushed(t, session)
			p.checkTexts([]string{"before", text[:1000], wire.Valid(text[:200_000]), text, "after"})
			for _, log := range p.logs[1 : len(p.logs)-1] {
				if log.GetTime().AsTime().UnixNano() != record.TimeNanos || log.GetLogger() != "l" || log.GetAttempt() != 2 || log.GetLevel() != 20 {
					t.Fatal(log.GetTime(), log.GetLogger(), log.GetAttempt(), log.GetLevel())
				}
			}
		})
	}
}

// checkTexts compares the log messages, joined from their pieces.
func (p *peer) checkTexts(want []string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []string
	for i := 0; i < len(p.logs); {
		var text strings.Builder
		count := max(p.logs[i].GetChunkCount(), 1)
		for index := range count {
			if i == len(p.logs) || p.logs[i].GetChunkIndex() != index || max(p.logs[i].GetChunkCount(), 1) != count {
				p.t.Fatalf("piece %d of %d is missing", index, count)
			}
			text.WriteString(p.logs[i].GetMessage())
			i++
		}
		found = append(found, text.String())
	}
	if !slices.Equal(found, want) {
		p.t.Errorf("%d texts instead of %d: %.200q", len(found), len(want), found)
	}
}

// TestATextOfWhichAPieceWasSentKeepsItsPieces lets a service with smaller frames follow.
func TestATextOfWhichAPieceWasSentKeepsItsPieces(t *testing.T) {
	large, small := &flowspanpb.Welcome{MaxFrameBytes: 10_000, MaxUnackedEvents: 2}, &flowspanpb.Welcome{MaxFrameBytes: 1000, MaxUnackedEvents: 2}
	p := &peer{welcomes: []*flowspanpb.Welcome{large}}
	proto.Merge(&p.welcome, small)
	p.onBatch = func(connection int, batch *flowspanpb.Batch) error {
		if connection == 1 && batch.GetFirstSequence() > 2 {
			return status.Error(codes.Unavailable, "cut")
		}
		return nil
	}
	session := p.serve(t, nil)
	for _, letter := range []string{"a", "b"} {
		if !session.TryText(&wire.Log{RunID: "r", Message: strings.Repeat(letter, 50_000)}) {
			t.Fatal("the outbox is full")
		}
	}
	flushed(t, session)
	p.mu.Lock()
	defer p.mu.Unlock()
	count := p.logs[0].GetChunkCount()
	if whole := p.logs[len(p.logs)-1].GetChunkCount(); count < 6 || whole < 51 {
		t.Error(count, whole)
	}
	// The first text has placeholders for the pieces that the second service does not take.
	if missing := int(count) - slices.IndexFunc(p.logs, func(log *flowspanpb.LogRecord) bool { return log.GetMessage()[0] == 'b' }); missing < 1 {
		t.Error(missing)
	}
	if got := len(p.stored); got != int(count)+int(p.logs[len(p.logs)-1].GetChunkCount()) {
		t.Error(got)
	}
}

// TestTextsBecomeSmallerWhenAProxyRefusesThem has a limit that Welcome does not name.
func TestTextsBecomeSmallerWhenAProxyRefusesThem(t *testing.T) {
	const limit = 40_000
	p := &peer{}
	p.onBatch = func(_ int, batch *flowspanpb.Batch) error {
		if size := proto.Size(batch); size > limit {
			return status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", size, limit)
		}
		return nil
	}
	session := p.serve(t, nil)
	text := strings.Repeat("0123456789", 60_000)
	for range 3 {
		if !session.TryText(&wire.Log{RunID: "r", Message: text}) {
			t.Fatal("the outbox is full")
		}
		flushed(t, session)
	}
	before := p.upTo()
	if !session.TryText(&wire.Log{RunID: "r", Message: text}) {
		t.Fatal("the outbox is full")
	}
	flushed(t, session)
	count := int64(p.logs[len(p.logs)-1].GetChunkCount())
	if count < 15 || p.upTo()-before != count || slices.Contains(p.stored[before:], "") {
		t.Error(count, p.upTo()-before)
	}
}

func TestAnEventThatIsTooLargeForTheServiceIsLeftOut(t *testing.T) {
	p := &peer{welcome: knowing()}
	p.welcome.MaxFrameBytes = 1000
	session := p.serve(t, patient)
	run := &ShortRun{}
	create(t, session, run, "a")
	session.Start(run, 2e9)
	session.End(run, wire.AppendState(nil, &wire.State{
		Type: flowspanpb.StateType_STATE_TYPE_FAILED, Name: "Failed", Message: strings.Repeat("x", 2000), TimeNanos: 3e9,
	}))
	shortRun(t, session, "b")
	flushed(t, session)
	p.check(slices.Concat([]string{"a Pending 1", "a Running 2", ""}, states("b")))
}

// TestRandomStories sends random events over connections that break, to services with random limits.
func TestRandomStories(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			story(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func story(t *testing.T, random *rand.Rand) {
	t.Helper()
	p := &peer{}
	limits := func() *flowspanpb.Welcome {
		welcome := &flowspanpb.Welcome{MaxUnackedEvents: 1 + random.Int64N(40), MaxFrameBytes: 2_000 + random.Int64N(10_000)}
		if random.IntN(2) == 0 {
			welcome.Capabilities = []string{capabilityShortRuns}
		}
		return welcome
	}
	const connections = 5
	for range connections {
		p.welcomes = append(p.welcomes, limits())
	}
	proto.Merge(&p.welcome, limits())
	cut := make([]int64, connections+1)
	for i := range cut {
		cut[i] = random.Int64N(120)
	}
	isStored := random.IntN(2) == 0
	p.onBatch = func(connection int, batch *flowspanpb.Batch) error {
		if connection > connections || batch.GetFirstSequence() < cut[connection] {
			return nil
		}
		if isStored {
			p.mu.Lock()
			p.store(batch)
			p.mu.Unlock()
		}
		return status.Error(codes.Unavailable, "cut")
	}
	session := p.serve(t, nil)
	want := map[string][]string{}
	var texts []string
	for n := range 100 {
		id := fmt.Sprintf("run-%d", n)
		switch random.IntN(4) {
		case 0:
			text := strings.Repeat(strconv.Itoa(n)+"ä", 1+random.IntN(200))
			texts = append(texts, text)
			emit(t, session, text)
			continue
		case 1:
			run := &ShortRun{}
			create(t, session, run, id)
			time.Sleep(time.Duration(random.IntN(2)) * time.Millisecond)
			if !session.Start(run, 2e9) {
				enter(t, session, id, &wire.State{Type: flowspanpb.StateType_STATE_TYPE_RUNNING, Name: "Running", TimeNanos: 2e9})
			}
			session.Leave(run)
			enter(t, session, id, completed())
		default:
			run := &ShortRun{}
			create(t, session, run, id)
			if !session.Start(run, 2e9) {
				enter(t, session, id, &wire.State{Type: flowspanpb.StateType_STATE_TYPE_RUNNING, Name: "Running", TimeNanos: 2e9})
			}
			if !session.End(run, wire.AppendState(nil, completed())) {
				enter(t, session, id, completed())
			}
		}
		want[id] = states(id)
	}
	flushed(t, session)
	found := map[string][]string{}
	for _, each := range p.stored {
		if id, _, ok := strings.Cut(each, " "); ok {
			found[id] = append(found[id], each)
		}
	}
	for id, history := range want {
		if !slices.Equal(found[id], history) {
			t.Errorf("%s: %q", id, found[id])
		}
	}
	p.checkTexts(texts)
	if session.Unacked() != 0 {
		t.Error(session.Unacked())
	}
}

func TestCreateWaitsForSpace(t *testing.T) {
	p := &peer{mute: true, welcome: knowing()}
	session := p.serve(t, func(config *Config) { config.MaxEvents, config.BlockTimeout = 2, 30*time.Millisecond })
	emit(t, session, "1", "2")
	if err := session.Create(context.Background(), nil, "a", []byte{1}); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if session.TryText(&wire.Log{Message: "x"}) {
		t.Error("it took more than it may")
	}
}
