package dynasession

import (
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

	// contendedFor is how long this process looks before it tries to take a lock that another process held: a
	// try that is refused is billed as a write.
	contendedFor = time.Second
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
func (l *lease) holds(r *Record) bool {
	return r != nil && r.Lock == l.end && r.Holder == l.holder
}

// lockHint is what a request that waits for a lock hands to the next one of this process.
type lockHint struct {
	locked   bool // another held the lock
	passedOn bool // this process has had the lock since: the next request need not look before it tries
}
