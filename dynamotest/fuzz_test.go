package dynamotest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzExpressions: no text may panic or take long, and what parses can be evaluated.
func FuzzExpressions(f *testing.F) {
	for _, c := range conformanceCases() {
		for _, st := range c.steps {
			in, ok := st.in.(obj)
			if !ok {
				continue
			}
			for _, key := range []string{"ConditionExpression", "UpdateExpression", "ProjectionExpression", "KeyConditionExpression", "FilterExpression"} {
				if e, ok := in[key].(string); ok {
					f.Add(e)
				}
			}
		}
	}
	f.Add(strings.Repeat("(", 4096))
	f.Add(strings.Repeat("NOT ", 1024) + "n")
	f.Add("n IN (" + strings.Repeat(":a,", 1360) + ":a)")
	f.Add("SET " + strings.Repeat("a.", 2000) + "a = :a")
	f.Add("REMOVE " + strings.Repeat("a,", 2000) + "a")
	f.Add("n = :a" + strings.Repeat(" AND n = :a", 149))
	var item map[string]value
	b, err := json.Marshal(fixture)
	require.NoError(f, err)
	require.NoError(f, json.Unmarshal(b, &item))
	f.Fuzz(func(t *testing.T, e string) {
		holders, apiErr := newPlaceholders(map[string]string{"#a": "n", "#b": "l"}, map[string]value{":a": intValue(1), ":b": {kind: "S", s: "x"}, ":x": {kind: "SS", l: []value{{kind: "S", s: "x"}}}}, true, "")
		require.Nil(t, apiErr)
		start := time.Now()
		if c, err := parseCondition("ConditionExpression", e, holders); err == nil {
			c.holds(item)
			c.holds(nil)
			c.names(map[string]bool{})
			_, _, _ = source{schema: keySchema{hash: "id", hashKind: "S"}}.keyCondition(c)
		}
		if actions, err := parseUpdate(e, holders); err == nil {
			before := fmt.Sprint(itemSize(item))
			_, _ = applyUpdate(item, actions)
			require.Equal(t, before, fmt.Sprint(itemSize(item)), "an update must leave the old item alone")
		}
		if p, err := parseProjection(e, holders); err == nil {
			p.apply(item)
		}
		require.Less(t, time.Since(start), 5*time.Second)
	})
}

// FuzzRequests: no body may panic, and every answer is JSON.
func FuzzRequests(f *testing.F) {
	for _, c := range conformanceCases() {
		for _, st := range c.steps {
			in, ok := st.in.(obj)
			if !ok || st.op == "walk" {
				continue
			}
			b, err := json.Marshal(with(in, obj{"TableName": "table"}))
			require.NoError(f, err)
			if len(b) < 1000 {
				f.Add(st.op, b)
			}
		}
	}
	f.Add("PutItem", []byte(`{"TableName":"table","Item":{"id":{"S":"a"},"v":`+strings.Repeat(`{"L":[`, 5000)+`{"N":"1"}`+strings.Repeat(`]}`, 5000)+`}}`))
	f.Fuzz(func(t *testing.T, op string, body []byte) {
		s := NewServer()
		create, err := json.Marshal(with(indexTable.in.(obj), obj{"TableName": "table"}))
		require.NoError(t, err)
		_, err = s.serve(t.Context(), "X.CreateTable", create)
		require.NoError(t, err)
		for range 2 {
			a, err := s.serve(t.Context(), "X."+op, body)
			require.NoError(t, err)
			require.True(t, json.Valid(a.body), "%s", a.body)
		}
	})
}

// FuzzNumbers: what parses has one form, and that form is the same number.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"0", "-0", "1", "-1.50", "1e125", "9.9e125", "1e-130", "1e126", ".5", "1.", "", "+1", "e1", "1e", "1e99999999999", "0.000", "00012", "--1", "1_0"} {
		f.Add(s, "3.5")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, err := parseNumber(a)
		if err != nil {
			return
		}
		again, err := parseNumber(x.String())
		require.Nil(t, err)
		require.Equal(t, x, again)
		require.Positive(t, x.size())
		y, err := parseNumber(b)
		if err != nil {
			return
		}
		require.Equal(t, x.compare(y), -y.compare(x))
		if sum, err := x.add(y, false); err == nil {
			if back, err := sum.add(y, true); err == nil {
				require.Equal(t, 0, back.compare(x))
			}
		}
	})
}
