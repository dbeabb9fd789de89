package phpsession

import "fmt"

// scanner checks values, and counts what PHP numbers in them.
type scanner struct {
	lexer
	slots int // that have begun
	refs  int // R and r that were met
}

// value checks the value at pos, inside depth others, and returns its end. It does not look at what references name.
func (s *scanner) value(pos, depth int) (end int, err error) {
	t, err := s.next(pos)
	if err != nil {
		return 0, err
	}
	if t.kind == 'R' || t.kind == 'r' {
		s.refs++
	}
	if t.kind != 'R' {
		s.slots++
	}
	if !t.nested() {
		return t.end, nil
	}
	if err := checkDepth(&t, depth); err != nil {
		return 0, err
	}
	pos = t.end
	for range t.n {
		k, err := s.key(pos)
		if err != nil {
			return 0, err
		}
		if pos, err = s.value(k.end, depth+1); err != nil {
			return 0, err
		}
	}
	return s.closing(pos)
}

func checkDepth(t *token, depth int) error {
	if depth >= maxDepth && t.level() {
		return expected(t.start, fmt.Sprintf("at most %d levels", maxDepth))
	}
	return nil
}

// resolver finds what the references in checked values name.
//
// PHP's numbers name slots, and a slot is a place in an array or object, not what is there. A key that is
// there twice has one place, with two numbers: from its second value on, both name that
// one, while a reference that was read before keeps the first.
type resolver struct {
	lexer
	base  int  // the session's own number in the data, which its values' numbers come after: 1 or 0
	whole bool // R may name the session itself

	slots  []slot // by number, from 1
	places []int  // by place, the number of the slot whose value is there
	refs   []reference
	again  bool // a key is there twice
}

// slot is what has a number.
type slot struct {
	at     int  // where its value begins
	kind   byte // of its token
	place  int
	object int // of r: the slot of the object itself
}

// reference is an R or r.
type reference struct {
	at, end int
	kind    byte
	wire    int // the number as it is written
	slot    int // the number of the value that it names; of an r, of the object itself; 0: the session
	to      int // where that begins
}

// newResolver makes room for as many slots and references as a scanner has found.
func newResolver(l lexer, slots, refs int) *resolver {
	return &resolver{lexer: l, slots: make([]slot, 1, slots+1), refs: make([]reference, 0, refs)}
}

// newPlaces makes n places, and returns the first.
func (r *resolver) newPlaces(n int) int {
	first := len(r.places)
	r.places = append(r.places, make([]int, n)...)
	return first
}

// value follows the value at pos, which was checked, in a place.
func (r *resolver) value(pos, place int) (end int, err error) {
	t, err := r.next(pos)
	if err != nil {
		return 0, err
	}
	if t.kind == 'R' || t.kind == 'r' {
		return t.end, r.reference(&t, place)
	}
	r.begin(slot{at: pos, kind: t.kind, place: place})
	if !t.nested() {
		return t.end, nil
	}
	keys := r.keysOf(&t)
	pos = t.end
	for range t.n {
		k, err := r.key(pos)
		if err != nil {
			return 0, err
		}
		if pos, err = r.value(k.end, keys.place(pairKey(&t, &k))); err != nil {
			return 0, err
		}
	}
	return r.closing(pos)
}

func (r *resolver) begin(s slot) {
	r.places[s.place] = len(r.slots)
	r.slots = append(r.slots, s)
}

func (r *resolver) reference(t *token, place int) error {
	ref := reference{at: t.start, end: t.end, kind: t.kind, wire: t.n}
	n := t.n - r.base
	if n == 0 && r.whole && t.kind == 'R' {
		r.places[place] = 0
		r.refs = append(r.refs, ref)
		return nil
	}
	if n < 1 || n >= len(r.slots) || r.slots[n].place == place {
		return expected(t.start, "the number of a value before it")
	}
	ref.slot = r.places[r.slots[n].place]
	if t.kind == 'R' {
		r.places[place] = ref.slot
	} else {
		switch named := r.slots[ref.slot]; named.kind {
		case 'O', 'C', 'E':
		case 'r':
			ref.slot = named.object
		default:
			return expected(t.start, "the number of an object")
		}
		r.begin(slot{at: t.start, kind: 'r', place: place, object: ref.slot})
	}
	ref.to = r.slots[ref.slot].at
	r.refs = append(r.refs, ref)
	return nil
}

// keyPlaces finds the places of an array's or object's keys.
type keyPlaces struct {
	r     *resolver
	first int
	known keyIndex
}

func (r *resolver) keysOf(t *token) keyPlaces {
	return keyPlaces{r: r, first: r.newPlaces(t.n)}
}

func (k *keyPlaces) place(key any) int {
	i, again := k.known.add(key)
	k.r.again = k.r.again || again
	return k.first + i
}

// keyIndex finds keys that are there twice. It needs no memory for the keys 0, 1, 2 and so on.
type keyIndex struct {
	n     int // how many keys there are
	list  int // how many of them, the first, are 0, 1, 2 and so on
	ints  map[int64]int
	texts map[string]int
}

// add returns the number of a key, an int64 or string: how many others came before it was first added. again reports
// whether it was added before.
func (k *keyIndex) add(key any) (i int, again bool) {
	switch key := arrayKey(key).(type) { // 5 and "5" are one, as an object's properties too
	case int64:
		if key >= 0 && key < int64(k.list) {
			return int(key), true
		}
		if key == int64(k.n) && k.list == k.n {
			k.list++
			break
		}
		if i, ok := k.ints[key]; ok {
			return i, true
		}
		if k.ints == nil {
			k.ints = map[int64]int{}
		}
		k.ints[key] = k.n
	case string:
		if i, ok := k.texts[key]; ok {
			return i, true
		}
		if k.texts == nil {
			k.texts = map[string]int{}
		}
		k.texts[key] = k.n
	}
	k.n++
	return k.n - 1, false
}
