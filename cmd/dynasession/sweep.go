package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynasession/dynasession"
)

// On-demand prices in us-east-1, in dollars for a unit; a GB for a month.
const (
	readPrice    = 0.125 / 1e6
	writePrice   = 0.625 / 1e6
	storagePrice = 0.25
)

type swept struct {
	Scanned    int     `json:"scanned"`
	Expired    int     `json:"expired"`
	Deleted    int     `json:"deleted"`
	ReadUnits  float64 `json:"readUnits"`
	WriteUnits float64 `json:"writeUnits"`
	Dollars    float64 `json:"dollars"`
	DryRun     bool    `json:"dryRun,omitempty"`
}

func (swept) columns() []string {
	return []string{"SCANNED", "EXPIRED", "DELETED", "READ UNITS", "WRITE UNITS", "COST"}
}

func (s swept) cells() []string {
	deleted := strconv.Itoa(s.Deleted)
	if s.DryRun {
		deleted = "0 (dry run)"
	}
	return []string{strconv.Itoa(s.Scanned), strconv.Itoa(s.Expired), deleted, units(s.ReadUnits), units(s.WriteUnits), dollars(s.Dollars)}
}

func units(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

func dollars(d float64) string { return fmt.Sprintf("$%.6f", d) }

func price(s dynasession.SweepStats) float64 { return s.ReadUnits*readPrice + s.WriteUnits*writePrice }

func (a *app) sweepCommand() *cobra.Command {
	var opts dynasession.SweepOptions
	cmd := &cobra.Command{
		Use: "sweep", Short: "Delete the sessions that have expired", Args: cobra.NoArgs,
		Long: "Delete the sessions that have expired, a minute after their expiry, and with --unused-for also those that nobody has\n" +
			"used for so long. It reads the whole table. DynamoDB's TTL does the same for nothing, but later.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !opts.DryRun {
				if err := a.confirm(cmd, "Delete what has expired"); err != nil {
					return err
				}
			}
			return a.sweep(cmd, opts)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&opts.DryRun, "dry-run", false, "delete nothing; say what it would delete, and cost")
	f.DurationVar(&opts.MaxLifetime, "unused-for", 0, "also delete what nobody has used for so long")
	f.IntVar(&opts.Segments, "segments", 1, "parts of the table that are read in parallel")
	f.Float64Var(&opts.UnitsPerSecond, "units-per-second", 0, "limit of the capacity units; 0 for none")
	return cmd
}

func (a *app) sweep(cmd *cobra.Command, opts dynasession.SweepOptions) error {
	store, _, _, err := a.store(cmd.Context())
	if err != nil {
		return err
	}
	p := newProgress(cmd)
	opts.Progress = func(s dynasession.SweepStats) {
		p.show(fmt.Sprintf("%d items, %d expired, %d deleted, %s units, %s", s.Scanned, s.Expired, s.Deleted, units(s.ReadUnits+s.WriteUnits), dollars(price(s))), s.Scanned)
	}
	stats, err := store.Sweep(cmd.Context(), opts)
	p.end()
	out := newPrinter[swept](cmd, a.output)
	defer out.close()
	printed := out.print(swept{stats.Scanned, stats.Expired, stats.Deleted, stats.ReadUnits, stats.WriteUnits, price(stats), opts.DryRun})
	if err == nil && !opts.DryRun && stats.Deleted < stats.Expired {
		err = fmt.Errorf("%w: %d of %d: they were used meanwhile, or another sweep deleted them", errLeft, stats.Expired-stats.Deleted, stats.Expired)
	}
	return errors.Join(err, printed)
}

// progress is a line on a terminal that changes.
type progress struct {
	out   *os.File // nil if it is not a terminal
	began time.Time

	mu   sync.Mutex
	last time.Time
}

func newProgress(cmd *cobra.Command) *progress {
	p := &progress{began: time.Now()}
	if f, ok := cmd.ErrOrStderr().(*os.File); ok && isTerminal(f) {
		p.out = f
	}
	return p
}

// show replaces the line, at most ten times a second.
func (p *progress) show(text string, items int) {
	if p.out == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.last) >= 100*time.Millisecond {
		p.last = now
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s, %.0f items/s", text, float64(items)/max(now.Sub(p.began).Seconds(), 0.001))
	}
}

func (p *progress) end() {
	if p.out != nil {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}
