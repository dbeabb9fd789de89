package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// row is what a table shows.
type row interface {
	columns() []string
	cells() []string
}

// printer prints rows as they come: a table, a JSON array, or a JSON object a line.
type printer[R row] struct {
	form  string
	out   io.Writer
	table *tabwriter.Writer
	n     int
}

func newPrinter[R row](cmd *cobra.Command, form string) *printer[R] {
	p := &printer[R]{form: form, out: cmd.OutOrStdout()}
	if form == "table" {
		p.table = tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	}
	return p
}

// flushEvery is how many rows of a table are held, to align them.
const flushEvery = 1000

func (p *printer[R]) print(r R) error {
	p.n++
	if p.table != nil {
		if p.n == 1 {
			_, _ = fmt.Fprintln(p.table, strings.Join(r.columns(), "\t"))
		}
		_, err := fmt.Fprintln(p.table, strings.Join(r.cells(), "\t"))
		if p.n%flushEvery == 0 {
			err = p.table.Flush()
		}
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	before, after := "", "\n"
	if p.form == "json" {
		if before, after = ",\n", ""; p.n == 1 {
			before = "[\n"
		}
	}
	_, err = fmt.Fprint(p.out, before, string(text), after)
	return err
}

func (p *printer[R]) close() {
	switch {
	case p.table != nil:
		_ = p.table.Flush()
	case p.form == "json" && p.n == 0:
		_, _ = fmt.Fprintln(p.out, "[]")
	case p.form == "json":
		_, _ = fmt.Fprintln(p.out, "\n]")
	}
}
