package dynasession

import (
	"sync"
	"time"
)

// recent remembers a number for each of some keys, for a while.
type recent struct {
	keep time.Duration
	mu   sync.Mutex
	seen map[string]*memory
}

type memory struct {
	number int64
	timer  *time.Timer
}

// note remembers number for key, from now on, and tells whether that is new.
func (r *recent) note(key string, number int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.seen[key]
	if m != nil && m.timer.Reset(r.keep) {
		known := m.number == number
		m.number = number
		return !known
	}
	if r.seen == nil {
		r.seen = make(map[string]*memory)
	}
	m = &memory{number: number}
	m.timer = time.AfterFunc(r.keep, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.seen[key] == m {
			delete(r.seen, key)
		}
	})
	r.seen[key] = m
	return true
}

func (r *recent) has(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.seen[key]
	return ok
}

func (r *recent) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.seen[key]; m != nil {
		m.timer.Stop()
		delete(r.seen, key)
	}
}
