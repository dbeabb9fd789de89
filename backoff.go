package dynasession

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffBase = 5 * time.Millisecond
	backoffMax  = 160 * time.Millisecond
)

// backoff waits longer from try to try, at random over the whole range: "full jitter",
// which spreads those that collided (AWS Architecture Blog, "Exponential Backoff And
// Jitter"). The zero value is ready.
type backoff struct{ tries int }

func (b *backoff) wait(ctx context.Context) error {
	limit := min(backoffBase<<min(b.tries, 10), backoffMax)
	b.tries++
	return sleep(ctx, rand.N(limit)+time.Millisecond)
}

// sleep waits for d, or ends with ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
