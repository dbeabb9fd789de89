package phpsession

import (
	"bytes"
	"slices"

	"github.com/dynasession/dynasession"
)

// split checks data and returns its keys and values.
func (f *format) split(data []byte) ([]dynasession.KeyValue, error) {
	s := &scanner{lexer: lexer{data: data}}
	out := make([]dynasession.KeyValue, 0, f.keys(data))
	err := f.walk(&s.lexer, func(key string, start, depth int) (end int, err error) {
		if end, err = s.value(start, depth); err == nil {
			out = append(out, dynasession.KeyValue{Key: key, Value: data[start:end:end]})
		}
		return end, err
	})
	if err != nil {
		return nil, err
	}
	all := len(out)
	out = unique(out)
	if s.refs == 0 {
		return out, nil
	}
	r, members, err := f.resolve(s, all)
	if err != nil {
		return nil, err
	}
	if r.again || len(out) < all {
		return rewrite(r, members)
	}
	return out, f.separate(r, members, out)
}

// keys returns an estimate of how many keys data has. If there are more, that costs memory in proportion only.
func (f *format) keys(data []byte) int {
	switch {
	case f.session > 0:
		l := lexer{data: data}
		if t, err := l.next(0); err == nil {
			return t.n // for which there is room
		}
		return 0
	case f == &formatPHP:
		return min(bytes.Count(data, []byte("|")), len(data)/8) + 1
	}
	return 8
}

// walk finds the keys of a session. It calls value with each key, where its value begins, and how deep that is. value
// returns where the value ends.
func (f *format) walk(l *lexer, value func(key string, start, depth int) (end int, err error)) error {
	pos, depth := 0, f.session
	next := func() error {
		key, start, err := f.readKey(l, pos)
		if err == nil {
			pos, err = value(key, start, depth)
		}
		return err
	}
	if f.session == 0 {
		for pos < len(l.data) {
			if err := next(); err != nil {
				return err
			}
		}
		return nil
	}
	if len(l.data) == 0 || string(l.data) == "N;" {
		return nil
	}
	t, err := l.next(0)
	if err != nil {
		return err
	}
	if t.kind != 'a' {
		return expected(0, "an array, which a session is")
	}
	pos = t.end
	for range t.n {
		if err := next(); err != nil {
			return err
		}
	}
	if pos, err = l.closing(pos); err != nil {
		return err
	}
	if pos < len(l.data) {
		return expected(pos, "nothing after the session")
	}
	return nil
}

// member is a key and its value in a session with references.
type member struct {
	key        string
	start, end int
	slots      int // how many have begun before it
	refs       []reference
}

// resolve finds what the references name, in a session of n keys that was checked.
func (f *format) resolve(s *scanner, n int) (*resolver, []member, error) {
	r := newResolver(s.lexer, s.slots, s.refs)
	r.base, r.whole = f.session, f.session > 0
	keys := keyPlaces{r: r, first: r.newPlaces(n)}
	members := make([]member, 0, n)
	err := f.walk(&r.lexer, func(key string, start, _ int) (end int, err error) {
		place := keys.first + len(members) // also of a key that is there twice
		if f.session > 0 {
			place = keys.place(key)
		}
		m := member{key: key, start: start, slots: len(r.slots) - 1}
		refs := len(r.refs)
		m.end, err = r.value(start, place)
		m.refs = r.refs[refs:]
		members = append(members, m)
		return m.end, err
	})
	return r, members, err
}

// rewrite splits a session with references in which a key is there twice: it reads the session, and writes it as PHP
// would. Values that are dropped may be shared with others, and a number may mean one value first and another one
// later; afterwards nothing of that is left. PHP itself never writes such data.
func rewrite(r *resolver, members []member) ([]dynasession.KeyValue, error) {
	d := &decoder{lexer: r.lexer}
	d.resolved(r)
	var session Array
	index := map[string]int{}
	for _, m := range members {
		v, _, err := d.pointer(m.start, 0)
		if err != nil {
			return nil, err
		}
		if i, ok := index[m.key]; ok {
			session[i].Value = v
			continue
		}
		index[m.key] = len(session)
		session = append(session, Pair{m.key, v})
	}
	data, err := marshal(session, maxDepth)
	if err != nil {
		return nil, err
	}
	return formatSerialize.split(data)
}

// unique keeps the last value of a key that is there twice, at the place of the first.
func unique(values []dynasession.KeyValue) []dynasession.KeyValue {
	if len(values) <= 16 && distinct(values) { // as fast, and without a map
		return values
	}
	index := make(map[string]int, len(values)/4)
	out := values[:0]
	for _, kv := range values {
		if i, ok := index[kv.Key]; ok {
			out[i].Value = kv.Value
			continue
		}
		index[kv.Key] = len(out)
		out = append(out, kv)
	}
	return out
}

func distinct(values []dynasession.KeyValue) bool {
	for i := range values {
		for j := range i {
			if values[i].Key == values[j].Key {
				return false
			}
		}
	}
	return true
}

// separate makes a value that stands by itself for each of members, although they hold references. No key is there
// twice.
func (f *format) separate(r *resolver, members []member, out []dynasession.KeyValue) error {
	sets := sharing(members)
	for i, m := range members {
		if len(m.refs) > 0 && m.slots+f.session > 0 && sets.alone(i) {
			out[i].Value = f.renumber(r.data, m)
		}
	}
	at := make([]int, len(r.slots))
	for _, set := range sets.larger() {
		b := &groupBuilder{r: r, at: at}
		if err := b.build(members, set, out); err != nil {
			return err
		}
	}
	return nil
}

// renumber returns the value of m, whose references are all to itself, with numbers that begin at 1.
func (f *format) renumber(data []byte, m member) []byte {
	out := make([]byte, 0, m.end-m.start)
	from := m.start
	for _, r := range m.refs {
		n := 0 // of the session itself
		if r.slot > 0 {
			n = r.wire - f.session - m.slots
		}
		out = append(out, data[from:r.at]...)
		out = appendReference(out, r.kind, n)
		from = r.end
	}
	return append(out, data[from:m.end]...)
}

// sharing returns the sets of members that share something.
func sharing(members []member) *disjointSets {
	sets := newDisjointSets(len(members))
	for i, m := range members {
		for _, ref := range m.refs {
			if ref.slot > 0 {
				sets.union(i, owner(members, ref.slot))
			}
		}
	}
	return sets
}

// owner returns the member that a slot is in: the last of those that begin before it.
func owner(members []member, slot int) int {
	next, _ := slices.BinarySearchFunc(members, slot, func(m member, slot int) int { return m.slots - slot })
	return next - 1
}

// disjointSets are sets of 0, 1, 2 and so on, each named by one of its own.
type disjointSets struct{ parent, size []int }

func newDisjointSets(n int) *disjointSets {
	s := &disjointSets{make([]int, n), make([]int, n)}
	for i := range n {
		s.parent[i], s.size[i] = i, 1
	}
	return s
}

func (s *disjointSets) find(i int) int {
	for s.parent[i] != i {
		s.parent[i] = s.parent[s.parent[i]]
		i = s.parent[i]
	}
	return i
}

func (s *disjointSets) union(i, j int) {
	i, j = s.find(i), s.find(j)
	if i == j {
		return
	}
	if s.size[i] < s.size[j] {
		i, j = j, i
	}
	s.parent[j] = i
	s.size[i] += s.size[j]
}

func (s *disjointSets) alone(i int) bool { return s.size[s.find(i)] == 1 }

// larger returns the sets of more than one.
func (s *disjointSets) larger() [][]int {
	var out [][]int
	number := make([]int, len(s.parent)) // in out, from 1
	for i := range s.parent {
		set := s.find(i)
		if s.size[set] == 1 {
			continue
		}
		if number[set] == 0 {
			out = append(out, make([]int, 0, s.size[set]))
			number[set] = len(out)
		}
		list := &out[number[set]-1]
		*list = append(*list, i)
	}
	return out
}
