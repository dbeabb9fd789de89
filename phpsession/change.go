package phpsession

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dynasession/dynasession"
)

// Change sets the value at a dotted path, as CakePHP writes it: "Auth.User.name" is
// $_SESSION['Auth']['User']['name']. It makes the arrays that are missing and replaces a null, bool, number or
// string on the way by an array, as CakePHP's Session::write does. In an entity of CakePHP's it sets a field, in an
// ArrayObject an element, and in any other object a property. An object that encodes itself, or an enum, on the way
// fails the save.
//
// Everything beside the path keeps its bytes: objects of any class, private properties, floats as PHP wrote them. Only
// the numbers in references change. A key that shares references with other keys no longer does so afterwards, as after
// [dynasession.Session.Set].
//
// Change encodes v at once; if v does not encode, the save fails. The Store's codec must be one of this package's, or
// the save fails.
//
// [dynasession.Update] with a struct drops the fields that the struct lacks, and stores PHP's times as text. Use Change
// for values of which PHP knows more than Go does.
func Change(s *dynasession.Session, path string, v any) {
	key, rest, dotted := strings.Cut(path, ".")
	if !dotted {
		s.Set(key, v)
		return
	}
	encoded, err := marshal(v, maxDepth)
	edit(s, key, func(e *editor) error {
		if err != nil {
			return err
		}
		return e.set(strings.Split(rest, "."), encoded)
	})
}

// edit runs f on the value of key, again on what another request has stored meanwhile. f must depend on nothing else.
func edit(s *dynasession.Session, key string, f func(e *editor) error) {
	dynasession.Update(s, key, func(old patch) patch {
		old.edit = f
		return old
	})
}

// patch is an encoded value, and what changes it.
type patch struct {
	data []byte // nil for no value
	edit func(e *editor) error
}

// MarshalText refuses codecs that know nothing of a patch and would store an empty object.
func (patch) MarshalText() ([]byte, error) { return nil, errCodec }

// UnmarshalText refuses codecs that know nothing of a patch.
func (*patch) UnmarshalText([]byte) error { return errCodec }

var errCodec = errors.New("phpsession: the Store's codec is none of this package's")

// marshal returns the changed value, of at most limit levels.
func (p patch) marshal(limit int) ([]byte, error) {
	if p.edit == nil {
		return p.data, nil
	}
	e, err := newEditor(p.data)
	if err != nil {
		return nil, err
	}
	if err := p.edit(e); err != nil {
		return nil, err
	}
	if p.data != nil && e.changes.none() {
		return p.data, nil
	}
	out, err := e.bytes()
	if err != nil {
		return nil, err
	}
	s := &scanner{lexer: lexer{data: out}}
	_, err = s.value(0, maxDepth-limit)
	return out, err
}

// editor changes an encoded value and leaves the bytes of what it does not change.
//
// It reads the value as a group of one, in which references are offsets, and notes the changes by offset. A joiner
// then writes the value anew, with them. So references get the right numbers, and what is replaced or dropped is
// written where it is still referred to.
type editor struct {
	*decoder
	start   int
	group   []byte
	changes changes
}

// changes are what a joiner writes in the place of what a group has, by the offsets of the group.
type changes struct {
	replaced map[int]insertion // values
	dropped  map[int][]int     // by the array or object, its values whose pairs are left out
	added    map[int]insertion // by the array or object, one more pair, whose key is the insertion's first
}

func (c *changes) none() bool { return len(c.replaced)+len(c.dropped)+len(c.added) == 0 }

// insertion is a value, encoded by itself, in arrays of one element.
type insertion struct {
	keys  []string // of the arrays, the outermost first
	value []byte
}

func newEditor(data []byte) (*editor, error) {
	if data == nil {
		data = []byte("N;")
	}
	value, err := groupOfOne(data)
	if err != nil {
		return nil, err
	}
	e := &editor{group: value, changes: changes{
		replaced: map[int]insertion{}, dropped: map[int][]int{}, added: map[int]insertion{},
	}}
	e.decoder, e.start, err = newDecoder(value)
	return e, err
}

// groupOfOne returns a value as a group, whose references are offsets.
func groupOfOne(data []byte) ([]byte, error) {
	if isGroup(data) {
		return data, nil
	}
	s := &scanner{lexer: lexer{data: data}}
	end, err := s.value(0, 0)
	if err != nil {
		return nil, err
	}
	if end != len(data) {
		return nil, expected(end, "nothing after the value")
	}
	r := newResolver(s.lexer, s.slots, s.refs)
	r.whole = true
	if _, err := r.value(0, r.newPlaces(1)); err != nil {
		return nil, err
	}
	if r.again { // PHP reads the last one, but never writes such data
		var v Value
		if err := unmarshal(data, &v); err != nil {
			return nil, err
		}
		if data, err = marshal(&v, maxDepth); err != nil {
			return nil, err
		}
		return groupOfOne(data)
	}
	out := make([]dynasession.KeyValue, 1)
	b := &groupBuilder{r: r, at: make([]int, len(r.slots))}
	err = b.build([]member{{end: len(data), refs: r.refs}}, []int{0}, out)
	return out[0].Value, err
}

// bytes returns the changed value.
func (e *editor) bytes() ([]byte, error) {
	g := &group{value: e.group}
	if err := g.init(); err != nil {
		return nil, err
	}
	j := &joiner{format: &formatPHP, alone: true, changes: e.changes}
	_, err := j.shared(g, e.start, 0)
	return j.out, err
}

// set sets the value at path.
func (e *editor) set(path []string, value []byte) error {
	at, left, err := e.walk(path)
	if err != nil {
		return err
	}
	t, err := e.head(at)
	if err != nil {
		return err
	}
	into, err := e.container(&t)
	switch {
	case err != nil:
		return err
	case len(left) == 0 || !into.nested() && !into.isObject():
		return e.replace(at, insertion{left, value})
	case !into.nested():
		return errNoElements
	}
	e.changes.added[into.start] = insertion{left, value}
	return nil
}

var errNoElements = errors.New("phpsession: an object to which nothing can be added")

// find returns where the value at path begins, or -1 if there is none.
func (e *editor) find(path ...string) (int, error) {
	at, left, err := e.walk(path)
	if err != nil || len(left) > 0 {
		return -1, err
	}
	return at, nil
}

// walk follows path as far as it goes, and returns where that is and what is left of path.
func (e *editor) walk(path []string) (at int, left []string, err error) {
	at = e.start
	for i, part := range path {
		t, err := e.head(at)
		if err != nil {
			return 0, nil, err
		}
		inner := e.element(&t, part)
		if inner < 0 {
			return at, path[i:], nil
		}
		at = inner
	}
	return at, nil, nil
}

// replace puts an insertion in the place at offset at. Where that is a reference (&), all its places change; of an
// object's handle, this place only.
func (e *editor) replace(at int, by insertion) error {
	t, err := e.next(at)
	if err == nil && t.kind == 'R' {
		at, err = e.target(&t)
	}
	e.changes.replaced[at] = by
	return err
}

// drop leaves out the pair of t whose value begins at offset at.
func (e *editor) drop(t *token, at int) {
	e.changes.dropped[t.start] = append(e.changes.dropped[t.start], at)
}

// push adds value to the list at path, under the next free number as PHP's [] does, and makes the list if it is missing.
func (e *editor) push(path []string, value []byte) error {
	at, err := e.find(path...)
	if err != nil {
		return err
	}
	next := int64(0)
	if at >= 0 {
		t, err := e.head(at)
		if err != nil {
			return err
		}
		if next, err = e.nextNumber(&t); err != nil {
			return err
		}
	}
	return e.set(append(slices.Clone(path), strconv.FormatInt(next, 10)), value)
}

// nextNumber returns the number after the highest key of t, an array; 0 for anything else.
func (e *editor) nextNumber(t *token) (next int64, err error) {
	if t.kind != 'a' {
		return 0, nil
	}
	_, err = e.each(t, func(k *token, pos int) (int, error) {
		if n, ok := pairKey(t, k).(int64); ok && n >= next {
			if n == math.MaxInt64 {
				return 0, errFull
			}
			next = n + 1
		}
		return e.skip(pos, 0)
	})
	return next, err
}

var errFull = errors.New("phpsession: a list whose last number is taken")

// container returns what a missing element of t is added to: in an ArrayObject its elements, in an entity of CakePHP's
// its fields.
func (e *editor) container(t *token) (token, error) {
	for range arrayObjects {
		elements, ok := e.arrayObject(t)
		if !ok {
			break
		}
		inner, err := e.head(elements)
		if err != nil {
			return inner, err
		}
		t = &inner
	}
	for _, fields := range entityFields {
		if t.kind != 'O' {
			break
		}
		at := e.member(t, fields)
		if at < 0 {
			continue
		}
		if inner, err := e.head(at); err != nil || inner.kind == 'a' {
			return inner, err
		}
	}
	return *t, nil
}

func appendPart(out []byte, part string) []byte {
	if n, ok := arrayInt(part); ok {
		return appendInt(out, n)
	}
	return appendString(out, part)
}

// insert writes an insertion.
func (j *joiner) insert(in insertion) error {
	for _, key := range in.keys {
		j.slots++
		j.out = appendPart(appendCount(j.out, 1), key)
	}
	err := j.plain(in.value)
	for range in.keys {
		j.out = append(j.out, '}')
	}
	return err
}

// add writes one more pair of t.
func (j *joiner) add(t *token, more insertion) error {
	if t.kind == 'O' { // whose property's name is a string, also "7"
		j.out = appendString(j.out, more.keys[0])
	} else {
		j.out = appendPart(j.out, more.keys[0])
	}
	return j.insert(insertion{more.keys[1:], more.value})
}
