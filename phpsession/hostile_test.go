package phpsession_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

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
