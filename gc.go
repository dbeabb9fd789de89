package dynasession

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// sweepMargin is how long after its expiry an item is left alone, in seconds: a server
	// with a slow clock may still serve it.
	sweepMargin = 60
	maxSegments = 1_000_000 // Scan's limit
)

// SweepOptions say how a sweep goes about. The zero value deletes what has expired, one
// page after the other, as fast as DynamoDB answers.
type SweepOptions struct {
	// MaxLifetime also deletes what has not been used for so long. 0: only what has expired.
	MaxLifetime time.Duration
	// DryRun counts, and deletes nothing.
	DryRun bool
	// Segments are scanned in parallel. 0: 1. At most 1,000,000.
	Segments int
	// UnitsPerSecond is a ceiling for the capacity units, read and write together, that the
	// sweep takes. 0: no ceiling.
	UnitsPerSecond float64
	// Progress, if set, is called after each page, never by two goroutines at once.
	Progress func(SweepStats)
}

// SweepStats tell what a sweep has done.
type SweepStats struct {
	// Scanned items, of all that are in the table; Expired or unused sessions of this store
	// among them; and those of them that were Deleted, since nobody used them meanwhile.
	Scanned, Expired, Deleted int
	// ReadUnits and WriteUnits are capacity units as DynamoDB counted them. Refused deletes
	// are billed too, but DynamoDB does not say how much.
	ReadUnits, WriteUnits float64
}

// GC deletes what has expired, and with a maxLifetime over 0 also what has not been used
// for so long: PHP's gc. It never deletes a session that was used after it was scanned.
// DynamoDB's TTL does the first for nothing, in its own time; GC reads the whole table.
func (s *Store) GC(ctx context.Context, maxLifetime time.Duration) (deleted int, err error) {
	stats, err := s.Sweep(ctx, SweepOptions{MaxLifetime: maxLifetime})
	return stats.Deleted, err
}

// Sweep is GC with options. It touches only items of this store's name, and those only a
// minute after their expiry, since servers' clocks differ. Sessions whose last use cannot
// be told from the item, near their absolute end or remembered, are not deleted for being
// unused. Cancelled, it gives its stats so far beside ctx's error, and a later Sweep goes
// through the table anew.
func (s *Store) Sweep(ctx context.Context, opts SweepOptions) (stats SweepStats, err error) {
	segments := max(opts.Segments, 1)
	if opts.Segments < 0 || segments > maxSegments || opts.MaxLifetime < 0 || opts.UnitsPerSecond < 0 {
		return stats, fmt.Errorf("dynasession: Sweep: Segments must be 0 to %d, MaxLifetime and UnitsPerSecond not negative", maxSegments)
	}
	begin := s.now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sw := &sweep{store: s, opts: opts, began: begin}
	var wg sync.WaitGroup
	for segment := range segments {
		wg.Go(func() {
			if err := sw.segment(ctx, segment, segments); err != nil {
				cancel(err) // the first error is told
			}
		})
	}
	wg.Wait()
	if err = context.Cause(ctx); err != nil {
		err = fmt.Errorf("dynasession: Sweep: %w", err)
	}
	if s.cfg.Observer != nil {
		s.cfg.Observer(ctx, Event{
			Op: "sweep", Start: begin, Duration: s.now().Sub(begin), Err: err,
			ReadUnits: sw.stats.ReadUnits, WriteUnits: sw.stats.WriteUnits,
		})
	}
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
	var at cursor
	for {
		now := sw.store.now().Unix()
		found, scanned, next, err := sw.page(ctx, at, segment, segments, now)
		if err != nil {
			return err
		}
		var page SweepStats
		for _, r := range found {
			cut, unused, dead := sw.judge(r, now)
			if !dead {
				continue
			}
			page.Expired++
			if sw.opts.DryRun {
				continue
			}
			deleted, err := sw.delete(ctx, r, cut, unused)
			if err != nil {
				sw.tell(page)
				return err
			}
			if deleted {
				page.Deleted++
			}
		}
		page.Scanned = scanned
		sw.tell(page)
		if at = next; len(at) == 0 {
			return nil
		}
	}
}

func (sw *sweep) page(ctx context.Context, at cursor, segment, segments int, now int64) (found []*record, scanned int, next cursor, err error) {
	cut := now - sweepMargin
	if d := seconds(sw.opts.MaxLifetime); d > 0 {
		// What nobody used for d expires at the latest an idle time after that.
		cut = max(cut, now-d+sw.store.rules.idle)
	}
	var tr trace
	err = sw.call(ctx, &tr, func(ctx context.Context) error {
		found, scanned, next, err = sw.store.table.scan(ctx, &tr, at, segment, segments, cut)
		return err
	})
	return found, scanned, next, err
}

// judge tells whether r is to be deleted, and before which expiry it must still be then.
func (sw *sweep) judge(r *record, now int64) (cut int64, unused, dead bool) {
	s := sw.store
	if !s.keys.owns(r.key) || r.expires == 0 {
		return 0, false, false
	}
	if r.expires < now-sweepMargin {
		return now - sweepMargin, false, true
	}
	if d := seconds(sw.opts.MaxLifetime); d > 0 {
		if _, latest := s.rules.lastUsed(r); latest < now-d {
			return r.expires + 1, true, true
		}
	}
	return 0, false, false
}

func (sw *sweep) delete(ctx context.Context, r *record, cut int64, unused bool) (bool, error) {
	var tr trace
	err := sw.call(ctx, &tr, func(ctx context.Context) error {
		return sw.store.table.deleteSeen(ctx, &tr, r, cut, unused)
	})
	if errors.Is(err, errBusy) { // being renewed, and so alive
		return false, nil
	}
	refused, err := asRefusal(err)
	return refused == nil && err == nil, err
}

// call makes one call, counts its units, and then waits for as long as the ceiling asks.
func (sw *sweep) call(ctx context.Context, tr *trace, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, sw.store.cfg.Timeout)
	defer cancel()
	err := f(limited)
	sw.mu.Lock()
	sw.stats.ReadUnits += tr.readUnits
	sw.stats.WriteUnits += tr.writeUnits
	spent := sw.stats.ReadUnits + sw.stats.WriteUnits
	sw.mu.Unlock()
	if err != nil || sw.opts.UnitsPerSecond == 0 {
		return err
	}
	due := sw.began.Add(time.Duration(spent / sw.opts.UnitsPerSecond * float64(time.Second)))
	if ahead := due.Sub(sw.store.now()); ahead > 0 {
		return sleep(ctx, ahead)
	}
	return nil
}

func (sw *sweep) tell(page SweepStats) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	sw.stats.Scanned += page.Scanned
	sw.stats.Expired += page.Expired
	sw.stats.Deleted += page.Deleted
	if sw.opts.Progress != nil {
		sw.opts.Progress(sw.stats)
	}
}
