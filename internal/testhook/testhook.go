// Package testhook has functions that the tests under internal/tests need and the public API does not. The root package sets
// its functions when the program starts.
package testhook

import "time"

var (
	// SetClock replaces the clock of a *dynasession.Store that is not in use yet.
	SetClock func(store any, now func() time.Time)

	// GhostUntil returns when the tombstone expires that a *dynasession.Session was loaded from, or the zero Time
	// if it was not loaded from one.
	GhostUntil func(sess any) time.Time

	// ForgetNoMiddleware lets the next Load without a middleware log that again.
	ForgetNoMiddleware func()
)
