package report

import (
	"math/rand/v2"
	"time"
)

const (
	firstDelay    = 20 * time.Millisecond
	eagerFor      = 30 * time.Second
	eagerDelay    = 250 * time.Millisecond
	patientDelay  = 3 * time.Second
	hopelessDelay = 10 * time.Second
	// longestRetryAfter bounds the delay that a service may ask for.
	longestRetryAfter = 10 * time.Second
	maxDoublings      = 10
)

// backoff computes the delays between attempts to connect.
type backoff struct {
	attempts int
	lostAt   time.Time
}

// reset begins anew after a connection that was of use.
func (b *backoff) reset() { *b = backoff{} }

// next returns the delay before the next attempt.
//
// hopeless is true if the attempt would fail for the same reason as the last one; retryAfter is the
// delay that the service asked for, or zero.
func (b *backoff) next(now time.Time, hopeless bool, retryAfter time.Duration) time.Duration {
	if b.lostAt.IsZero() {
		b.lostAt = now
	}
	longest := patientDelay
	if now.Sub(b.lostAt) < eagerFor {
		longest = eagerDelay
	}
	delay := min(firstDelay<<min(b.attempts, maxDoublings), longest)
	if hopeless {
		delay = hopelessDelay
	}
	b.attempts++
	// Jitter keeps clients that lost their service together from reconnecting together.
	delay = time.Duration(float64(delay) * (0.7 + 0.6*rand.Float64())) //nolint:gosec // no secret
	if retryAfter > 0 {
		// Jitter upward only: an attempt before that time would be refused.
		asked := time.Duration(float64(min(retryAfter, longestRetryAfter)) * (1 + 0.3*rand.Float64())) //nolint:gosec // no secret
		delay = max(delay, asked)
	}
	return delay
}
