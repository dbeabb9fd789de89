// Package keyed queues waiters by key, and remembers things by key for a short time, in one process.
package keyed

import "sync"

// A Queue lets one waiter of each key at a time go on, in the order in which they joined. The one whose turn it is may
// hand a value to the next. The zero value is ready.
type Queue[V any] struct {
	mu    sync.Mutex
	lines map[string]*line[V]
}

type line[V any] struct {
	waiting []chan struct{} // the first one's turn it is
	handed  V
}

// Join takes a place in the line of key. turn is closed when it is the caller's turn. leave gives up the turn, or the
// place; it must be called, and may be called again.
func (q *Queue[V]) Join(key string) (turn <-chan struct{}, leave func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lines == nil {
		q.lines = make(map[string]*line[V])
	}
	l := q.lines[key]
	if l == nil {
		l = &line[V]{}
		q.lines[key] = l
	}
	mine := make(chan struct{})
	l.waiting = append(l.waiting, mine)
	if len(l.waiting) == 1 {
		close(mine)
	}
	return mine, sync.OnceFunc(func() { q.leave(key, l, mine) })
}

func (q *Queue[V]) leave(key string, l *line[V], mine chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, c := range l.waiting {
		if c != mine {
			continue
		}
		l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
		switch {
		case len(l.waiting) == 0:
			delete(q.lines, key)
		case i == 0:
			close(l.waiting[0])
		}
		return
	}
}

// Hand leaves v for those behind the caller in the line of key. Only the one whose turn it is may call it.
func (q *Queue[V]) Hand(key string, v V) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lines[key].handed = v
}

// Handed returns the last value that was handed on in the line of key, or the zero V. Only the one whose turn it is may
// call it. An empty line forgets its value.
func (q *Queue[V]) Handed(key string) V {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lines[key].handed
}
