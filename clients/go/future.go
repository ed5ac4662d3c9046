package flowspan

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// Future is a task that runs in a goroutine of its own.
type Future[T any] struct {
	run    *Run
	done   chan struct{}
	result T
	err    error
	panic  *PanicError
	seen   atomic.Bool
}

// Go starts a task in a goroutine of its own. The run of ctx does not end before the task has ended.
// If the task panics, Wait panics with a PanicError; if nobody waits, the run of ctx fails with it.
func Go[T any](ctx context.Context, name string, fn func(context.Context) (T, error), options ...RunOption) *Future[T] {
	future := &Future[T]{done: make(chan struct{})}
	call, err := begin(ctx, nil, KindTask, name, reflect.ValueOf(fn).Pointer(), options)
	if err != nil {
		future.err = err
		close(future.done)
		return future
	}
	future.run = call.run
	parent := call.run.parent
	if parent != nil {
		parent.adopt()
	}
	go func() {
		if parent != nil {
			defer parent.leave(future.unseenPanic)
		}
		defer close(future.done)
		future.perform(call, fn)
	}()
	return future
}

// errGoexit is the error of a task whose function ended its goroutine.
var errGoexit = errors.New("the goroutine of the task ended in its function (runtime.Goexit)")

func (f *Future[T]) perform(call *call, fn func(context.Context) (T, error)) {
	f.err = errGoexit
	returned := false
	defer func() {
		if returned {
			return
		}
		if value := recover(); value != nil {
			f.panic = &PanicError{Value: value, Stack: call.stack}
		}
	}()
	f.err = call.perform(
		func(ctx context.Context) (err error) { f.result, err = fn(ctx); return err },
		func() any { return f.result },
	)
	returned = true
}

// unseenPanic returns the panic of a task that nobody has waited for.
func (f *Future[T]) unseenPanic() *PanicError {
	if f.panic == nil || f.seen.Load() {
		return nil
	}
	return f.panic
}

// Wait waits until the task has ended, and returns what it returned. If ctx ends first, Wait returns
// its error, and the task continues.
func (f *Future[T]) Wait(ctx context.Context) (T, error) {
	select {
	case <-f.done:
	default:
		select {
		case <-f.done:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
	if f.panic != nil {
		f.seen.Store(true)
		panic(f.panic)
	}
	return f.result, f.err
}

// Done returns a channel that is closed when the task has ended.
func (f *Future[T]) Done() <-chan struct{} { return f.done }

// RunID returns the id of the run. It is empty if the run could not begin.
func (f *Future[T]) RunID() string {
	if f.run == nil {
		return ""
	}
	return f.run.idText
}

func (f *Future[T]) spanContext() trace.SpanContext {
	if f.run == nil {
		return trace.SpanContext{}
	}
	return f.run.span.own
}

// Map starts a task for each item, as Go does, and returns the futures in the order of the items.
func Map[I, T any](ctx context.Context, name string, items []I, fn func(context.Context, I) (T, error), options ...RunOption) []*Future[T] {
	futures := make([]*Future[T], len(items))
	for i, item := range items {
		futures[i] = Go(ctx, name, func(ctx context.Context) (T, error) { return fn(ctx, item) }, options...)
	}
	return futures
}

// WaitAll waits for all futures, and returns their results in order, and the first error in that
// order.
func WaitAll[T any](ctx context.Context, futures []*Future[T]) ([]T, error) {
	results := make([]T, len(futures))
	var first error
	for i, future := range futures {
		result, err := future.Wait(ctx)
		results[i] = result
		if err != nil && first == nil {
			first = err
		}
	}
	return results, first
}
