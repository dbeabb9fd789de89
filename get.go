package dynasession

import (
	"fmt"
	"strings"
)

// flashPrefix begins the keys of flash messages. Each has its own, so that parallel requests' messages are all kept.
const flashPrefix = "_flash."

// Get returns the value of key, decoded. It is a copy, which the session does not share. Get returns false if there
// is no value, or none that decodes as a T; [Session.Decode] tells which.
func Get[T any](s *Session, key string) (T, bool) {
	var v T
	raw, ok := s.raw(key)
	if !ok || s.codec.Unmarshal(raw, &v) != nil {
		var zero T
		return zero, false
	}
	return v, true
}

// Pop takes the value of key out of the session: a one-time token, for instance. If two requests pop the same value
// at the same time, one of them saves, and the save of the other fails with [ErrConflict]; under [LastWriteWins],
// both may save. A value that does not decode as a T stays.
func Pop[T any](s *Session, key string) (T, bool) {
	var v, zero T
	for {
		raw, version, ok := s.rawAt(key)
		if !ok || s.codec.Unmarshal(raw, &v) != nil {
			return zero, false
		}
		if s.changeAt(version, change{key: key, op: opDrop, popped: true}) {
			return v, true
		}
		v = zero
	}
}

// Update sets key to what f returns for its value, or for the zero T if there is none. It is made for counters and
// carts. If the save finds that another request has changed the key meanwhile, f runs again on the newer value, so
// that no change is lost. So f must be pure: it must depend on nothing but old.
//
// The whole value is decoded as a T and encoded again, so T must keep what f does not change. A struct drops the
// fields that it lacks. A map[string]any turns every JSON number into a float64, which changes integers beyond 2^53;
// a map[string]json.RawMessage changes nothing. A value that does not decode as a T fails the save.
func Update[T any](s *Session, key string, f func(old T) T) {
	run := func(old []byte) ([]byte, error) {
		var v T
		if old != nil {
			if err := s.codec.Unmarshal(old, &v); err != nil {
				return nil, err
			}
		}
		return marshal(s.codec, f(v))
	}
	// f runs without the session's mutex: it is the caller's code.
	for {
		raw, version, _ := s.rawAt(key)
		value, err := run(raw)
		c := change{key: key, value: value, updates: []update{run}}
		if err != nil {
			c.err = fmt.Errorf("dynasession: updating key %q: %w", key, err)
		}
		if s.changeAt(version, c) {
			return
		}
	}
}

// Flashes takes the flash messages that decode as a T out of the session, and returns them, oldest first. It leaves
// the others. Two requests at the same moment may both get a message.
func Flashes[T any](s *Session) []T {
	s.mu.Lock()
	var found []KeyValue
	for _, kv := range s.vals.list {
		if strings.HasPrefix(kv.Key, flashPrefix) {
			found = append(found, kv)
		}
	}
	s.mu.Unlock()
	var out []T
	for _, kv := range found {
		var v T
		if s.codec.Unmarshal(kv.Value, &v) != nil {
			continue
		}
		taken := false
		s.mutate(func() { // of two goroutines that show it one takes it
			if _, taken = s.vals.get(kv.Key); taken {
				s.record(change{key: kv.Key, op: opDrop})
			}
		})
		if taken {
			out = append(out, v)
		}
	}
	return out
}
