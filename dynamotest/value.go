package dynamotest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// value is an attribute value. Values are never changed once they are made, so items and answers
// may share them.
type value struct {
	kind string // S N B BOOL NULL SS NS BS L M
	s    string // text, or raw bytes
	n    number
	t    bool
	l    []value // list, or sorted set
	m    map[string]value
	bad  *apiError // found at decoding; reported where the value is used
}

func (v value) isSet() bool { return v.kind == "SS" || v.kind == "NS" || v.kind == "BS" }

// comparable types are the ones that < and BETWEEN take.
func (v value) isOrdered() bool { return v.kind == "S" || v.kind == "N" || v.kind == "B" }

// UnmarshalJSON never fails on a wrong value: the error has to be told in the place's own words.
func (v *value) UnmarshalJSON(b []byte) error {
	var raw map[string]any
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*v = makeValue(raw, 0)
	return nil
}

func badValue(message string) value { return value{bad: invalid(message)} }

const (
	emptyValue = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
	manyTypes  = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
	tooDeep    = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
	wrongJSON  = "dynamotest: attribute value has the wrong JSON type"
)

func makeValue(raw any, depth int) value {
	m, ok := raw.(map[string]any)
	if !ok {
		return badValue(wrongJSON)
	}
	if depth >= maxNesting {
		return badValue(tooDeep)
	}
	maps.DeleteFunc(m, func(_ string, x any) bool { return x == nil })
	if len(m) == 0 {
		return badValue(emptyValue)
	}
	if len(m) > 1 {
		return badValue(manyTypes)
	}
	for kind, x := range m {
		switch kind {
		case "S", "N", "B":
			return makeScalar(kind, x)
		case "BOOL":
			t, ok := x.(bool)
			if !ok {
				return badValue(wrongJSON)
			}
			return value{kind: "BOOL", t: t}
		case "NULL":
			if t, ok := x.(bool); !ok || !t {
				return badValue("One or more parameter values were invalid: Null attribute value types must have the value of true")
			}
			return value{kind: "NULL", t: true}
		case "SS", "NS", "BS":
			return makeSet(kind, x)
		case "L":
			return makeList(x, depth)
		case "M":
			return makeMap(x, depth)
		}
	}
	return badValue(emptyValue)
}

func makeScalar(kind string, x any) value {
	s, ok := x.(string)
	if !ok {
		return badValue(wrongJSON)
	}
	switch kind {
	case "N":
		n, err := parseNumber(s)
		return value{kind: "N", n: n, bad: err}
	case "B":
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return badValue("One or more parameter values were invalid: binary value is not valid base64")
		}
		s = string(b)
	}
	return value{kind: kind, s: s}
}

func makeSet(kind string, x any) value {
	list, ok := x.([]any)
	if !ok {
		return badValue(wrongJSON)
	}
	names := map[string]string{"SS": "string", "NS": "number", "BS": "binary"}
	if len(list) == 0 {
		return badValue("One or more parameter values were invalid: An " + names[kind] + " set  may not be empty")
	}
	elems := make([]value, 0, len(list))
	for _, e := range list {
		v := makeScalar(kind[:1], e)
		if v.bad != nil {
			return v
		}
		elems = append(elems, v)
	}
	slices.SortFunc(elems, compareScalars)
	for i := 1; i < len(elems); i++ {
		if compareScalars(elems[i-1], elems[i]) != 0 {
			continue
		}
		switch kind {
		case "SS":
			return badValue(fmt.Sprintf("One or more parameter values were invalid: Input collection %v contains duplicates", joined(list)))
		case "BS":
			return badValue("One or more parameter values were invalid: Input collection of type BS contains duplicates.")
		}
		return badValue("Input collection contains duplicates")
	}
	return value{kind: kind, l: elems}
}

func joined(list []any) string {
	parts := make([]string, len(list))
	for i, e := range list {
		parts[i] = fmt.Sprint(e)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func makeList(x any, depth int) value {
	list, ok := x.([]any)
	if !ok {
		return badValue(wrongJSON)
	}
	elems := make([]value, 0, len(list))
	for _, e := range list {
		v := makeValue(e, depth+1)
		if v.bad != nil {
			return v
		}
		elems = append(elems, v)
	}
	return value{kind: "L", l: elems}
}

func makeMap(x any, depth int) value {
	raw, ok := x.(map[string]any)
	if !ok {
		return badValue(wrongJSON)
	}
	m := make(map[string]value, len(raw))
	for name, e := range raw {
		if name == "" {
			return badValue("Empty attribute name")
		}
		v := makeValue(e, depth+1)
		if v.bad != nil {
			return v
		}
		m[name] = v
	}
	return value{kind: "M", m: m}
}

// checkAttributes reports the first bad value of an item or a key.
func checkAttributes(attrs map[string]value) *apiError {
	for name, v := range attrs {
		if name == "" {
			return invalid("Empty attribute name")
		}
		if v.bad != nil {
			return v.bad
		}
	}
	return nil
}

// compareScalars orders two values of one type: S, N or B.
func compareScalars(a, b value) int {
	if a.kind == "N" {
		return a.n.compare(b.n)
	}
	return strings.Compare(a.s, b.s)
}

func (v value) equal(w value) bool {
	if v.kind != w.kind {
		return false
	}
	switch v.kind {
	case "N":
		return v.n == w.n
	case "BOOL", "NULL":
		return v.t == w.t
	case "SS", "NS", "BS", "L":
		return slices.EqualFunc(v.l, w.l, value.equal)
	case "M":
		if len(v.m) != len(w.m) {
			return false
		}
		for name, x := range v.m {
			y, ok := w.m[name]
			if !ok || !x.equal(y) {
				return false
			}
		}
		return true
	}
	return v.s == w.s
}

func equalItems(a, b map[string]value) bool {
	return value{kind: "M", m: a}.equal(value{kind: "M", m: b})
}

// text is the value in error messages, as {N:5}.
func (v value) text() string {
	s := v.s
	if v.kind == "N" {
		s = v.n.String()
	}
	return "{" + v.kind + ":" + s + "}"
}

// MarshalJSON writes the value as it goes over the wire.
func (v value) MarshalJSON() ([]byte, error) { return v.append(nil), nil }

func (v value) append(b []byte) []byte {
	b = append(b, `{"`...)
	b = append(b, v.kind...)
	b = append(b, `":`...)
	switch v.kind {
	case "S", "N", "B":
		b = v.appendScalar(b)
	case "BOOL", "NULL":
		b = fmt.Append(b, v.t)
	case "SS", "NS", "BS":
		b = appendElems(b, v.l, value.appendScalar)
	case "L":
		b = appendElems(b, v.l, value.append)
	case "M":
		b = appendItem(b, v.m)
	default:
		b = append(b, "null"...)
	}
	return append(b, '}')
}

func (v value) appendScalar(b []byte) []byte {
	switch v.kind {
	case "N":
		b = append(b, '"')
		b = append(b, v.n.String()...)
		return append(b, '"')
	case "B":
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, []byte(v.s))
		return append(b, '"')
	}
	return appendString(b, v.s)
}

func appendElems(b []byte, l []value, each func(value, []byte) []byte) []byte {
	b = append(b, '[')
	for i, e := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = each(e, b)
	}
	return append(b, ']')
}

func appendItem(b []byte, m map[string]value) []byte {
	b = append(b, '{')
	first := true
	for name, v := range m {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, name)
		b = append(b, ':')
		b = v.append(b)
	}
	return append(b, '}')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // strings always marshal
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
