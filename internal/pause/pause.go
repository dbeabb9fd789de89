// Package pause waits between attempts. Each wait is random, so that processes that collided do not collide again, and
// ends with its context.
package pause

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffBase = 5 * time.Millisecond
	backoffMax  = 160 * time.Millisecond

	pollBase = 10 * time.Millisecond
	pollMax  = 100 * time.Millisecond
	// maxLost bounds how far lost tries stretch a Confirm: to 2^maxLost times its length.
	maxLost = 6
)

// For waits for d. It returns ctx's error if ctx ends first.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A Backoff waits longer after each try, at random over the whole range: "full jitter" (AWS Architecture Blog,
// "Exponential Backoff And Jitter"). The zero value is ready.
type Backoff struct {
	Tries int // how often Wait was called
}

// Wait waits before the next try. It returns ctx's error if ctx ends first.
func (b *Backoff) Wait(ctx context.Context) error {
	limit := min(backoffBase<<min(b.Tries, 10), backoffMax)
	b.Tries++
	return For(ctx, rand.N(limit)+time.Millisecond)
}

// A Poll waits between two looks at something that others change. The waits grow up to a tenth of a second. The zero
// value is ready.
type Poll struct {
	Lost int // how often another was faster after a look had promised success

	next time.Duration
}

// Wait waits before the next look. It returns ctx's error if ctx ends first.
func (p *Poll) Wait(ctx context.Context) error {
	p.next = min(max(p.next*3/2, pollBase), pollMax)
	return For(ctx, p.next/2+rand.N(p.next))
}

// Confirm waits before a second look, for at least as long as the first one took, and longer the more tries were lost:
// the others that wait need time to finish their try. It returns ctx's error if ctx ends first.
func (p *Poll) Confirm(ctx context.Context, look time.Duration) error {
	return For(ctx, look+rand.N(max(look, pollBase)<<min(p.Lost+2, maxLost)))
}
