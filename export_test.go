package dynasession

import "time"

// SetClock gives s a clock that differs from the machine's. It must not be in use yet.
func SetClock(s *Store, now func() time.Time) { s.now = now }

// Remembered is what a Store makes of its client's endpoint resolver.
var Remembered = remembered
