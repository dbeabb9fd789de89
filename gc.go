package dynasession

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/protocol"
)

const (
	// sweepMargin is how long after its expiry an item is left alone, in seconds. A server with a slow clock may
	// still serve it.
	sweepMargin = protocol.ClockMargin
	maxSegments = 1_000_000 // Scan's limit
	// sweepPatience is for how many Timeouts a call is repeated while DynamoDB throttles or does not answer: a
	// minute by default, as AWS advises for throttling.
	sweepPatience = 12
)

// SweepOptions are the options of a sweep. The zero value deletes what has expired, one page after the other, as fast
// as DynamoDB answers.
type SweepOptions struct {
	// MaxLifetime also deletes sessions that have not been used for so long; fractions of a second are dropped.
	// 0 deletes only what has expired.
	MaxLifetime time.Duration
	// DryRun counts and deletes nothing. The WriteUnits of its stats are those that the deletes would take.
	DryRun bool
	// Segments is how many parts of the table are scanned in parallel, at most 1,000,000. 0 means 1.
	Segments int
	// UnitsPerSecond limits the capacity units, read and write together, that the sweep uses. 0 means no limit.
	UnitsPerSecond float64
	// Progress, if it is not nil, is called after each page, by one goroutine at a time.
	Progress func(SweepStats)
}

// SweepStats are what a sweep has done.
type SweepStats struct {
	// Scanned counts items of the whole table. Expired counts the sessions of this store among them that have
	// expired or are unused. Deleted counts those of them that were deleted, since nobody used them meanwhile.
	Scanned, Expired, Deleted int
	// ReadUnits and WriteUnits are capacity units as DynamoDB counted them. DynamoDB also bills the deletes that
	// it refuses, without saying how much; they are counted by the size of their items.
	ReadUnits, WriteUnits float64
}

// GC deletes what has expired and, if maxLifetime is over 0, what has not been used for so long: PHP's gc. It returns
// how many sessions it has deleted. It never deletes a session that was used after it was scanned. GC works out the
// last use from the expiry and this Store's IdleTimeout. So after IdleTimeout was raised, a session that was used
// before looks unused for as long as the two differ, until its next use.
//
// GC reads the whole table. DynamoDB's TTL also deletes what has expired, later and at no cost.
func (s *Store) GC(ctx context.Context, maxLifetime time.Duration) (deleted int, err error) {
	stats, err := s.Sweep(ctx, SweepOptions{MaxLifetime: maxLifetime})
	return stats.Deleted, err
}

// Sweep is GC with options. It deletes only items of this store's name, and only a minute after their expiry, since
// servers' clocks differ. A session whose last use its item does not tell, since it is remembered or within
// IdleTimeout of its absolute end, is not deleted for being unused. If IdleTimeout is as long as Lifetime, that is
// every session.
//
// With Config.ForeignWriters, Sweep also deletes what a PHP request leaves that locks a new id and dies: an item of a
// key and a lock, without an expiry. The first sweep that sees one sets an end on its lock, an IdleTimeout later, and
// the first sweep after that end deletes it. A request that still runs by then loses its lock and nothing else, since
// its write makes the item again.
//
// If DynamoDB throttles a call or cannot be reached, Sweep repeats the call for 12 times Config.Timeout, and then
// returns [ErrUnavailable]. If ctx is cancelled, Sweep finishes the deletes that are under way, and returns its stats
// so far and ctx's error. A later Sweep starts from the beginning.
func (s *Store) Sweep(ctx context.Context, opts SweepOptions) (stats SweepStats, err error) {
	segments := max(opts.Segments, 1)
	if opts.Segments < 0 || segments > maxSegments || opts.MaxLifetime < 0 || opts.UnitsPerSecond < 0 {
		return stats, fmt.Errorf("dynasession: Sweep: Segments must be 0 to %d, MaxLifetime and UnitsPerSecond not negative", maxSegments)
	}
	op := s.startMany(ctx, "sweep")
	ctx, cancel := context.WithCancelCause(op.caller)
	defer cancel(nil)
	sw := &sweep{store: s, opts: opts, began: s.now()}
	var wg sync.WaitGroup
	for segment := range segments {
		wg.Go(func() {
			if err := sw.segment(ctx, segment, segments); err != nil {
				cancel(err) // Sweep returns the first error
			}
		})
	}
	wg.Wait()
	if err = context.Cause(ctx); err != nil {
		err = fmt.Errorf("dynasession: Sweep: %w", err)
	}
	op.stats.ReadUnits, op.stats.WriteUnits = sw.stats.ReadUnits, sw.stats.WriteUnits
	op.end(err)
	return sw.stats, err
}

type sweep struct {
	store *Store
	opts  SweepOptions
	began time.Time

	mu    sync.Mutex
	stats SweepStats
}

func (sw *sweep) segment(ctx context.Context, segment, segments int) error {
	var at protocol.Cursor
	for {
		now := sw.store.now().Unix()
		page, err := sw.page(ctx, at, segment, segments, now)
		if err != nil {
			return err
		}
		var counts SweepStats
		for _, r := range page.Found {
			expired, deleted, err := sw.item(ctx, r, now)
			if expired {
				counts.Expired++
			}
			if deleted {
				counts.Deleted++
			}
			if err != nil {
				sw.add(counts)
				return err
			}
		}
		counts.Scanned = page.Scanned
		sw.add(counts)
		if at = page.Next; len(at) == 0 {
			return nil
		}
	}
}

func (sw *sweep) page(ctx context.Context, at protocol.Cursor, segment, segments int, now int64) (page protocol.Page, err error) {
	s := sw.store
	cut := now - sweepMargin
	if d := seconds(sw.opts.MaxLifetime); d > 0 {
		// A session that nobody has used for d expires at the latest an idle time after that.
		cut = max(cut, now-d+s.rules.Idle)
	}
	err = sw.call(ctx, func(ctx context.Context, stats *protocol.Stats) error {
		ctx, cancel := s.oneCall(ctx)
		defer cancel()
		page, err = s.table.Scan(ctx, stats, at, segment, segments, cut, s.cfg.ForeignWriters, sw.opts.DryRun)
		return err
	})
	if err == nil {
		err = sw.pace(ctx)
	}
	return page, err
}

// judge reports whether r must be deleted. The delete has the condition that the expiry is still before cut. unused reports
// whether r has not expired, and nobody has used it for MaxLifetime.
func (sw *sweep) judge(r *protocol.Record, now int64) (cut int64, unused, dead bool) {
	s := sw.store
	if !s.keys.owns(r.Key) {
		return 0, false, false
	}
	if r.Expires < now-sweepMargin {
		return now - sweepMargin, false, true
	}
	if d := seconds(sw.opts.MaxLifetime); d > 0 && !r.Tombstone {
		if _, latest := s.rules.LastUsed(r); latest < now-d {
			return r.Expires + 1, true, true
		}
	}
	return 0, false, false
}

// item deletes r if its time has come. It reports whether r is a session whose time has come, and whether this call
// has deleted it.
func (sw *sweep) item(ctx context.Context, r *protocol.Record, now int64) (expired, deleted bool, err error) {
	if r.Expires == 0 {
		return sw.stub(ctx, r)
	}
	cut, unused, dead := sw.judge(r, now)
	switch {
	case !dead:
		return false, false, nil
	case sw.opts.DryRun:
		sw.predict(r)
		return !r.Tombstone, false, nil
	}
	deleted, err = sw.write(ctx, protocol.DeleteSeen(r, cut, unused))
	if r.Tombstone { // which is no session
		return false, false, err
	}
	return true, deleted, err
}

// predict counts the units that deleting r would take: those of its size and, if the user index has it, one more.
func (sw *sweep) predict(r *protocol.Record) {
	n := protocol.WriteUnits(r.Size(protocol.Columns(sw.store.cfg.Attributes)))
	if sw.store.cfg.UserIndex != "" && r.Meta.User != "" {
		n++
	}
	sw.mu.Lock()
	defer sw.mu.Unlock()
	sw.stats.WriteUnits += float64(n)
}

// stub sets an end on the lock of a stub, or deletes the stub if that end has come.
func (sw *sweep) stub(ctx context.Context, r *protocol.Record) (expired, deleted bool, err error) {
	s, now := sw.store, sw.store.now()
	bounded := r.Lock >= protocol.LeaseFrom
	expired = bounded && r.Lock <= now.UnixMilli()-protocol.LeaseSkew
	switch {
	case r.Lock == 0, bounded && !expired, !s.cfg.ForeignWriters, !s.keys.owns(r.Key):
		return false, false, nil
	case sw.opts.DryRun:
		sw.predict(r)
	case expired:
		deleted, err = sw.write(ctx, protocol.DeleteStub(r))
	default:
		// PHP asks only whether there is a lock: it may be one with an end.
		end := now.Add(max(s.cfg.IdleTimeout, s.cfg.LockLease)).UnixMilli()
		_, err = sw.write(ctx, protocol.LimitStub(r.Key, end))
	}
	return expired, deleted, err
}

// write makes a write that the item's state may refuse. It reports whether it is done, also beside an error.
func (sw *sweep) write(ctx context.Context, w protocol.Write) (done bool, err error) {
	s := sw.store
	var out protocol.Outcome
	err = sw.call(ctx, func(ctx context.Context, stats *protocol.Stats) error {
		// A write that is under way is not cancelled: nobody could say whether it counts.
		ctx, cancel := s.oneCall(context.WithoutCancel(ctx))
		defer cancel()
		out, err = s.table.Send(ctx, stats, w)
		return err
	})
	if err != nil {
		return false, err
	}
	if out.Refused { // it is billed all the same, and the answer does not tell how much
		size := 0
		if out.Item != nil {
			size = out.Item.Size(protocol.Columns(s.cfg.Attributes))
		}
		sw.mu.Lock()
		sw.stats.WriteUnits += float64(protocol.WriteUnits(size))
		sw.mu.Unlock()
	}
	return out.Done(), sw.pace(ctx) // a session that is busy is being renewed, and so live
}

// call makes one call, patiently, and counts its units.
func (sw *sweep) call(ctx context.Context, f func(context.Context, *protocol.Stats) error) error {
	began := sw.store.now()
	var stats protocol.Stats
	for wait := (pause.Backoff{}); ; {
		err := explain(f(ctx, &stats))
		failing := errors.Is(err, ErrUnavailable) && sw.store.now().Sub(began) < sweepPatience*sw.store.cfg.Timeout
		if failing && wait.Wait(ctx) == nil {
			continue
		}
		sw.mu.Lock()
		defer sw.mu.Unlock()
		sw.stats.ReadUnits += stats.ReadUnits
		sw.stats.WriteUnits += stats.WriteUnits
		return err
	}
}

// pace waits for as long as UnitsPerSecond asks, after what was used so far.
func (sw *sweep) pace(ctx context.Context) error {
	if err := ctx.Err(); err != nil || sw.opts.UnitsPerSecond == 0 {
		return err
	}
	sw.mu.Lock()
	spent := sw.stats.ReadUnits
	if !sw.opts.DryRun {
		spent += sw.stats.WriteUnits
	}
	sw.mu.Unlock()
	due := sw.began.Add(time.Duration(spent / sw.opts.UnitsPerSecond * float64(time.Second)))
	return pause.For(ctx, due.Sub(sw.store.now()))
}

func (sw *sweep) add(page SweepStats) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	sw.stats.Scanned += page.Scanned
	sw.stats.Expired += page.Expired
	sw.stats.Deleted += page.Deleted
	if sw.opts.Progress != nil {
		sw.opts.Progress(sw.stats)
	}
}
