package phpsession_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/phpsession"
)

// manyReferences are arrays of two: what is large, and as many references to it as there is room for.
func manyReferences(size int) map[string]string {
	key := fmt.Sprintf(`{s:%d:"%s";N;}`, size/2, strings.Repeat("x", size/2))
	text := fmt.Sprintf(`{i:0;s:%d:"%s";}`, size/2, strings.Repeat("x", size/2))
	nulls := repeat(size/2, "a:%d:{", "i:%d;N;", "}")
	of := func(what, reference string) string {
		return `a:2:{i:0;` + what + `i:1;` + repeat(size/2, "a:%d:{", "i:%d;"+reference, "}") + `}`
	}
	return map[string]string{
		"a long key":                 of(`a:1:`+key, `R:2;`),
		"a long name of a property":  of(`O:1:"A":1:`+key, `r:2;`),
		"a long key inside":          of(`a:1:{i:0;a:1:`+key+`}`, `R:2;`),
		"a long string":              of(`a:1:`+text, `R:2;`),
		"a long string in an object": of(`a:1:{i:0;O:1:"A":1:`+text+`}`, `R:2;`),
		"a long Custom":              of(fmt.Sprintf(`a:1:{i:0;C:1:"A":%d:{%s}}`, size/2, strings.Repeat("x", size/2)), `R:2;`),
		"a large array":              of(nulls, `R:2;`),
		"a large array inside":       of(`a:1:{i:0;`+nulls+`}`, `R:2;`),
		"a large object":             of(strings.Replace(nulls, "a:", `O:1:"A":`, 1), `r:2;`),
		"a large object by R":        of(strings.Replace(nulls, "a:", `O:1:"A":`, 1), `R:2;`),
	}
}

// TestReferencesToMuch: references that lead to much again and again take no more memory than so many times the
// data, whatever they are decoded into. As a tree they decode.
func TestReferencesToMuch(t *testing.T) {
	type skips struct{ X int }
	for name, data := range manyReferences(64 << 10) {
		for _, into := range []any{
			new(any), new([]map[any]any), new([]map[any]map[any]any), new([]map[any]phpsession.Value),
			new([]map[any]map[any]phpsession.Value), new([]map[any]map[any]*phpsession.Value), new([]map[any]map[any]phpsession.Array),
			new([]map[any]*phpsession.Object), new([]map[any]phpsession.Array), new([][]phpsession.Value), new([][]*phpsession.Value),
			new([]map[any]skips), new([]map[any]map[any]skips),
			new(phpsession.Value), new(*phpsession.Value), new(phpsession.Array),
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := phpsession.PHP{}.Unmarshal([]byte(data), into)
			runtime.ReadMemStats(&after)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(40<<20+100*len(data)), "%s into a %T", name, into)
			switch into.(type) {
			case *phpsession.Value, **phpsession.Value, *phpsession.Array, *[][]*phpsession.Value:
			case *[]map[any]skips, *[]map[any]map[any]skips:
				// Nothing is kept, so memory cannot be compared: count what is skipped.
				if strings.HasPrefix(name, "a large array") {
					require.ErrorContains(t, err, "references make the value much larger than its data", "%s into a %T", name, into)
				}
				continue
			default:
				continue
			}
			if _, slices := into.(*[][]*phpsession.Value); !slices {
				require.NoError(t, err, "%s into a %T", name, into)
			}
		}
	}
}

// TestOddSessions: well-formed sessions that PHP itself would not write: keys that are there
// twice, numbers of values that were replaced, references to anything. PHP and Go read the same, or
// neither does, also after Go has taken the session apart and joined it anew, and of parts of it.
func TestOddSessions(t *testing.T) {
	for handler, codec := range codecs {
		t.Run(handler, func(t *testing.T) {
			t.Parallel()
			php := startPHP(t, handler)
			read := 0
			for seed := range 3000 {
				w := &oddWriter{random: rand.New(rand.NewPCG(2, uint64(seed))), handler: handler}
				data := []byte(w.session())
				fail := fmt.Sprintf("seed %d: %q", seed, data)
				seen := php.ask("describe", data, "")
				values, err := codec.Split(data)
				require.Equal(t, seen.Error == "", err == nil, "%s: %v", fail, err)
				if err != nil {
					continue
				}
				read++
				require.Equal(t, described(seen.Description), described(describe(t, values)), fail)
				for range 3 {
					w.random.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
					some := values[:w.random.IntN(len(values)+1)]
					if len(some) == 0 {
						continue
					}
					joined, err := codec.Join(some)
					require.NoError(t, err, fail)
					again := php.ask("describe", joined, "")
					require.Empty(t, again.Error, fail)
					require.Equal(t, described(again.Description), described(describe(t, some)), fail)
					values = append([]dynasession.KeyValue{}, values...)
				}
			}
			require.Greater(t, read, 500)
		})
	}
}

type oddWriter struct {
	random  *rand.Rand
	handler string
	slots   int
}

func (w *oddWriter) session() string {
	var b strings.Builder
	n := w.random.IntN(8)
	if w.handler == "php_serialize" {
		w.slots = 1
		fmt.Fprintf(&b, "a:%d:{", n)
	}
	for range n {
		key := string(rune('a' + w.random.IntN(4)))
		switch w.handler {
		case "php":
			b.WriteString(key + "|")
		case "php_binary":
			b.WriteString("\x01" + key)
		default:
			fmt.Fprintf(&b, "s:1:%q;", key)
		}
		w.value(&b, 3)
	}
	if w.handler == "php_serialize" {
		b.WriteByte('}')
	}
	return b.String()
}

func (w *oddWriter) value(b *strings.Builder, depth int) {
	kinds := 10
	if depth == 0 {
		kinds = 6
	}
	kind := w.random.IntN(kinds)
	if kind < 3 && w.slots > 0 {
		// Not the session itself, which PHP cannot write again.
		lowest := 1
		if w.handler == "php_serialize" {
			lowest = 2
		}
		n := lowest + w.random.IntN(w.slots+1)
		if kind < 2 {
			fmt.Fprintf(b, "R:%d;", n)
			return
		}
		w.slots++
		fmt.Fprintf(b, "r:%d;", n)
		return
	}
	w.slots++
	switch kind {
	case 3:
		b.WriteString(`E:11:"Suit:Hearts";`)
	case 0, 1, 2, 4, 5:
		fmt.Fprintf(b, "i:%d;", w.slots)
	case 6, 7:
		w.pairs(b, "a:", depth)
	default:
		w.pairs(b, `O:8:"stdClass":`, depth)
	}
}

func (w *oddWriter) pairs(b *strings.Builder, head string, depth int) {
	n := w.random.IntN(5)
	fmt.Fprintf(b, "%s%d:{", head, n)
	for range n {
		k := w.random.IntN(3)
		switch w.random.IntN(4) {
		case 0:
			fmt.Fprintf(b, `s:1:"%d";`, k)
		case 1:
			fmt.Fprintf(b, `s:1:"%c";`, 'p'+k)
		default:
			if head == "a:" {
				fmt.Fprintf(b, "i:%d;", k)
			} else {
				fmt.Fprintf(b, `s:2:"p%d";`, k)
			}
		}
		w.value(b, depth-1)
	}
	b.WriteByte('}')
}
