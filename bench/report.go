package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fiberStore is what a million requests cost in dollars with the session store of fiber v3 on its
// DynamoDB storage, with explicit saves. Of the libraries that cannot be built in this module, it is the
// cheapest. It reads eventually and does not end sessions. It was measured on 2026-11-22 with the same
// trace, with sessions of the same sizes, through the same kind of proxy.
const fiberStore = 0.294

// report holds the results of all contestants.
type report struct {
	results  []*result // sorted by cost
	contents []contentCosts
	users    int
	at       time.Time
}

// contentCosts are what a million requests cost in dollars, by the contestants' short names, with some contents.
type contentCosts struct {
	contents
	size  int // the mean size of a large session in bytes
	costs map[string]float64
}

// sizeOf returns the mean size of the sessions at the end of the trace, in bytes of keys and JSON.
func sizeOf(of contents, users int) int {
	size := 0
	for _, p := range makePeople(users, of) {
		for _, v := range p.after(len(pages)) {
			size += len(v.key) + len(v.json)
		}
	}
	return size / users
}

func sortByCost(results []*result) {
	slices.SortStableFunc(results, func(a, b *result) int {
		switch d := a.cost() - b.cost(); {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return 0
	})
}

// find returns the result of the contestant with the given short name, or nil if there is none.
func find(results []*result, short string) *result {
	for _, r := range results {
		if r.short == short {
			return r
		}
	}
	return nil
}

// cheapestOther returns the cheapest result of another library. If ends is not empty, only libraries
// that end sessions in that way count.
func cheapestOther(results []*result, ends string) *result {
	var best *result
	for _, r := range results {
		if r.ours == nil && (ends == "" || r.ends == ends) && (best == nil || r.cost() < best.cost()) {
			best = r
		}
	}
	return best
}

type column struct {
	title string
	cell  func(*result) string
}

func (r *result) columns() []column {
	count := func(n func(*result) int) func(*result) string {
		return func(r *result) string { return fmt.Sprintf("%.0f", r.perThousand(float64(n(r)))) }
	}
	units := func(n func(*result) float64) func(*result) string {
		return func(r *result) string { return fmt.Sprintf("%.1f", r.perThousand(n(r))) }
	}
	bytes := func(n func(*result) int64) func(*result) string {
		return func(r *result) string { return strconv.FormatInt(n(r)/int64(r.requests), 10) }
	}
	return []column{
		{"library", func(r *result) string { return r.name }},
		{"ends sessions by", func(r *result) string { return r.ends }},
		{"reads", func(r *result) string { return r.reads }},
		{"GetItem", count(func(r *result) int { return r.Reads })},
		{"PutItem, UpdateItem", count(func(r *result) int { return r.Puts })},
		{"DeleteItem", count(func(r *result) int { return r.Delete })},
		{"read units", units(func(r *result) float64 { return r.ReadUnits })},
		{"write units", units(func(r *result) float64 { return r.WriteUnits })},
		{"bytes sent", bytes(func(r *result) int64 { return r.Sent })},
		{"bytes received", bytes(func(r *result) int64 { return r.Received })},
		{"$ per million requests", func(r *result) string { return fmt.Sprintf("%.3f", r.cost()) }},
	}
}

// table returns a line of titles, and a line of cells for each result.
func table(results []*result) [][]string {
	columns := (*result)(nil).columns()
	lines := make([][]string, 1, len(results)+1)
	for _, c := range columns {
		lines[0] = append(lines[0], c.title)
	}
	for _, r := range results {
		var line []string
		for _, c := range columns {
			line = append(line, c.cell(r))
		}
		lines = append(lines, line)
	}
	return lines
}

const textColumns = 3 // the columns after these hold numbers

func markdownTable(lines [][]string, text int) string {
	var b strings.Builder
	for i, line := range lines {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", text) + strings.Repeat("--:|", len(line)-text) + "\n")
		}
	}
	return b.String()
}

func (rep *report) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.WriteAll(table(rep.results)); err != nil {
		return err
	}
	return out.Error()
}

// measuredOn returns a sentence that says when and with what a run was measured.
func measuredOn(at time.Time) string {
	return fmt.Sprintf("Measured on %s with %s %s/%s, %d CPUs, and DynamoDB Local.",
		at.Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
}

func (rep *report) markdown() string {
	var b strings.Builder
	own, eventual := find(rep.results, ownDefault), find(rep.results, ownEventual)
	idle, cheapest := cheapestOther(rep.results, idleAndEnd), cheapestOther(rep.results, "")
	fmt.Fprintf(&b, "# The trace: %d users, %d requests\n\n", rep.users, own.requests)
	fmt.Fprintf(&b, "%s `make bench` rewrites this file. Calls and units are per 1,000 HTTP requests, bytes are per request. [What the columns mean](../README.md).\n\n", measuredOn(rep.at))
	b.WriteString(markdownTable(table(rep.results), textColumns))
	fmt.Fprintf(&b, "\n| cost of | compared with | ratio |\n|---|---|--:|\n")
	for _, line := range []struct {
		own  *result
		with string
		cost float64
	}{
		{own, idle.short + ", the cheapest other that ends sessions by idle and absolute timeout", idle.cost()},
		{own, cheapest.short + ", the cheapest other in this run", cheapest.cost()},
		{own, "fiber v3's session store, measured on 2026-11-22: $" + fmt.Sprint(fiberStore), fiberStore},
		{eventual, cheapest.short, cheapest.cost()},
		{eventual, "fiber v3's session store", fiberStore},
	} {
		fmt.Fprintf(&b, "| %s | %s | %.3f |\n", line.own.short, line.with, line.own.cost()/line.cost)
	}
	b.WriteString("\n## When the users are slower\n\n" +
		"The trace takes seconds, so no session is old enough to be touched. Real users take minutes. " +
		"With its defaults, dynasession writes the expiry again when it is six minutes old. " +
		"scs with an IdleTimeout writes it at every request, at any pace.\n\n")
	lines := [][]string{{"time between requests", "touches of a session", "dynasession", "EventualReads", "scs, idle timeout"}}
	for _, pace := range []time.Duration{time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute} {
		n := touches(pace)
		more := dollars(0, float64(n)) * 1e6 / float64(perUser)
		lines = append(lines, []string{
			strings.TrimSuffix(pace.String(), "0s"), strconv.Itoa(n),
			fmt.Sprintf("$%.3f", own.cost()+more), fmt.Sprintf("$%.3f", eventual.cost()+more), fmt.Sprintf("$%.3f", idle.cost()),
		})
	}
	b.WriteString(markdownTable(lines, 1))
	b.WriteString("\n## With other contents\n\n" +
		"This is the same trace with sessions as other programs keep them. The sizes are those of the JSON at the end of the trace. " +
		"dynasession's compression starts from a dictionary that was made for contents such as the shop's.\n\n")
	names := []string{ownDefault, ownEventual, "gorilla/sessions, eventual reads", "scs, eventual reads", scsIdle}
	lines = [][]string{append([]string{"contents", "bytes"}, names...)}
	for _, row := range rep.contents {
		line := []string{row.name, strconv.Itoa(row.size)}
		for _, name := range names {
			line = append(line, fmt.Sprintf("$%.3f", row.costs[name]))
		}
		lines = append(lines, line)
	}
	b.WriteString(markdownTable(lines, 1))
	return b.String()
}

// touches returns how often this library, with its defaults, writes only the expiry in one user's
// trace. The pace is the time between two requests.
func touches(pace time.Duration) int {
	const touchAfter = 6 * time.Minute
	n, age := 0, time.Duration(0)
	for _, page := range pages {
		age += pace
		switch {
		case page == smallPage || page == bigPage:
			age = 0
		case page == readPage && age >= touchAfter:
			n++
			age = 0
		}
	}
	return n
}
