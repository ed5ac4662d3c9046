// Command go_driver is the driver of the Go client: it performs commands with the public names of flowspan.
//
// tests/conformance/README.md describes the commands and the operations of bodies.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"flowspan.dev/go"
)

type operation struct {
	Log         *string     `json:"log"`
	Repeat      *int        `json:"repeat"`
	Times       *int        `json:"times"`
	Task        *string     `json:"task"`
	Flow        *string     `json:"flow"`
	Body        []operation `json:"body"`
	Retries     int         `json:"retries"`
	RetryDelayS float64     `json:"retry_delay_s"`
	Tags        []string    `json:"tags"`
	Parallel    []operation `json:"parallel"`
	Fail        *string     `json:"fail"`
	Cause       string      `json:"cause"`
	UpToAttempt *int        `json:"up_to_attempt"`
	SleepS      *float64    `json:"sleep_s"`
	Wait        *string     `json:"wait"`
	Mark        *string     `json:"mark"`
	Markdown    *string     `json:"markdown"`
	Return      any         `json:"return"`
}

type command struct {
	ID    int        `json:"id"`
	Start *operation `json:"start"`
	Open  *string    `json:"open"`
	Close *struct{}  `json:"close"`
}

type driver struct {
	client *flowspan.Client
	output sync.Mutex
	gates  sync.Map
}

func (d *driver) answer(fields map[string]any) {
	line, err := json.Marshal(fields)
	if err != nil {
		log.Fatal(err)
	}
	d.output.Lock()
	defer d.output.Unlock()
	fmt.Println(string(line))
}

// gate is closed until it is opened by closing its channel.
type gate struct {
	opened chan struct{}
	once   sync.Once
}

func (d *driver) gate(name string) *gate {
	found, _ := d.gates.LoadOrStore(name, &gate{opened: make(chan struct{})})
	return found.(*gate)
}

func text(op *operation, text string) string {
	if op.Repeat != nil {
		return strings.Repeat(text, *op.Repeat)
	}
	return text
}

func options(op *operation) []flowspan.RunOption {
	found := []flowspan.RunOption{flowspan.Tags(op.Tags...)}
	if op.Retries > 0 {
		delay := time.Duration(op.RetryDelayS * float64(time.Second))
		found = append(found, flowspan.Retries(op.Retries, flowspan.Constant(delay)))
	}
	return found
}

func (d *driver) body(op *operation) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		var result any
		for i := range op.Body {
			found, err := d.perform(ctx, &op.Body[i])
			if err != nil {
				return nil, err
			}
			if op.Body[i].Return != nil {
				result = found
			}
		}
		return result, nil
	}
}

func (d *driver) perform(ctx context.Context, op *operation) (any, error) {
	switch {
	case op.Log != nil:
		message := text(op, *op.Log)
		if op.Times == nil {
			slog.InfoContext(ctx, message)
			return nil, nil
		}
		for i := range *op.Times {
			slog.InfoContext(ctx, fmt.Sprintf("%s %d", message, i))
		}
	case op.Task != nil:
		return flowspan.Task(ctx, *op.Task, d.body(op), options(op)...)
	case op.Flow != nil:
		return flowspan.Flow(ctx, d.client, *op.Flow, d.body(op), options(op)...)
	case op.Parallel != nil:
		var futures []*flowspan.Future[any]
		for i := range op.Parallel {
			each := &op.Parallel[i]
			futures = append(futures, flowspan.Go(ctx, *each.Task, d.body(each), options(each)...))
		}
		_, err := flowspan.WaitAll(ctx, futures)
		return nil, err
	case op.Fail != nil:
		return nil, failure(ctx, op)
	case op.SleepS != nil:
		select {
		case <-time.After(time.Duration(*op.SleepS * float64(time.Second))):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case op.Wait != nil:
		select {
		case <-d.gate(*op.Wait).opened:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case op.Mark != nil:
		d.answer(map[string]any{"mark": *op.Mark})
	case op.Markdown != nil:
		_, err := flowspan.Markdown(ctx, *op.Markdown)
		return nil, err
	case op.Return != nil:
		return op.Return, nil
	default:
		return nil, errors.New("the driver does not know an operation")
	}
	return nil, nil
}

func failure(ctx context.Context, op *operation) error {
	run, _ := flowspan.RunFromContext(ctx)
	if op.UpToAttempt != nil && run.Attempt() > *op.UpToAttempt {
		return nil
	}
	message := text(op, *op.Fail)
	if op.Cause != "" {
		return fmt.Errorf("%s: %w", message, errors.New(op.Cause))
	}
	return errors.New(message)
}

func (d *driver) start(ctx context.Context, id int, op *operation) {
	_, err := flowspan.Flow(ctx, d.client, *op.Flow, d.body(op), options(op)...)
	kind, name := "COMPLETED", "Completed"
	switch {
	case errors.Is(err, flowspan.ErrCancelled):
		kind, name = "CANCELLED", "Cancelled"
	case err != nil:
		kind, name = "FAILED", "Failed"
	}
	d.answer(map[string]any{"id": id, "ok": map[string]string{"state": kind, "name": name}})
}

func (d *driver) run(ctx context.Context) error {
	var flows sync.WaitGroup
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return err
		}
		switch {
		case c.Start != nil:
			flows.Go(func() { d.start(ctx, c.ID, c.Start) })
			d.answer(map[string]any{"id": c.ID, "started": true})
		case c.Open != nil:
			g := d.gate(*c.Open)
			g.once.Do(func() { close(g.opened) })
			d.answer(map[string]any{"id": c.ID, "ok": map[string]any{}})
		case c.Close != nil:
			flows.Wait()
			closing, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			// What cannot be delivered is said on standard error: the test looks at the service.
			if err := d.client.Close(closing); err != nil {
				log.Print(err)
			}
			return nil
		default:
			d.answer(map[string]any{"id": c.ID, "error": "unknown command"})
		}
	}
	return lines.Err()
}

func main() {
	ctx := context.Background()
	slog.SetDefault(slog.New(flowspan.NewLogHandler(slog.DiscardHandler)))
	client, err := flowspan.Connect(ctx, flowOptions()...)
	if err != nil {
		log.Fatal(err)
	}
	if err := (&driver{client: client}).run(ctx); err != nil {
		log.Fatal(err)
	}
}

// flowOptions returns the options that cases set for all languages by variables of the environment.
func flowOptions() []flowspan.Option {
	timeout, err := time.ParseDuration(os.Getenv("FLOWSPAN_FLUSH_TIMEOUT_S") + "s")
	if err != nil {
		return nil
	}
	return []flowspan.Option{flowspan.WithFlushTimeout(timeout)}
}
