package dynasession

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// leaseFrom is the smallest lease's end, in epoch milliseconds: March 1973. What is below
	// is PHP's lock, a 1, which has no end. The clock of a testing/synctest bubble begins in
	// the year 2000.
	leaseFrom = 100_000_000_000
	// leaseSkew is how long after its end a lease is left alone, in milliseconds: servers'
	// clocks may be 2 s apart.
	leaseSkew = 2000

	// How often the one waiter that polls asks whether the lock is free.
	pollBase = 10 * time.Millisecond
	pollMax  = 100 * time.Millisecond
	// maxLost bounds how far lost tries stretch the second look at a lock that looks free:
	// to 2^maxLost looks.
	maxLost = 6
	// rivalFor is how long another process that had the lock makes this one look first: a blind
	// try to take such a lock is a gamble, and a refused one is billed as a write.
	rivalFor = time.Second
)

// lease is a lock as this process has taken it. holder is made for every acquisition.
type lease struct {
	key    string
	end    int64 // epoch milliseconds
	holder string
	leave  func() // lets the next waiter of this process in; may be called again
}

// hold makes the next waiter of this process go when the lease is given up, or has run out.
func (l *lease) hold(leave func(), left time.Duration) {
	timer := time.AfterFunc(left, leave)
	l.leave = func() {
		timer.Stop()
		leave()
	}
}

// holds tells whether r is locked by l: holder means something only beside the lock that it
// was written with.
func (l *lease) holds(r *record) bool {
	return r != nil && r.lock == l.end && r.holder == l.holder
}

// lanes queue the requests of this process that want the same lock, or that merge onto the
// same item, first come, first served, so that one at a time asks DynamoDB.
type lanes struct {
	mu   sync.Mutex
	byID map[string]*lane
}

type lane struct {
	waiting []chan struct{}
	last    *record // what the one before has stored, if it said
	locked  bool    // somebody before has had the lock, or seen it
}

// tell leaves r for the next in the lane of key, and told gives it. Both are for the one
// whose turn it is.
func (l *lanes) tell(key string, r *record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byID[key].last = r
}

func (l *lanes) told(key string) *record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[key].last
}

// noteLocked notes that the lock of key is somebody's, for those who wait behind, and wasLocked reports
// whether somebody before has noted that. Both are for the one whose turn it is.
func (l *lanes) noteLocked(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byID[key].locked = true
}

func (l *lanes) wasLocked(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[key].locked
}

// enter takes a place in the lane of key. turn is closed when it is the caller's, and
// leave gives the turn, or the place, to the next; it must be called, and may be again.
func (l *lanes) enter(key string) (turn <-chan struct{}, leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil {
		l.byID = make(map[string]*lane)
	}
	ln := l.byID[key]
	if ln == nil {
		ln = &lane{}
		l.byID[key] = ln
	}
	mine := make(chan struct{})
	ln.waiting = append(ln.waiting, mine)
	if len(ln.waiting) == 1 {
		close(mine)
	}
	return mine, sync.OnceFunc(func() { l.leave(key, ln, mine) })
}

func (l *lanes) leave(key string, ln *lane, mine chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, c := range ln.waiting {
		if c != mine {
			continue
		}
		ln.waiting = append(ln.waiting[:i], ln.waiting[i+1:]...)
		switch {
		case len(ln.waiting) == 0:
			delete(l.byID, key)
		case i == 0:
			close(ln.waiting[0])
		}
		return
	}
}

// poll waits between two looks at a lock, longer from look to look. The zero value is
// ready.
type poll struct {
	next time.Duration
	lost int // tries that another's was before
}

func (p *poll) wait(ctx context.Context) error {
	p.next = min(max(p.next*3/2, pollBase), pollMax)
	return sleep(ctx, p.next/2+rand.N(p.next))
}

// confirm waits for what a process takes to pass a lock on to its own next, when a look
// takes so long; and more, at random, the more tries were lost: others are waiting too, and
// a try must be over before the next one's.
func (p *poll) confirm(ctx context.Context, look time.Duration) error {
	return sleep(ctx, look+rand.N(max(look, pollBase)<<min(p.lost+2, maxLost)))
}
