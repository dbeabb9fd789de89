package phpsession

import (
	"bytes"
	"errors"
	"hash/maphash"
	"strconv"

	"github.com/dynasession/dynasession"
)

// Keys that share.
//
// PHP numbers the values of a whole session, and R:n; and r:n; name one by its number, also from another
// key. Split makes a value for each key that stands by itself, so that it can be decoded
// alone, compared, and joined with others that have changed.
//
// A value without references, or with some to itself only, is what PHP's serialize would make of it
// alone: the numbers begin at 1, and 0 is the session.
//
// Keys that share something are a group. A group has one buffer:
//
//	& ID value & 00000011 value & 0000002a ...
//
// ID names the buffer. References in it are offsets, R:@17; and r:@17;, so that they are found without
// counting. After each value comes the offset at which it begins. A key's value is the
// buffer up to there: what it shares is in front of it, and the keys of a group share the
// memory. Join knows by ID and offset what belongs together. Such values are never stored.
const (
	groupMark   = '&'
	groupID     = 16 // hexadecimal digits
	groupHead   = 1 + groupID
	groupOffset = 8 // hexadecimal digits
	groupTail   = 1 + groupOffset
)

// maxShared keeps offsets within their digits, and within an int32.
const maxShared = 1<<31 - 1

func isGroup(value []byte) bool { return len(value) > 0 && value[0] == groupMark }

// groupValue returns the lexer of a value of a group, and where in it the value begins.
func groupValue(value []byte) (l lexer, start int, err error) {
	end := len(value) - groupTail
	if end <= groupHead || len(value) > maxShared || value[0] != groupMark || value[end] != groupMark {
		return l, 0, expected(0, "a value")
	}
	n, err := strconv.ParseUint(string(value[end+1:]), 16, 32)
	if err != nil || n < groupHead || n >= uint64(end) {
		return l, 0, expected(0, "a value")
	}
	return lexer{data: value[:end], shared: true}, int(n), nil
}

// groupSeed makes IDs that are good for this process, in which all values are. The same group always gets the same
// ID, so that its values are equal, and nobody can make data for a given ID.
var groupSeed = maphash.MakeSeed()

// appendHex appends n in so many digits.
func appendHex(out []byte, n uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		out = append(out, "0123456789abcdef"[n>>shift&15])
	}
	return out
}

func appendTail(out []byte, start int) []byte {
	return appendHex(append(out, groupMark), uint64(start), groupOffset)
}

// groupBuilder writes a group's buffer.
type groupBuilder struct {
	r   *resolver
	at  []int // by slot, the offset in its group's buffer
	buf []byte
}

// build makes the values of the members of a set.
func (b *groupBuilder) build(members []member, set []int, out []dynasession.KeyValue) error {
	size := groupHead
	for _, i := range set {
		m := &members[i]
		size += m.end - m.start + groupTail + 4*len(m.refs)
	}
	b.buf = append(make([]byte, 0, size), groupMark)
	b.buf = b.buf[:groupHead] // the ID comes last
	ends := make([]int, len(set))
	for i, member := range set {
		b.add(&members[member])
		ends[i] = len(b.buf)
	}
	if len(b.buf) > maxShared {
		return errors.New("phpsession: keys that share references are too large")
	}
	var h maphash.Hash
	h.SetSeed(groupSeed)
	_, _ = h.Write(b.buf[groupHead:])         // never fails
	_, _ = h.WriteString(members[set[0]].key) // groups may be alike
	appendHex(b.buf[:1], h.Sum64(), groupID)
	for i, member := range set {
		out[member].Value = b.buf[:ends[i]:ends[i]]
	}
	return nil
}

// add writes a member's value.
func (b *groupBuilder) add(m *member) {
	start := len(b.buf)
	from, slot := m.start, m.slots+1
	// Between two references, all offsets are moved by the same.
	copyTo := func(to int) {
		for ; slot < len(b.r.slots) && b.r.slots[slot].at < to; slot++ {
			b.at[slot] = len(b.buf) + b.r.slots[slot].at - from
		}
		b.buf = append(b.buf, b.r.data[from:to]...)
	}
	for _, r := range m.refs {
		copyTo(r.at)
		if r.kind == 'r' { // has a number itself
			b.at[slot] = len(b.buf)
			slot++
		}
		if r.slot == 0 {
			b.buf = appendReference(b.buf, r.kind, 0)
		} else {
			b.buf = append(b.buf, r.kind, ':', '@')
			b.buf = append(strconv.AppendInt(b.buf, int64(b.at[r.slot]), 10), ';')
		}
		from = r.end
	}
	copyTo(m.end)
	b.buf = appendTail(b.buf, start)
}

// group is what a joiner knows of a group. What it has written is referred to by its number from then on.
type group struct {
	lexer
	value  []byte  // the longest that there is
	slots  []int32 // by offset, the number of the slot; 0: no value begins there; unwritten
	object []int32 // by the offset of an object, the number of a slot that holds it; 0: none yet
	ends   []int32 // by the offset of a value, where it ends, so that what is written already is skipped at once
}

const unwritten = -1

// init checks the longest value, which holds all others.
func (g *group) init() error {
	l, last, err := groupValue(g.value)
	if err != nil {
		return err
	}
	g.lexer = l
	n := len(l.data)
	all := make([]int32, 3*n)
	g.slots, g.object, g.ends = all[:n], all[n:2*n], all[2*n:]
	var tail []byte
	for pos := groupHead; ; {
		start := pos
		if pos, err = g.check(pos, 0); err != nil {
			return err
		}
		if pos == len(l.data) && start == last {
			return nil
		}
		if tail = appendTail(tail[:0], start); !g.at(pos, string(tail)) {
			return expected(pos, "the end of a value")
		}
		pos += len(tail)
	}
}

// check notes where values begin and end. What a reference names must have begun before it.
func (g *group) check(pos, depth int) (end int, err error) {
	if end, err = g.checkValue(pos, depth); err == nil {
		g.ends[pos] = int32(end)
	}
	return end, err
}

func (g *group) checkValue(pos, depth int) (end int, err error) {
	t, err := g.next(pos)
	if err != nil {
		return 0, err
	}
	if t.kind != 'R' {
		g.slots[pos] = unwritten
	}
	switch {
	case t.global && (t.n >= pos || g.slots[t.n] != unwritten),
		t.kind == 'r' && (!t.global || bytes.IndexByte([]byte("OCE"), g.data[t.n]) < 0),
		t.kind == 'R' && !t.global && t.n != 0:
		return 0, expected(pos, "the offset of a value before it")
	case !t.nested():
		return t.end, nil
	}
	if err := checkDepth(&t, depth); err != nil {
		return 0, err
	}
	pos = t.end
	var known keyIndex
	for range t.n {
		k, err := g.key(pos)
		if err != nil {
			return 0, err
		}
		if _, again := known.add(pairKey(&t, &k)); again { // PHP's numbers would mean the last one's value
			return 0, expected(pos, "a key that is not there yet")
		}
		if pos, err = g.check(k.end, depth+1); err != nil {
			return 0, err
		}
	}
	return g.closing(pos)
}

// end returns where the value at pos ends, which has been checked.
func (g *group) end(pos int) (int, error) {
	if end := g.ends[pos]; end > 0 {
		return int(end), nil
	}
	t, err := g.next(pos) // a reference
	return t.end, err
}
