package keyed

import (
	"sync"
	"time"
)

// A Memory remembers a number for each key, for Keep after the key was last noted.
type Memory struct {
	Keep time.Duration

	mu    sync.Mutex
	notes map[string]*note
}

type note struct {
	number int64
	timer  *time.Timer
}

// Note remembers number for key and reports whether that is new: key was forgotten, or had another number.
func (m *Memory) Note(key string, number int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.notes[key]
	if n != nil && n.timer.Reset(m.Keep) {
		known := n.number == number
		n.number = number
		return !known
	}
	if m.notes == nil {
		m.notes = make(map[string]*note)
	}
	n = &note{number: number}
	n.timer = time.AfterFunc(m.Keep, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.notes[key] == n {
			delete(m.notes, key)
		}
	})
	m.notes[key] = n
	return true
}

// Has reports whether key is remembered.
func (m *Memory) Has(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.notes[key]
	return ok
}

// Forget forgets key at once.
func (m *Memory) Forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.notes[key]; n != nil {
		n.timer.Stop()
		delete(m.notes, key)
	}
}
