package phpsession

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/dynasession/dynasession"
)

// joiner writes a session.
type joiner struct {
	format *format
	out    []byte
	slots  int // that have begun, without the session itself
	groups map[string]*group

	alone   bool    // one value is written, by itself
	changes changes // of a value that is written alone
}

// join writes values in order. It checks each, since an error in one would change what PHP reads of the others.
func (f *format) join(values []dynasession.KeyValue) ([]byte, error) {
	size := len("a:1000000:{}")
	for i := range values {
		size += len(values[i].Key) + len("s:1000:\"\";")
		if !isGroup(values[i].Value) { // else most of it is other values'
			size += len(values[i].Value)
		}
	}
	j := &joiner{format: f, out: make([]byte, 0, size)}
	if f.session > 0 {
		j.out = appendCount(j.out, len(values))
	}
	for _, kv := range values {
		var err error
		if j.out, err = f.appendKey(j.out, kv.Key); err != nil {
			return nil, err
		}
		if isGroup(kv.Value) {
			err = j.member(kv.Value, values)
		} else {
			err = j.plain(kv.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", kv.Key, err)
		}
	}
	if f.session > 0 {
		j.out = append(j.out, '}')
	}
	return j.out, nil
}

// plain writes a value whose references are to itself, with the numbers that it has in the session.
func (j *joiner) plain(value []byte) error {
	s := &scanner{lexer: lexer{data: value}}
	end, err := s.value(0, j.format.session)
	if err != nil {
		return err
	}
	if end != len(value) {
		return expected(end, "nothing after the value")
	}
	before := j.slots
	j.slots += s.slots
	if s.refs == 0 {
		j.out = append(j.out, value...)
		return nil
	}
	r := newResolver(s.lexer, s.slots, s.refs)
	r.whole = j.format.session > 0
	if _, err := r.value(0, r.newPlaces(1)); err != nil {
		return err
	}
	from := 0
	for _, ref := range r.refs {
		n := ref.wire
		if n > 0 {
			n += before
		}
		j.out = append(j.out, value[from:ref.at]...)
		j.name(ref.kind, n)
		from = ref.end
	}
	j.out = append(j.out, value[from:]...)
	return nil
}

// name writes a reference to slot n; 0 is the session.
func (j *joiner) name(kind byte, n int) {
	j.out = appendReference(j.out, kind, n+j.format.session)
}

var errForeignGroup = errors.New("phpsession: it shares references with values of another session")

// member writes a value of a group. The others of its group are among all.
func (j *joiner) member(value []byte, all []dynasession.KeyValue) error {
	l, start, err := groupValue(value)
	if err != nil {
		return err
	}
	if j.groups == nil {
		j.groups = findGroups(all)
	}
	g := j.groups[string(value[:groupHead])]
	if g.slots == nil {
		if err := g.init(); err != nil {
			return err
		}
	}
	if !bytes.HasPrefix(g.value, value) { // which is fast for the same memory
		return errForeignGroup
	}
	end, err := j.shared(g, start, j.format.session)
	if err == nil && end != len(l.data) {
		err = expected(end, "nothing after the value")
	}
	return err
}

// findGroups returns the groups of values, with the longest value of each.
func findGroups(values []dynasession.KeyValue) map[string]*group {
	groups := map[string]*group{}
	for _, kv := range values {
		if _, _, err := groupValue(kv.Value); err != nil {
			continue
		}
		id := string(kv.Value[:groupHead])
		if g := groups[id]; g == nil || len(g.value) < len(kv.Value) {
			groups[id] = &group{value: kv.Value}
		}
	}
	return groups
}

// shared writes the value at pos of a group: in full the first time, and as a reference from then on. So a key whose
// sharers have changed gets its own value, and nothing is written twice.
func (j *joiner) shared(g *group, pos, depth int) (end int, err error) {
	t, err := g.next(pos)
	if err != nil {
		return 0, err
	}
	if t.kind == 'R' {
		return t.end, j.reference(g, &t, depth)
	}
	if n := g.slots[pos]; n != unwritten { // through a reference
		j.name('R', int(n))
		return int(g.ends[pos]), nil
	}
	g.slots[pos] = int32(j.slots + 1)
	if by, ok := j.changes.replaced[pos]; ok {
		return int(g.ends[pos]), j.insert(by)
	}
	j.slots++
	switch {
	case t.kind == 'r':
		return t.end, j.object(g, t.n, depth)
	case t.isObject() && g.object[pos] != 0: // through another handle
		j.name('r', int(g.object[pos]))
		return int(g.ends[pos]), nil
	case t.isObject():
		g.object[pos] = g.slots[pos]
	}
	return j.full(g, &t, depth)
}

// reference writes the R that t is, or what it names.
func (j *joiner) reference(g *group, t *token, depth int) error {
	switch {
	case !t.global && j.format.session == 0 && !j.alone:
		return errWhole
	case !t.global:
		j.name('R', 0)
	case g.slots[t.n] != unwritten:
		j.name('R', int(g.slots[t.n]))
	default:
		_, err := j.shared(g, t.n, depth)
		return err
	}
	return nil
}

// object writes the object at pos into the slot that has just begun.
func (j *joiner) object(g *group, pos, depth int) error {
	if n := g.object[pos]; n != 0 {
		j.name('r', int(n))
		return nil
	}
	t, err := g.next(pos)
	if err != nil {
		return err
	}
	g.object[pos] = int32(j.slots)
	_, err = j.full(g, &t, depth)
	return err
}

// full writes t itself.
func (j *joiner) full(g *group, t *token, depth int) (end int, err error) {
	if !t.nested() {
		j.out = append(j.out, g.data[t.start:t.end]...)
		return t.end, nil
	}
	if depth >= maxDepth && t.level() {
		return 0, errTooDeep
	}
	more, added := j.changes.added[t.start]
	dropped := j.changes.dropped[t.start]
	j.head(g, t, added, len(dropped))
	pos := t.end
	for range t.n {
		k, err := g.key(pos)
		if err != nil {
			return 0, err
		}
		if slices.Contains(dropped, k.end) {
			pos, err = g.end(k.end)
		} else {
			j.out = append(j.out, g.data[pos:k.end]...)
			pos, err = j.shared(g, k.end, depth+1)
		}
		if err != nil {
			return 0, err
		}
	}
	if end, err = g.closing(pos); err != nil {
		return 0, err
	}
	if added {
		err = j.add(t, more)
	}
	j.out = append(j.out, '}')
	return end, err
}

// head writes the head of t, an array or object, with the count of the pairs that will follow.
func (j *joiner) head(g *group, t *token, added bool, dropped int) {
	head := g.data[t.start:t.end]
	if !added && dropped == 0 {
		j.out = append(j.out, head...)
		return
	}
	n := t.n - dropped
	if added {
		n++
	}
	count := bytes.LastIndexByte(head[:len(head)-len(":{")], ':') + 1
	j.out = strconv.AppendInt(append(j.out, head[:count]...), int64(n), 10)
	j.out = append(j.out, ":{"...)
}

var errTooDeep = fmt.Errorf("phpsession: more than %d levels, which PHP does not read", maxDepth)
