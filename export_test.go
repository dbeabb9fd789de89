package dynasession

import "time"

// SetClock gives s a clock that differs from the machine's. It must not be in use yet.
func SetClock(s *Store, now func() time.Time) { s.now = now }

// GhostUntil returns the end of the tombstone that s was loaded from, and the zero Time if it was not
// loaded from one.
func GhostUntil(s *Session) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ghost == nil {
		return time.Time{}
	}
	return timeOf(s.ghost.Expires)
}

// ForgetNoMiddleware makes the next Load without a middleware the first one.
func ForgetNoMiddleware() { saidNoMiddleware.Store(false) }

// KeyOf returns the key of the item that s keeps under id.
func KeyOf(s *Store, id string) string { return s.keys.key(id) }
