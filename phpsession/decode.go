package phpsession

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder decodes one value, which it has checked before. In a group it has not checked what references lead to: that
// may be anything.
type decoder struct {
	lexer
	refs  []reference  // of a value with references that are numbers
	named map[int]bool // the offsets of the values that they name

	following int // how many references led here
	unwound   int // how many bytes references have led to

	// By offset, what references may name; for trees of Values.
	values  map[int]*Value
	objects map[int]any
	ends    map[int]int // of arrays and objects, so that they are skipped once only
}

// unmarshal decodes data into what v points to.
func unmarshal(data []byte, v any) error {
	d, start, err := newDecoder(data)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *lookup:
		return d.lookup(start, v)
	case *patch:
		v.data = data
		return nil
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return fmt.Errorf("phpsession: a %T is no pointer to decode into", v)
	}
	_, err = d.value(start, 0, rv.Elem())
	return err
}

// newDecoder checks data.
func newDecoder(data []byte) (d *decoder, start int, err error) {
	d = &decoder{lexer: lexer{data: data}}
	if isGroup(data) {
		if d.lexer, start, err = groupValue(data); err != nil {
			return nil, 0, err
		}
	}
	s := &scanner{lexer: d.lexer}
	end, err := s.value(start, 0)
	if err != nil {
		return nil, 0, err
	}
	if end != len(d.data) {
		return nil, 0, expected(end, "nothing after the value")
	}
	if s.refs > 0 && !d.shared {
		r := newResolver(d.lexer, s.slots, s.refs)
		r.whole = true
		_, err = r.value(0, r.newPlaces(1))
		d.resolved(r)
	}
	return d, start, err
}

// resolved takes over what r has found.
func (d *decoder) resolved(r *resolver) {
	d.refs = r.refs
	d.named = make(map[int]bool, min(len(r.refs), 64))
	for _, ref := range r.refs {
		d.named[ref.to] = true
	}
}

var (
	errWhole   = errors.New("phpsession: a reference to the session itself, which has no place in Go or in another format")
	errUnwinds = errors.New("phpsession: references make the value much larger than its data, or endless: decode it as a Value")
)

// References are followed as often as they are there. So a few bytes may stand for much more than there
// is, of which a decoder takes so many times the data's size, and so much in any case.
const (
	unwindTimes = 2
	unwindBytes = 256 << 10
)

// next and key count the bytes of all tokens that references have led to.
func (d *decoder) next(pos int) (t token, err error) {
	if t, err = d.lexer.next(pos); err == nil && d.following > 0 {
		err = d.unwind(&t)
	}
	return t, err
}

func (d *decoder) key(pos int) (t token, err error) {
	if t, err = d.lexer.key(pos); err == nil && d.following > 0 {
		err = d.unwind(&t)
	}
	return t, err
}

func (d *decoder) unwind(t *token) error {
	if d.unwound += t.end - t.start; d.unwound > unwindBytes+unwindTimes*len(d.data) {
		return errUnwinds
	}
	return nil
}

// target returns the offset of what a reference names.
func (d *decoder) target(t *token) (int, error) {
	switch {
	case t.global && t.n < len(d.data):
		return t.n, nil
	case d.shared && !t.global && t.n == 0:
		return 0, errWhole
	}
	i, ok := slices.BinarySearchFunc(d.refs, t.start, func(r reference, at int) int { return r.at - at })
	switch {
	case !ok:
		return 0, expected(t.start, "the number of a value before it")
	case d.refs[i].slot == 0:
		return 0, errWhole
	}
	return d.refs[i].to, nil
}

// room returns how much room to make for n pairs. In values that share, n may be wrong. Behind references, the same
// pairs may be begun again at each level, and none of them ended.
func (d *decoder) room(n int) int {
	if d.shared || d.following > 0 {
		return min(n, 16)
	}
	return n
}

var (
	typeAny     = reflect.TypeFor[any]()
	typeValue   = reflect.TypeFor[Value]()
	typePointer = reflect.TypeFor[*Value]()
	typeArray   = reflect.TypeFor[Array]()
	typeObject  = reflect.TypeFor[*Object]()
	typeCustom  = reflect.TypeFor[*Custom]()
	typeEnum    = reflect.TypeFor[Enum]()
	ownObject   = reflect.TypeFor[Object]()
	ownCustom   = reflect.TypeFor[Custom]()
	typeTime    = reflect.TypeFor[time.Time]()
	typeText    = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value decodes the value at pos, inside depth others, and returns its end.
func (d *decoder) value(pos, depth int, rv reflect.Value) (end int, err error) {
	switch rv.Type() {
	case typeValue:
		return d.fill(pos, depth, rv.Addr().Interface().(*Value))
	case typeArray, typeObject, typeCustom, typeEnum, ownObject, ownCustom:
		return d.fixed(pos, depth, rv)
	case typePointer: // the same one, where PHP has a reference
		v, end, err := d.pointer(pos, depth)
		if err == nil {
			rv.Set(reflect.ValueOf(v))
		}
		return end, err
	}
	t, err := d.next(pos)
	if err != nil {
		return 0, err
	}
	if depth > maxDepth {
		return 0, errUnwinds
	}
	switch {
	case t.kind == 'R' || t.kind == 'r':
		return t.end, d.follow(&t, depth, rv)
	case rv.Type() == typeAny:
		v, end, err := d.any(&t, depth)
		if err == nil && v != nil {
			rv.Set(reflect.ValueOf(v))
		} else {
			rv.SetZero()
		}
		return end, err
	case t.kind == 'N':
		rv.SetZero()
		return t.end, nil
	case rv.Kind() == reflect.Pointer:
		p := reflect.New(rv.Type().Elem())
		if end, err = d.value(pos, depth, p.Elem()); err == nil {
			rv.Set(p)
		}
		return end, err
	}
	switch t.kind {
	case 'a', 'O':
		return d.pairs(&t, depth, rv)
	default:
		return t.end, d.scalar(&t, rv)
	}
}

// follow decodes what a reference names.
func (d *decoder) follow(t *token, depth int, rv reflect.Value) error {
	at, err := d.target(t)
	if err != nil {
		return err
	}
	d.following++
	_, err = d.value(at, depth+1, rv)
	d.following--
	return err
}

// mismatch returns the error of a t that does not decode as a Go type.
func mismatch(t *token, typ reflect.Type) error {
	what := map[byte]string{
		'N': "null", 'b': "a bool", 'i': "an int", 'd': "a float", 's': "a string",
		'a': "an array", 'O': "an object", 'C': "an object", 'E': "an enum",
	}[t.kind]
	return fmt.Errorf("phpsession: at offset %d: %s of PHP does not decode as a Go %v", t.start, what, typ)
}

func (d *decoder) scalar(t *token, rv reflect.Value) error {
	if t.kind == 's' && rv.CanAddr() && rv.Addr().Type().Implements(typeText) {
		if err := rv.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(t.bytes()); err != nil {
			return &textError{t.start, rv.Type(), err}
		}
		return nil
	}
	switch kind := rv.Kind(); {
	case t.kind == 'b' && kind == reflect.Bool:
		rv.SetBool(t.text[0] == '1')
	case t.kind == 'i' && rv.CanInt():
		n := parseInt(t.text)
		if rv.OverflowInt(n) {
			return mismatch(t, rv.Type())
		}
		rv.SetInt(n)
	case t.kind == 'i' && rv.CanUint():
		n := parseInt(t.text)
		if n < 0 || rv.OverflowUint(uint64(n)) {
			return mismatch(t, rv.Type())
		}
		rv.SetUint(uint64(n))
	case t.kind == 'i' && rv.CanFloat():
		n := parseInt(t.text)
		rv.SetFloat(float64(n))
		if f := rv.Float(); f >= math.MaxInt64 || int64(f) != n {
			return mismatch(t, rv.Type())
		}
	case t.kind == 'd' && rv.CanFloat():
		rv.SetFloat(parseFloat(t.text))
	case t.kind == 's' && kind == reflect.String:
		rv.SetString(string(t.bytes()))
	case t.kind == 's' && (rv.CanInt() || rv.CanUint() || rv.CanFloat()):
		return numeric(t, rv)
	case t.kind == 'i' && kind == reflect.String:
		rv.SetString(string(t.text))
	case t.kind == 'd' && kind == reflect.String:
		rv.SetString(floatText(parseFloat(t.text)))
	case t.kind == 's' && kind == reflect.Slice && rv.Type().Elem().Kind() == reflect.Uint8:
		rv.SetBytes(append([]byte{}, t.bytes()...))
	default:
		return mismatch(t, rv.Type())
	}
	return nil
}

// numeric decodes a numeric string as PHP reads it: an int, a float, white space around it (PHP Manual,
// "Numeric strings"). The extensions mysqli and PDO return numbers as strings. An integer that the Go type cannot hold
// exactly does not decode.
func numeric(t *token, rv reflect.Value) error {
	text := strings.Trim(string(t.bytes()), " \t\n\r\v\f")
	if text == "" || strings.Trim(text, "0123456789+-.eE") != "" { // none of Go's other forms
		return mismatch(t, rv.Type())
	}
	f, err := strconv.ParseFloat(text, rv.Type().Bits())
	if rv.CanFloat() {
		if err != nil || !strings.ContainsAny(text, ".eE") && !isExactly(f, text) {
			return mismatch(t, rv.Type())
		}
		rv.SetFloat(f)
		return nil
	}
	n, ok := wholeNumber(text)
	switch {
	case !ok:
		return mismatch(t, rv.Type())
	case rv.CanInt() && n.IsInt64() && !rv.OverflowInt(n.Int64()):
		rv.SetInt(n.Int64())
	case rv.CanUint() && n.IsUint64() && !rv.OverflowUint(n.Uint64()):
		rv.SetUint(n.Uint64())
	default:
		return mismatch(t, rv.Type())
	}
	return nil
}

// isExactly reports whether f is the integer that digits stand for.
func isExactly(f float64, digits string) bool {
	n, ok := wholeNumber(digits)
	exact, _ := new(big.Float).SetFloat64(f).Int(nil)
	return ok && n.Cmp(exact) == 0
}

// wholeNumber returns the integer of at most 64 bits that a decimal number stands for, if it does.
func wholeNumber(text string) (*big.Int, bool) {
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.Abs(f) > math.MaxUint64:
		return nil, false
	case math.Abs(f) < 1: // its exponent may be too low for big.Rat
		mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
		return new(big.Int), strings.Trim(mantissa, "+-.0") == ""
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok || !r.IsInt() {
		return nil, false
	}
	return r.Num(), true
}

// floatText returns PHP's string of a float, with its default precision of 14 digits.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NAN"
	case math.IsInf(f, 1):
		return "INF"
	case math.IsInf(f, -1):
		return "-INF"
	}
	mantissa, exponent, ok := strings.Cut(strconv.FormatFloat(f, 'G', 14, 64), "E")
	if !ok {
		return mantissa
	}
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	return mantissa + "E" + exponent[:1] + strings.TrimLeft(exponent[1:], "0")
}

// textError keeps its cause out of its text: UnmarshalText may quote the string.
type textError struct {
	offset int
	typ    reflect.Type
	cause  error
}

func (e *textError) Error() string {
	return fmt.Sprintf("phpsession: at offset %d: the string does not decode as a Go %v", e.offset, e.typ)
}

func (e *textError) Unwrap() error { return e.cause }

// parseInt returns a saturated integer, as PHP does.
func parseInt(digits []byte) int64 {
	n, _ := strconv.ParseInt(string(digits), 10, 64) // out of range is the only error
	return n
}

// parseFloat returns infinity for what is too large, as PHP does.
func parseFloat(digits []byte) float64 {
	f, _ := strconv.ParseFloat(string(digits), 64) // out of range is the only error
	return f
}

// pairs decodes an array, or an object by its properties' names.
func (d *decoder) pairs(t *token, depth int, rv reflect.Value) (end int, err error) {
	switch rv.Kind() {
	case reflect.Struct:
		if rv.Type() == typeTime {
			return d.time(t, depth, rv)
		}
		return d.structure(t, depth, rv)
	case reflect.Map:
		return d.mapping(t, depth, rv)
	case reflect.Slice:
		if t.kind == 'a' && rv.Type().Elem().Kind() != reflect.Uint8 {
			return d.list(t, depth, rv)
		}
	case reflect.Array:
		if t.kind == 'a' && t.n == rv.Len() {
			return d.list(t, depth, rv)
		}
	}
	return 0, mismatch(t, rv.Type())
}

// each calls f with the keys of t's pairs, and with where their values begin. f returns where they end.
func (d *decoder) each(t *token, f func(k *token, pos int) (int, error)) (end int, err error) {
	pos := t.end
	for range t.n {
		k, err := d.key(pos)
		if err != nil {
			return 0, err
		}
		if pos, err = f(&k, k.end); err != nil {
			return 0, err
		}
	}
	return d.closing(pos)
}

// list decodes values under int keys, in their order.
func (d *decoder) list(t *token, depth int, rv reflect.Value) (end int, err error) {
	slice := rv.Kind() == reflect.Slice
	out := rv
	if slice {
		out = reflect.MakeSlice(rv.Type(), 0, d.room(t.n))
	}
	var index map[int64]int // nil as long as the keys are 0, 1, 2 and so on
	n := 0
	end, err = d.each(t, func(k *token, pos int) (int, error) {
		key, ok := pairKey(t, k).(int64)
		if !ok {
			return 0, mismatch(t, rv.Type())
		}
		i := n
		if key != int64(n) || index != nil {
			if index == nil {
				index = map[int64]int{}
				for j := range n {
					index[int64(j)] = j
				}
			}
			if j, ok := index[key]; ok { // there twice: the last value, at the first one's place
				i = j
				out.Index(i).SetZero()
			}
			index[key] = i
		}
		if i == n {
			n++
			if slice {
				out = reflect.Append(out, reflect.Zero(rv.Type().Elem()))
			}
		}
		return d.value(pos, depth+1, out.Index(i))
	})
	if err == nil && slice {
		rv.Set(out)
	}
	return end, err
}

func (d *decoder) mapping(t *token, depth int, rv reflect.Value) (end int, err error) {
	typ := rv.Type()
	out := reflect.MakeMapWithSize(typ, d.room(t.n))
	key := reflect.New(typ.Key()).Elem() // which the map copies
	end, err = d.each(t, func(k *token, pos int) (int, error) {
		if !setKey(key, propertyName(t, pairKey(t, k))) {
			return 0, mismatch(k, typ.Key())
		}
		value := reflect.New(typ.Elem()).Elem()
		end, err := d.value(pos, depth+1, value)
		if err == nil {
			out.SetMapIndex(key, value)
		}
		return end, err
	})
	if err == nil {
		rv.Set(out)
	}
	return end, err
}

// setKey sets the key of a map, of type any or of a string or integer type. It reports whether it can.
func setKey(rv reflect.Value, key any) bool {
	switch n, isInt := key.(int64); {
	case rv.Type() == typeAny:
		rv.Set(reflect.ValueOf(key))
	case rv.Kind() == reflect.String:
		rv.SetString(fmt.Sprint(key))
	case isInt && rv.CanInt() && !rv.OverflowInt(n):
		rv.SetInt(n)
	case isInt && rv.CanUint() && n >= 0 && !rv.OverflowUint(uint64(n)):
		rv.SetUint(uint64(n))
	default:
		return false
	}
	return true
}

// pairKey returns the key of a pair of t: an int64 or string.
func pairKey(t, k *token) any {
	if k.kind == 'i' {
		return parseInt(k.text)
	}
	s := string(k.bytes())
	if t.kind == 'a' {
		if n, ok := arrayInt(s); ok {
			return n
		}
	}
	return s
}

// propertyName returns the plain name of an object's property, and any other key as it is.
func propertyName(t *token, key any) any {
	if t.kind != 'O' {
		return key
	}
	name, _, _ := Pair{Key: key}.Property()
	return name
}

func (d *decoder) structure(t *token, depth int, rv reflect.Value) (end int, err error) {
	fields := fieldsOf(rv.Type())
	seen := make([]bool, len(fields.list))
	return d.each(t, func(k *token, pos int) (int, error) {
		i := fields.find(t, k)
		if i < 0 {
			return d.skip(pos, 0)
		}
		index := fields.list[i].index
		field, err := rv.FieldByIndexErr(index)
		if err != nil { // an embedded pointer
			field = makeField(rv, index)
		}
		if seen[i] { // nothing of the first value stays
			field.SetZero()
		}
		seen[i] = true
		return d.value(pos, depth+1, field)
	})
}

// makeField returns a field of a struct that is embedded through pointers, and makes what is missing.
func makeField(rv reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		if rv.Kind() == reflect.Pointer {
			if rv.IsNil() {
				rv.Set(reflect.New(rv.Type().Elem()))
			}
			rv = rv.Elem()
		}
		rv = rv.Field(i)
	}
	return rv
}

// skip returns the end of the value at pos, inside depth others that are skipped.
func (d *decoder) skip(pos, depth int) (end int, err error) {
	if end = d.ends[pos]; end > 0 {
		return end, nil
	}
	t, err := d.next(pos)
	if err != nil || !t.nested() {
		return t.end, err
	}
	if depth > maxDepth {
		return 0, errTooDeep
	}
	end, err = d.each(&t, func(_ *token, pos int) (int, error) { return d.skip(pos, depth+1) })
	if err == nil {
		d.ended(pos, end)
	}
	return end, err
}

// time decodes PHP's DateTime, DateTimeImmutable, and classes made of them.
func (d *decoder) time(t *token, depth int, rv reflect.Value) (end int, err error) {
	var php struct {
		Date string `php:"date"`
		Type int    `php:"timezone_type"`
		Zone string `php:"timezone"`
	}
	end, err = d.structure(t, depth, reflect.ValueOf(&php).Elem())
	if err != nil {
		return 0, err
	}
	zone, layout := time.UTC, "2006-01-02 15:04:05.999999"
	switch php.Type {
	case 1: // an offset
		layout += "Z07:00"
		php.Date += php.Zone
	case 3: // a name
		if zone, err = time.LoadLocation(php.Zone); err != nil {
			return 0, &textError{t.start, typeTime, err}
		}
	default: // an abbreviation, which many zones share
		if php.Zone != "UTC" && php.Zone != "GMT" && php.Zone != "Z" {
			return 0, mismatch(t, typeTime)
		}
	}
	when, err := time.ParseInLocation(layout, php.Date, zone)
	if err != nil {
		return 0, &textError{t.start, typeTime, err}
	}
	rv.Set(reflect.ValueOf(when))
	return end, nil
}

// any decodes into the types that Go has for it: see the package's doc.
func (d *decoder) any(t *token, depth int) (v any, end int, err error) {
	switch t.kind {
	case 'a':
		return d.anyArray(t, depth)
	case 'O', 'C', 'E':
		var x Value
		end, err = d.fill(t.start, depth, &x)
		return x.V, end, err
	default:
		return scalarOf(t), t.end, nil
	}
}

// scalarOf returns the Go value of a null, bool, int, float or string.
func scalarOf(t *token) any {
	switch t.kind {
	case 'b':
		return t.text[0] == '1'
	case 'i':
		return parseInt(t.text)
	case 'd':
		return parseFloat(t.text)
	case 's':
		return string(t.bytes())
	}
	return nil
}

func (d *decoder) anyArray(t *token, depth int) (v any, end int, err error) {
	keys, values := make([]any, 0, d.room(t.n)), make([]any, 0, d.room(t.n))
	list, texts := true, true
	end, err = d.each(t, func(k *token, pos int) (end int, err error) {
		var v any
		key := pairKey(t, k)
		n, isInt := key.(int64)
		list = list && isInt && n == int64(len(keys))
		texts = texts && !isInt
		end, err = d.value(pos, depth+1, reflect.ValueOf(&v).Elem())
		keys, values = append(keys, key), append(values, v)
		return end, err
	})
	switch {
	case err != nil:
		return nil, 0, err
	case list:
		return values, end, nil
	case texts:
		m := make(map[string]any, len(keys))
		for i, k := range keys {
			m[k.(string)] = values[i]
		}
		return m, end, nil
	}
	m := make(map[any]any, len(keys))
	for i, k := range keys {
		m[k] = values[i]
	}
	return m, end, nil
}

// fixed decodes into one of the types that a Value holds, or that it holds a pointer to.
func (d *decoder) fixed(pos, depth int, rv reflect.Value) (end int, err error) {
	var x Value
	if end, err = d.fill(pos, depth, &x); err != nil {
		return 0, err
	}
	if x.V == nil {
		rv.SetZero()
		return end, nil
	}
	v := reflect.ValueOf(x.V)
	if v.Kind() == reflect.Pointer && rv.Kind() != reflect.Pointer {
		v = v.Elem()
	}
	if v.Type() == rv.Type() {
		rv.Set(v)
		return end, nil
	}
	t, err := d.next(pos)
	if err != nil {
		return 0, err
	}
	return 0, mismatch(&t, rv.Type())
}

// fill decodes the value at pos into x, whatever it is. If it is a reference, x becomes a copy of what that names:
// only pairs can share.
func (d *decoder) fill(pos, depth int, x *Value) (end int, err error) {
	t, err := d.next(pos)
	if err != nil {
		return 0, err
	}
	if t.kind != 'R' {
		return d.tree(&t, depth, x)
	}
	at, err := d.target(&t)
	if err != nil {
		return 0, err
	}
	if v := d.values[at]; v != nil {
		*x = *v
		return t.end, nil
	}
	named, err := d.next(at)
	if err != nil {
		return 0, err
	}
	if depth >= maxDepth || named.kind == 'R' { // what is stored has neither
		return 0, errTooDeep
	}
	_, err = d.tree(&named, depth+1, x) // x is what it names from now on
	return t.end, err
}

// pointer returns the Value at pos: the one that is known already, if references have led there.
func (d *decoder) pointer(pos, depth int) (v *Value, end int, err error) {
	t, err := d.next(pos)
	if err != nil {
		return nil, 0, err
	}
	if depth > maxDepth {
		return nil, 0, errTooDeep
	}
	if t.kind == 'R' {
		at, err := d.target(&t)
		if err != nil {
			return nil, 0, err
		}
		if v = d.values[at]; v == nil {
			v, _, err = d.pointer(at, depth+1)
		}
		return v, t.end, err
	}
	if v = d.values[pos]; v != nil {
		end, err = d.skip(pos, 0)
		return v, end, err
	}
	v = new(Value)
	end, err = d.tree(&t, depth, v)
	return v, end, err
}

// tree decodes t, which is no R, into x.
func (d *decoder) tree(t *token, depth int, x *Value) (end int, err error) {
	if d.mayBeNamed(t.start) {
		if d.values == nil {
			d.values = map[int]*Value{}
		}
		d.values[t.start] = x
	}
	switch t.kind {
	case 'a':
		return d.array(t, depth, x)
	case 'O', 'C', 'E':
		return d.object(t, depth, x)
	case 'r':
		at, err := d.target(t)
		if err != nil {
			return 0, err
		}
		if o := d.objects[at]; o != nil {
			x.V = o
			return t.end, nil
		}
		o, err := d.next(at)
		if err != nil {
			return 0, err
		}
		if !o.isObject() || depth > maxDepth {
			return 0, expected(t.start, "the number of an object")
		}
		_, err = d.object(&o, depth+1, x)
		return t.end, err
	}
	x.V = scalarOf(t)
	return t.end, nil
}

func (d *decoder) mayBeNamed(pos int) bool { return d.shared || d.named[pos] }

func (d *decoder) know(pos int, object any) {
	if !d.mayBeNamed(pos) {
		return
	}
	if d.objects == nil {
		d.objects = map[int]any{}
	}
	d.objects[pos] = object
}

// ended notes where the array or object at pos ends.
func (d *decoder) ended(pos, end int) {
	if !d.mayBeNamed(pos) {
		return
	}
	if d.ends == nil {
		d.ends = map[int]int{}
	}
	d.ends[pos] = end
}

func (d *decoder) array(t *token, depth int, x *Value) (end int, err error) {
	pairs, end, err := d.treePairs(t, depth)
	x.V = Array(pairs)
	return end, err
}

func (d *decoder) object(t *token, depth int, x *Value) (end int, err error) {
	if o := d.objects[t.start]; o != nil {
		x.V = o
		return d.skip(t.start, 0)
	}
	switch t.kind {
	case 'E':
		class, name, _ := strings.Cut(string(t.text), ":")
		x.V = Enum{class, name}
		return t.end, nil
	case 'C':
		c := &Custom{string(t.text), string(t.body)}
		x.V = c
		d.know(t.start, c)
		return t.end, nil
	}
	o := &Object{Class: string(t.text)}
	x.V = o
	d.know(t.start, o)
	o.Properties, end, err = d.treePairs(t, depth)
	return end, err
}

// treePairs decodes the pairs of an array or object. If a key is there twice, the last value counts, at the place of
// the first.
func (d *decoder) treePairs(t *token, depth int) (out []Pair, end int, err error) {
	out = make([]Pair, 0, d.room(t.n))
	var known keyIndex
	end, err = d.each(t, func(k *token, pos int) (int, error) {
		key := pairKey(t, k)
		i, again := known.add(key)
		v, end, err := d.pointer(pos, depth+1)
		if again {
			out[i].Value = v
		} else {
			out = append(out, Pair{key, v})
		}
		return end, err
	})
	if err == nil {
		d.ended(t.start, end)
	}
	return out, end, err
}
