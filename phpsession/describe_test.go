package phpsession_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/phpsession"
)

// describer describes a session as testdata/php-codec.json and testdata/describe.php do: with the
// places that share a reference or an object.
type describer struct {
	places map[*phpsession.Value]int // how many there are
	refs   map[*phpsession.Value]int // number, by first appearance
	oids   map[any]int
}

// describe returns the list of [key, value] of a session. It joins the values as php_serialize, whose whole is one
// value, so that what keys share shows.
func describe(t testing.TB, values []dynasession.KeyValue) []any {
	t.Helper()
	if len(values) == 0 {
		return []any{}
	}
	whole, err := phpsession.PHPSerialize{}.Join(values)
	require.NoError(t, err)
	var session phpsession.Array
	require.NoError(t, phpsession.PHPSerialize{}.Unmarshal(whole, &session))
	d := &describer{map[*phpsession.Value]int{}, map[*phpsession.Value]int{}, map[any]int{}}
	d.count(session)
	return d.pairs(session)
}

func (d *describer) count(pairs []phpsession.Pair) {
	for _, p := range pairs {
		d.places[p.Value]++
		if d.places[p.Value] > 1 {
			continue
		}
		switch v := p.Value.V.(type) {
		case phpsession.Array:
			d.count(v)
		case *phpsession.Object:
			if _, seen := d.oids[v]; !seen {
				d.oids[v] = 0
				d.count(v.Properties)
			}
		}
	}
}

func text(s string) map[string]any {
	if utf8.ValidString(s) {
		return map[string]any{"type": "string", "value": s}
	}
	return map[string]any{"type": "string", "base64": base64.StdEncoding.EncodeToString([]byte(s))}
}

func number(n int64) map[string]any {
	return map[string]any{"type": "int", "value": strconv.FormatInt(n, 10)}
}

func key(k any) any {
	if n, ok := k.(int64); ok {
		return number(n)
	}
	return text(k.(string))
}

func (d *describer) pairs(pairs []phpsession.Pair) []any {
	out := []any{}
	for _, p := range pairs {
		out = append(out, []any{key(p.Key), d.value(p.Value)})
	}
	return out
}

func (d *describer) value(v *phpsession.Value) any {
	if n := d.refs[v]; n > 0 {
		return map[string]any{"type": "reference", "to": float64(n)}
	}
	n := 0
	if d.places[v] > 1 {
		n = len(d.refs) + 1
		d.refs[v] = n
	}
	out := d.plain(v.V)
	if n > 0 {
		out["ref"] = float64(n)
	}
	return out
}

func (d *describer) plain(v any) map[string]any {
	switch v := v.(type) {
	case nil:
		return map[string]any{"type": "null"}
	case bool:
		return map[string]any{"type": "bool", "value": v}
	case int64:
		return number(v)
	case float64:
		bits := fmt.Sprintf("%016x", math.Float64bits(v))
		if math.IsNaN(v) {
			bits = "NAN"
		}
		return map[string]any{"type": "float", "bits": bits}
	case string:
		return text(v)
	case phpsession.Array:
		return map[string]any{"type": "array", "items": d.pairs(v)}
	}
	if n := d.oids[v]; n > 0 {
		return map[string]any{"type": "same_object", "to": float64(n)}
	}
	n := 1
	for _, m := range d.oids {
		n = max(n, m+1)
	}
	d.oids[v] = n
	var out map[string]any
	switch v := v.(type) {
	case *phpsession.Object:
		members := []any{}
		for _, p := range v.Properties {
			members = append(members, d.member(p))
		}
		out = map[string]any{"type": "object", "class": v.Class, "members": members}
	case phpsession.Enum:
		out = map[string]any{"type": "enum", "class": v.Class, "case": v.Case}
	case *phpsession.Custom:
		out = map[string]any{"type": "custom", "class": v.Class, "payload": text(v.Data)}
	}
	out["oid"] = float64(n)
	return out
}

func (d *describer) member(p phpsession.Pair) any {
	name, visibility, class := p.Property()
	out := map[string]any{"name": any(text(name)), "visibility": visibility, "value": d.value(p.Value)}
	if n, ok := p.Key.(int64); ok {
		out["name"] = number(n)
	}
	if class != "" {
		out["declaring_class"] = class
	}
	return out
}

// described drops from a description what it says twice, and the bits of NaNs.
func described(x any) any {
	switch x := x.(type) {
	case []any:
		for i := range x {
			x[i] = described(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = described(x[k])
		}
		if x["type"] == "float" {
			delete(x, "value")
			if bits, _ := x["bits"].(string); strings.HasPrefix(bits, "7ff8") || strings.HasPrefix(bits, "fff8") {
				x["bits"] = "NAN"
			}
		}
	}
	return x
}
