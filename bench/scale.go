package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// runScale drives the trace through this library with its defaults: first on an empty table, then on
// tables that already hold as many other sessions as stocks lists.
func runScale(ctx context.Context, endpoint string, people []person, stocks []int, log io.Writer) ([]*result, error) {
	own := contestants()[0]
	var results []*result
	for _, stock := range append([]int{0}, stocks...) {
		r, err := run(ctx, endpoint, own, people, stock)
		if err != nil {
			return nil, err
		}
		_, _ = fmt.Fprintf(log, "%d sessions in the table: $%.3f\n", stock, r.cost())
		results = append(results, r)
	}
	return results, nil
}

func scaleMarkdown(results []*result, stocks []int, at time.Time) string {
	lines := [][]string{{
		"sessions in the table", "GetItem", "PutItem, UpdateItem", "DeleteItem", "read units", "write units", "$ per million requests", "heap after the run",
	}}
	for i, r := range results {
		stock := 0
		if i > 0 {
			stock = stocks[i-1]
		}
		lines = append(lines, []string{
			thousands(stock),
			fmt.Sprintf("%.1f", r.perThousand(float64(r.Reads))), fmt.Sprintf("%.1f", r.perThousand(float64(r.Puts))), fmt.Sprintf("%.1f", r.perThousand(float64(r.Delete))),
			fmt.Sprintf("%.1f", r.perThousand(r.ReadUnits)), fmt.Sprintf("%.1f", r.perThousand(r.WriteUnits)),
			fmt.Sprintf("%.3f", r.cost()), fmt.Sprintf("%.1f MB", float64(r.heap)/1e6),
		})
	}
	return fmt.Sprintf("# The trace with other sessions in the table\n\n%s The library runs with its defaults. Calls and units are per 1,000 requests. "+
		"The heap is that of the whole process, including the proxy, the web server and the users' contents.\n\n%s", measuredOn(at), markdownTable(lines, 0))
}

func (s *swept) markdown(at time.Time) string {
	seconds := s.duration.Seconds()
	return fmt.Sprintf(`# Sweeping %s sessions

%s Half of the sessions had expired. The sweep used %d segments. DynamoDB Local ran on the same machine and limited the speed.

| | |
|---|--:|
| items scanned, expired, deleted | %s, %s, %s |
| time | %.0f s |
| items scanned per second | %s |
| items deleted per second | %s |
| read units | %s |
| write units | %s |
| dollars | %.3f |
| heap before the sweep, largest heap during it | %.1f MB, %.1f MB |
`, thousands(s.items), measuredOn(at), sweepSegments,
		thousands(s.Scanned), thousands(s.Expired), thousands(s.Deleted),
		seconds, thousands(int(float64(s.Scanned)/seconds)), thousands(int(float64(s.Deleted)/seconds)),
		thousands(int(s.ReadUnits)), thousands(int(s.WriteUnits)), dollars(s.ReadUnits, s.WriteUnits),
		float64(s.before)/1e6, float64(s.peak)/1e6) + s.example()
}

// The worked example is a month of 100 million sessions.
const (
	monthlySessions = 100_000_000
	daysAMonth      = 30
)

// example estimates a month's cost from the read units per item that the sweep has taken.
func (s *swept) example() string {
	readUnits := s.ReadUnits / float64(s.Scanned) // per item, within the pages of a scan
	var b strings.Builder
	fmt.Fprintf(&b, `
## A month of %s sessions

Each session is signed in, takes one write unit, and ends by expiry. Deletes by TTL cost nothing. A sweep reads the whole table, which takes %.3f units per item as measured above, and takes a write unit for each session that it deletes.

`, thousands(monthlySessions), readUnits)
	lines := [][]string{{"removed by", "items in the table", "reads per month", "deletes per month", "$ per month"}}
	add := func(name string, items int, sweeps int) {
		reads := float64(items) * readUnits * float64(sweeps)
		deletes := 0.0
		if sweeps > 0 {
			deletes = monthlySessions
		}
		lines = append(lines, []string{
			name, thousands(items), fmt.Sprintf("%.1f million units", reads/1e6), fmt.Sprintf("%.0f million units", deletes/1e6),
			fmt.Sprintf("%.2f", dollars(reads, deletes)),
		})
	}
	day := monthlySessions / daysAMonth
	add("TTL; sessions last a day, and stay in the table for up to two more days", 3*day, 0)
	add("a sweep per day; sessions last a day", 2*day, daysAMonth)
	add("a sweep per hour; sessions last a day", day+day/24, 24*daysAMonth)
	add("TTL; sessions last a month (Remember)", monthlySessions+2*day, 0)
	add("a sweep per day; sessions last a month", monthlySessions+day, daysAMonth)
	b.WriteString(markdownTable(lines, 1))
	return b.String()
}

// thousands formats n with a comma before each group of three digits.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
