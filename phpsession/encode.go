package phpsession

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// encoder writes a value as PHP's serialize does.
type encoder struct {
	out      []byte
	slots    int
	maxDepth int
	root     Array // of the value itself
	values   map[*Value]int
	objects  map[any]int // *Object, *Custom, Enum
}

func marshal(v any, maxDepth int) ([]byte, error) {
	if p, ok := v.(patch); ok {
		return p.marshal(maxDepth)
	}
	e := &encoder{out: make([]byte, 0, 64), maxDepth: maxDepth}
	if err := e.any(v, 0); err != nil {
		return nil, err
	}
	return e.out, nil
}

func appendInt(out []byte, n int64) []byte {
	return append(strconv.AppendInt(append(out, 'i', ':'), n, 10), ';')
}

func appendString[T string | []byte](out []byte, s T) []byte {
	out = strconv.AppendInt(append(out, 's', ':'), int64(len(s)), 10)
	out = append(out, ':', '"')
	out = append(out, s...)
	return append(out, '"', ';')
}

func appendCount(out []byte, n int) []byte {
	out = strconv.AppendInt(append(out, 'a', ':'), int64(n), 10)
	return append(out, ':', '{')
}

func appendReference(out []byte, kind byte, n int) []byte {
	return append(strconv.AppendInt(append(out, kind, ':'), int64(n), 10), ';')
}

// appendFloat writes f as PHP does with serialize_precision = -1.
func appendFloat(out []byte, f float64) []byte {
	out = append(out, 'd', ':')
	switch {
	case math.IsNaN(f):
		out = append(out, "NAN"...)
	case math.IsInf(f, 1):
		out = append(out, "INF"...)
	case math.IsInf(f, -1):
		out = append(out, "-INF"...)
	default:
		out = appendDigits(out, f)
	}
	return append(out, ';')
}

// appendDigits has exponents where PHP has them: from 1.0E+17 on, and below 0.0001.
func appendDigits(out []byte, f float64) []byte {
	var buf [32]byte
	s := strconv.AppendFloat(buf[:0], f, 'e', -1, 64)
	i := slices.Index(s, 'e')
	exponent, _ := strconv.Atoi(string(s[i+1:])) // always a number
	if f == 0 || exponent >= -4 && exponent < 17 {
		return strconv.AppendFloat(out, f, 'f', -1, 64)
	}
	out = append(out, s[:i]...)
	if !slices.Contains(s[:i], '.') {
		out = append(out, ".0"...)
	}
	out = append(out, 'E')
	if exponent > 0 {
		out = append(out, '+')
	}
	return strconv.AppendInt(out, int64(exponent), 10)
}

// arrayInt returns the int that a string key is in a PHP array, and reports whether it is one.
func arrayInt(key string) (int64, bool) {
	if key == "" || len(key) > len("-9223372036854775808") {
		return 0, false
	}
	digits := strings.TrimPrefix(key, "-")
	if digits == "" || digits[0] < '0' || digits[0] > '9' || digits[0] == '0' && key != "0" {
		return 0, false
	}
	n, err := strconv.ParseInt(key, 10, 64)
	return n, err == nil
}

func (e *encoder) null() { e.out = append(e.out, "N;"...) }

// any writes v into a slot that begins here.
func (e *encoder) any(v any, depth int) error {
	switch v := v.(type) {
	case Value:
		return e.any(v.V, depth)
	case *Value:
		if v == nil {
			e.slots++
			e.null()
			return nil
		}
		return e.value(v, depth)
	}
	e.slots++
	switch v := v.(type) {
	case nil:
		e.null()
	case bool:
		e.boolean(v)
	case int:
		e.out = appendInt(e.out, int64(v))
	case int64:
		e.out = appendInt(e.out, v)
	case float64:
		e.out = appendFloat(e.out, v)
	case string:
		e.out = appendString(e.out, v)
	case Array:
		if depth == 0 {
			e.root = v
		}
		return e.array(v, depth)
	case *Object, *Custom:
		return e.object(v, depth)
	case Object, Custom, Enum:
		return e.byValue(v, depth)
	default:
		return e.reflected(reflect.ValueOf(v), depth)
	}
	return nil
}

// byValue writes an Object, Custom or Enum. The zero value is written as null, which decodes as the zero value.
func (e *encoder) byValue(v any, depth int) error {
	if reflect.ValueOf(v).IsZero() {
		e.null()
		return nil
	}
	switch o := v.(type) { // each is an object of its own
	case Object:
		v = &o
	case Custom:
		v = &o
	}
	return e.object(v, depth)
}

func (e *encoder) boolean(b bool) {
	if b {
		e.out = append(e.out, "b:1;"...)
		return
	}
	e.out = append(e.out, "b:0;"...)
}

// value writes v, or a reference where it is written already.
func (e *encoder) value(v *Value, depth int) error {
	if n, ok := e.values[v]; ok {
		e.out = appendReference(e.out, 'R', n)
		return nil
	}
	if a, ok := v.V.(Array); ok && len(a) > 0 && len(a) == len(e.root) && &a[0] == &e.root[0] {
		e.out = appendReference(e.out, 'R', 1) // the value itself, of which the caller gave a copy
		return nil
	}
	if inner, ok := v.V.(*Value); ok && inner != nil || isValue(v.V) {
		return errors.New("phpsession: a Value holds a Value")
	}
	if e.values == nil {
		e.values = map[*Value]int{}
	}
	e.values[v] = e.slots + 1
	return e.any(v.V, depth)
}

func isValue(v any) bool {
	_, ok := v.(Value)
	return ok
}

// enter begins n pairs. An empty array is no level to PHP.
func (e *encoder) enter(depth, n int) error {
	if depth >= e.maxDepth && n > 0 {
		return errTooDeep
	}
	return nil
}

func (e *encoder) array(a Array, depth int) error {
	if err := e.enter(depth, len(a)); err != nil {
		return err
	}
	e.out = appendCount(e.out, len(a))
	if err := e.pairs(a, depth, true); err != nil {
		return err
	}
	e.out = append(e.out, '}')
	return nil
}

func (e *encoder) pairs(pairs []Pair, depth int, array bool) error {
	var known keyIndex
	for _, p := range pairs {
		key := p.Key
		if n, ok := key.(int); ok {
			key = int64(n)
		}
		if array {
			key = arrayKey(key)
		}
		switch key := key.(type) {
		case int64:
			e.out = appendInt(e.out, key)
		case string:
			e.out = appendString(e.out, key)
		default:
			return fmt.Errorf("phpsession: a key is a %T, and must be an int64 or string", key)
		}
		if _, again := known.add(key); again {
			return errors.New("phpsession: a key is there twice")
		}
		if err := e.any(p.Value, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) object(v any, depth int) error {
	if o, ok := v.(*Object); ok && o == nil {
		e.null()
		return nil
	}
	if c, ok := v.(*Custom); ok && c == nil {
		e.null()
		return nil
	}
	if n, ok := e.objects[v]; ok {
		e.out = appendReference(e.out, 'r', n)
		return nil
	}
	if e.objects == nil {
		e.objects = map[any]int{}
	}
	e.objects[v] = e.slots
	switch v := v.(type) {
	case Enum:
		if !isClass(v.Class) || !isClass(v.Case) {
			return errors.New("phpsession: an Enum without a class and a case that PHP takes")
		}
		e.quoted('E', v.Class+":"+v.Case)
		e.out = append(e.out, ';')
	case *Custom:
		if !isObjectClass(v.Class) {
			return errClass
		}
		e.quoted('C', v.Class)
		e.count(len(v.Data))
		e.out = append(e.out, v.Data...)
		e.out = append(e.out, '}')
	case *Object:
		if !isObjectClass(v.Class) {
			return errClass
		}
		if err := e.enter(depth, 1); err != nil {
			return err
		}
		e.quoted('O', v.Class)
		e.count(len(v.Properties))
		if err := e.pairs(v.Properties, depth, false); err != nil {
			return err
		}
		e.out = append(e.out, '}')
	}
	return nil
}

var errClass = errors.New("phpsession: an object without a class that PHP takes")

func (e *encoder) quoted(kind byte, s string) {
	e.out = strconv.AppendInt(append(e.out, kind, ':'), int64(len(s)), 10)
	e.out = append(e.out, ':', '"')
	e.out = append(e.out, s...)
	e.out = append(e.out, '"')
}

func (e *encoder) count(n int) {
	e.out = strconv.AppendInt(append(e.out, ':'), int64(n), 10)
	e.out = append(e.out, ':', '{')
}

// reflected writes v into the slot that has begun.
func (e *encoder) reflected(rv reflect.Value, depth int) error {
	if depth > e.maxDepth {
		return errTooDeep // a pointer to itself
	}
	if t := textMarshaler(rv); t != nil {
		text, err := t.MarshalText()
		if err != nil {
			return &encodeError{rv.Type(), err}
		}
		e.out = appendString(e.out, text)
		return nil
	}
	switch rv.Kind() {
	case reflect.Bool:
		e.boolean(rv.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.out = appendInt(e.out, rv.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if rv.Uint() > math.MaxInt64 {
			return fmt.Errorf("phpsession: a %v is too large for an int of PHP", rv.Type())
		}
		e.out = appendInt(e.out, int64(rv.Uint()))
	case reflect.Float32, reflect.Float64:
		e.out = appendFloat(e.out, rv.Float())
	case reflect.String:
		e.out = appendString(e.out, rv.String())
	case reflect.Pointer, reflect.Interface:
		if rv.IsNil() {
			e.null()
			return nil
		}
		e.slots-- // the slot is what rv points to
		return e.any(rv.Elem().Interface(), depth+1)
	case reflect.Slice:
		if rv.Type().Elem().Kind() == reflect.Uint8 {
			e.out = appendString(e.out, rv.Bytes())
			return nil
		}
		return e.list(rv, depth)
	case reflect.Array:
		return e.list(rv, depth)
	case reflect.Map:
		return e.mapping(rv, depth)
	case reflect.Struct:
		return e.structure(rv, depth)
	default:
		return fmt.Errorf("phpsession: a %v does not encode", rv.Type())
	}
	return nil
}

var typeMarshal = reflect.TypeFor[encoding.TextMarshaler]()

// textMarshaler returns the TextMarshaler that rv is, or that a pointer to it is, or nil.
func textMarshaler(rv reflect.Value) encoding.TextMarshaler {
	pointer := rv.Kind() == reflect.Pointer
	switch {
	case pointer && rv.IsNil():
		return nil
	case !pointer && !rv.Type().Implements(typeMarshal) && reflect.PointerTo(rv.Type()).Implements(typeMarshal):
		p := reflect.New(rv.Type()) // a copy, since rv has no address
		p.Elem().Set(rv)
		rv = p
	}
	t, _ := reflect.TypeAssert[encoding.TextMarshaler](rv)
	return t
}

// encodeError keeps its cause out of its text: MarshalText may quote values.
type encodeError struct {
	typ   reflect.Type
	cause error
}

func (e *encodeError) Error() string { return fmt.Sprintf("phpsession: a %v does not encode", e.typ) }
func (e *encodeError) Unwrap() error { return e.cause }

func (e *encoder) list(rv reflect.Value, depth int) error {
	if err := e.enter(depth, rv.Len()); err != nil {
		return err
	}
	e.out = appendCount(e.out, rv.Len())
	for i := range rv.Len() {
		e.out = appendInt(e.out, int64(i))
		if err := e.any(rv.Index(i).Interface(), depth+1); err != nil {
			return err
		}
	}
	e.out = append(e.out, '}')
	return nil
}

func (e *encoder) mapping(rv reflect.Value, depth int) error {
	if err := e.enter(depth, rv.Len()); err != nil {
		return err
	}
	type pair struct {
		key   any // int64 or string
		value reflect.Value
	}
	pairs := make([]pair, 0, rv.Len())
	for it := rv.MapRange(); it.Next(); {
		key, ok := mapKey(it.Key())
		if !ok {
			return fmt.Errorf("phpsession: a %v does not encode: its keys must be integers or strings", rv.Type())
		}
		pairs = append(pairs, pair{key, it.Value()})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return compareKeys(a.key, b.key) })
	e.out = appendCount(e.out, len(pairs))
	for i, p := range pairs {
		if i > 0 && pairs[i-1].key == p.key {
			return errors.New("phpsession: a key is there twice, as an integer and as a string")
		}
		switch key := p.key.(type) {
		case int64:
			e.out = appendInt(e.out, key)
		case string:
			e.out = appendString(e.out, key)
		}
		if err := e.any(p.value.Interface(), depth+1); err != nil {
			return err
		}
	}
	e.out = append(e.out, '}')
	return nil
}

func mapKey(rv reflect.Value) (any, bool) {
	if rv.Kind() == reflect.Interface {
		rv = rv.Elem()
	}
	switch {
	case rv.Kind() == reflect.String:
		return arrayKey(rv.String()), true
	case rv.IsValid() && rv.CanInt():
		return rv.Int(), true
	case rv.IsValid() && rv.CanUint() && rv.Uint() <= math.MaxInt64:
		return int64(rv.Uint()), true
	}
	return nil, false
}

// compareKeys puts integers before strings.
func compareKeys(a, b any) int {
	n, aInt := a.(int64)
	m, bInt := b.(int64)
	switch {
	case aInt && bInt:
		return cmp.Compare(n, m)
	case aInt:
		return -1
	case bInt:
		return 1
	}
	return cmp.Compare(a.(string), b.(string))
}

func (e *encoder) structure(rv reflect.Value, depth int) error {
	type pair struct {
		name  string
		value reflect.Value
	}
	var pairs []pair
	for _, f := range fieldsOf(rv.Type()).list {
		value, err := rv.FieldByIndexErr(f.index)
		if err != nil || f.omitEmpty && value.IsZero() { // an error: behind an embedded nil
			continue
		}
		pairs = append(pairs, pair{f.name, value})
	}
	if err := e.enter(depth, len(pairs)); err != nil {
		return err
	}
	e.out = appendCount(e.out, len(pairs))
	for _, p := range pairs {
		if n, ok := arrayInt(p.name); ok {
			e.out = appendInt(e.out, n)
		} else {
			e.out = appendString(e.out, p.name)
		}
		if err := e.any(p.value.Interface(), depth+1); err != nil {
			return err
		}
	}
	e.out = append(e.out, '}')
	return nil
}
