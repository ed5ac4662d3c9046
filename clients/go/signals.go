package flowspan

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/wire"
)

const (
	// endingPatience bounds the wait for the functions of interrupted runs.
	endingPatience = 5 * time.Second
	exitOfSignal   = 128
)

// hub handles SIGINT and SIGTERM for all clients of the process, while there is a client with runs.
type hub struct {
	mu      sync.Mutex
	clients map[*Client]bool
	signals chan os.Signal
	stop    chan struct{}
	stopped chan struct{}
}

var signalHub = &hub{clients: map[*Client]bool{}}

// add registers a client; the first one starts the handler.
func (h *hub) add(client *Client) {
	if client.inHub.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if client.inHub.Swap(true) {
		return
	}
	h.clients[client] = true
	if h.signals != nil {
		return
	}
	h.signals = make(chan os.Signal, 2)
	h.stop, h.stopped = make(chan struct{}), make(chan struct{})
	notify(h.signals)
	go h.handle(h.signals, h.stop, h.stopped)
}

func notify(signals chan os.Signal) {
	for _, each := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if !signal.Ignored(each) { // nohup, and background jobs of a shell
			signal.Notify(signals, each)
		}
	}
}

// remove forgets a client; the last one stops the handler.
func (h *hub) remove(client *Client) {
	h.mu.Lock()
	delete(h.clients, client)
	client.inHub.Store(true) // a closed client never comes back
	var stopped chan struct{}
	if len(h.clients) == 0 && h.signals != nil {
		signal.Stop(h.signals)
		close(h.stop)
		stopped = h.stopped
		h.signals, h.stop, h.stopped = nil, nil, nil
	}
	h.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
}

func (h *hub) handle(signals chan os.Signal, stop, stopped chan struct{}) {
	defer close(stopped)
	for {
		select {
		case <-stop:
			return
		case received := <-signals:
			h.interrupt(received, signals)
			select {
			case <-stop:
			default: // the program has a handler of its own, which let it continue
				notify(signals)
			}
		}
	}
}

// interrupt ends the open runs of all clients, and gives the signal back to the program.
func (h *hub) interrupt(received os.Signal, signals chan os.Signal) {
	h.mu.Lock()
	clients := make([]*Client, 0, len(h.clients))
	for client := range h.clients {
		clients = append(clients, client)
	}
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for _, client := range clients {
			all.Go(func() { client.endRuns(received) })
		}
		all.Wait()
	}()
	select {
	case <-done:
	case <-signals: // a second one: end at once
	}
	signal.Stop(signals)
	raise(received)
}

// raise sends a signal to this process, for the handlers of the program, or to end it.
func raise(received os.Signal) {
	process, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = process.Signal(received)
	}
	if err != nil { // a system without signals
		number, _ := received.(syscall.Signal)
		os.Exit(exitOfSignal + int(number))
	}
	// The signal arrives in another thread; without a handler, it ends the process.
	time.Sleep(100 * time.Millisecond)
}

// endRuns cancels the open runs, waits for their functions, closes what is left, and waits until it is
// stored.
func (c *Client) endRuns(received os.Signal) {
	cause := &interrupted{message: "Terminated from outside (SIGTERM)."}
	if received == os.Interrupt {
		cause.message = "Interrupted from the keyboard (SIGINT)."
	}
	for _, run := range c.openRuns() {
		run.cancel(cause)
	}
	deadline := time.Now().Add(endingPatience)
	for len(c.openRuns()) > 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	for _, run := range c.openRuns() {
		run.end(&wire.State{
			Type: flowspanpb.StateType_STATE_TYPE_CRASHED, Name: "Crashed",
			Message: cause.message, TimeNanos: c.clock.Now(),
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), endingPatience)
	defer cancel()
	if err := c.session.Flush(ctx); err != nil {
		c.config.logger.Error("flowspan: events were not stored before the process ended", "error", err)
	}
}

// openRuns returns the open runs, the newest first: children before their parents.
func (c *Client) openRuns() []*Run {
	c.mu.Lock()
	defer c.mu.Unlock()
	runs := make([]*Run, 0, len(c.open))
	for _, run := range c.open {
		runs = append(runs, run)
	}
	slices.SortFunc(runs, func(a, b *Run) int { return strings.Compare(b.idText, a.idText) })
	return runs
}
