// Package clock gives times that never go back, so that no duration of a run is negative.
package clock

import (
	"sync/atomic"
	"time"
)

// tolerance is the difference to the wall clock that Follow leaves alone.
const tolerance = time.Second

// Clock starts at the wall clock and continues with the monotonic clock.
type Clock struct {
	base   time.Time
	offset atomic.Int64
}

// New returns a clock that starts now.
func New() *Clock {
	return &Clock{base: time.Now()}
}

// Now returns the time in nanoseconds since 1970, and never less than an earlier call.
func (c *Clock) Now() int64 {
	return c.base.UnixNano() + int64(time.Since(c.base)) + c.offset.Load()
}

// Follow sets the clock forward if the wall clock was set forward. It never sets it back.
func (c *Clock) Follow() {
	offset := c.offset.Load()
	// Round strips the monotonic reading: without it, the difference would always be zero.
	ahead := time.Now().Round(0).UnixNano() - c.Now()
	if ahead > int64(tolerance) {
		c.offset.CompareAndSwap(offset, offset+ahead)
	}
}
