// Bench drives one trace of HTTP requests through this library and through others, and reports what
// each of them costs on DynamoDB. See README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := start(ctx, os.Args[1:], os.Getenv("DYNAMODB_LOCAL_ENDPOINT"), os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// program holds the settings of one run.
type program struct {
	endpoint string
	out      string
	log      io.Writer
	at       time.Time
}

func start(ctx context.Context, args []string, endpoint string, log io.Writer) error {
	p := &program{endpoint: endpoint, log: log, at: time.Now()}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(log)
	users := flags.Int("users", traceUsers, "number of users in the trace")
	flags.StringVar(&p.out, "out", "results", "directory for the results")
	trace := flags.Bool("trace", true, "run the trace through all libraries")
	var stocks []int
	flags.Func("scale", "run the trace with so many other sessions in the table, for example 1000,10000,100000", func(list string) error {
		for s := range strings.SplitSeq(list, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				return err
			}
			stocks = append(stocks, n)
		}
		return nil
	})
	sweep := flags.Int("sweep", 0, "sweep a table of so many sessions, half of them expired")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if endpoint == "" {
		return errors.New("DYNAMODB_LOCAL_ENDPOINT is not set: use make bench")
	}
	if *trace {
		if err := p.trace(ctx, *users); err != nil {
			return err
		}
	}
	if len(stocks) > 0 {
		results, err := runScale(ctx, endpoint, makePeople(*users, shop), stocks, log)
		if err != nil {
			return err
		}
		if err := p.write("scale.md", scaleMarkdown(results, stocks, p.at)); err != nil {
			return err
		}
	}
	if *sweep > 0 {
		s, err := runSweep(ctx, endpoint, *sweep, log)
		if err != nil {
			return err
		}
		return p.write("sweep.md", s.markdown(p.at))
	}
	return nil
}

func (p *program) trace(ctx context.Context, users int) error {
	rep := &report{users: users, at: p.at}
	for _, c := range contestants() {
		r, err := run(ctx, p.endpoint, c, makePeople(users, shop), 0)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(p.log, "$%.3f %s\n", r.cost(), c.short)
		rep.results = append(rep.results, r)
	}
	for _, of := range []contents{shop, shopHashes, authJS, django, laravel} {
		row := contentCosts{contents: of, size: sizeOf(of, users), costs: map[string]float64{}}
		for _, c := range contestants() {
			if c.reads != eventualReads && c.short != ownDefault {
				continue
			}
			r, err := run(ctx, p.endpoint, c, makePeople(users, of), 0)
			if err != nil {
				return err
			}
			row.costs[c.short] = r.cost()
		}
		_, _ = fmt.Fprintf(p.log, "$%.3f dynasession, contents of %s\n", row.costs[ownDefault], of.name)
		rep.contents = append(rep.contents, row)
	}
	sortByCost(rep.results)
	var list bytes.Buffer
	if err := rep.csv(&list); err != nil {
		return err
	}
	return errors.Join(
		p.write("trace.md", rep.markdown()),
		p.write("trace.csv", list.String()),
		p.write("trace.svg", svg(rep.results)),
	)
}

func (p *program) write(name, content string) error {
	if err := os.MkdirAll(p.out, 0o750); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.out, name), []byte(content), 0o600)
}
