package dynasession

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// record is a session's item as the protocol sees it. Times are epoch seconds and 0
// where the attribute is absent, but for lock, which is in milliseconds.
type record struct {
	key     string
	attrs   attrs
	expires int64
	data    []byte // as stored, sealed or not; nil: absent
	binary  bool   // data is B, not S
	alien   bool   // the data attribute is neither
	rev     int64
	marks   string // w: the creation's write mark, then those of the last three writes
	lock    int64
	holder  string

	tombstone bool   // the session was renewed: moved names the item that it goes on under
	moved     string // its key; "" when the attribute is not a string
}

// attrs are what a session says of itself beside its values.
type attrs struct {
	user  string
	auth  int64 // when user signed in
	born  int64
	until int64 // absolute end
	limit int64 // LimitTo's end, kept apart so that Remember cannot pass it
	idle  int64 // seconds; only of a remembered session
}

// rules are what Config says about how long sessions live, in seconds.
type rules struct {
	idle, lifetime, touchAfter int64
	notBefore                  int64
	foreign                    bool // others write items by rules of their own
}

// live reports whether r is a session at now. expires alone never proves it: PHP moves
// it without looking at until.
func (l rules) live(r *record, now int64) bool {
	switch a := &r.attrs; {
	case r.tombstone, r.expires <= now:
		return false
	case a.until != 0 && a.until <= now:
		return false
	case a.idle == 0 && a.born != 0 && a.born+l.lifetime <= now:
		return false
	case l.notBefore != 0 && (a.born == 0 || a.born < l.notBefore):
		return false
	}
	return true
}

// birthSkew is how far NotBefore may be ahead of a server's clock, in seconds, for it to make
// sessions that count.
const birthSkew = 60

// birth gives when a session that is made now is born: not before NotBefore, which is rounded up,
// and may be another server's now.
func (l rules) birth(now int64) int64 {
	if l.notBefore-now <= birthSkew {
		return max(now, l.notBefore)
	}
	return now
}

// newborn gives the attributes of a session that is made now.
func (l rules) newborn(now int64) attrs {
	born := l.birth(now)
	return attrs{born: born, until: born + l.lifetime}
}

// stamped gives a with what an item that others made lacks: birth, and an absolute end.
func (l rules) stamped(a attrs, now int64) attrs {
	if a.born == 0 {
		a.born = now
	}
	if a.until == 0 {
		a.until = a.born + l.lifetime
	}
	return a
}

// expiry returns the time at which a session with a, used at now, expires.
func (l rules) expiry(a attrs, now int64) int64 {
	return min(now+l.idleOf(a), l.absolute(a, now))
}

func (l rules) idleOf(a attrs) int64 {
	if a.idle == 0 {
		return l.idle
	}
	return a.idle
}

// absolute returns the end of a session with a, whatever its use. Lifetime may have been longer
// when until was stored.
func (l rules) absolute(a attrs, now int64) int64 {
	a = l.stamped(a, now)
	if a.idle == 0 {
		return min(a.until, a.born+l.lifetime)
	}
	return a.until
}

// tooFar reports whether the stored expiry of r is further away than a use could set it: IdleTimeout
// was longer, a clock ran ahead, or the value is in milliseconds. PHP's lifetime is its own, so what it
// may have stored never is.
func (l rules) tooFar(r *record, now int64) bool {
	latest := min(now+l.idleOf(r.attrs), l.stamped(r.attrs, now).until)
	return !l.foreign && r.expires > latest+clockMargin
}

// extension is an expiry that a write sets.
type extension struct {
	expires int64
	forward bool  // the write must not move the stored expiry back
	lowers  int64 // if forward, the one stored expiry that it may lower; 0 for none
}

// extend returns the expiry that a use of r at now sets, when the session then has a. A server
// with a slow clock must not end a session that others have just extended, so it moves the expiry
// forward only. The expiry is lowered where it passes the absolute end, where it is too far away, and
// where the request itself has changed how long the session lasts.
func (l rules) extend(r *record, a attrs, now int64) extension {
	was, a := l.stamped(r.attrs, now), l.stamped(a, now)
	expires := l.expiry(a, now)
	if a.idle != was.idle || a.born != was.born {
		return extension{expires: expires}
	}
	moved, end := a.until != was.until, l.absolute(a, now)
	if l.tooFar(r, now) {
		return extension{expires, !moved, r.expires} // others may have lowered it already
	}
	return extension{expires: min(max(r.expires, expires), end), forward: !moved && r.expires <= end}
}

// touchDue reports whether the stored expiry is old enough to be written again, or too far away.
func (l rules) touchDue(r *record, now int64) bool {
	if l.tooFar(r, now) {
		return true
	}
	e := l.extend(r, r.attrs, now).expires
	return e > r.expires && e-r.expires >= l.touchAfter
}

// fresh reports whether r is a tombstone that still tells where its session went.
func (r *record) fresh(now int64) bool { return r.tombstone && r.expires > now }

const (
	// clockMargin is how far servers' clocks may be apart, in seconds. Only beyond it an expiry that
	// a server would not set is lowered, and an expired item swept.
	clockMargin = 60
	// grace is how long a tombstone is kept, in seconds: requests of one page are under way for
	// seconds, and a browser that lost the response to its renewal can store nothing meanwhile but a
	// sign-in.
	grace = 30
)

// lastUsed is exact to TouchAfter. Where the expiry is cut by the absolute end, the
// last use can't be told from it, and latest gives the latest that it can have been.
func (l rules) lastUsed(r *record) (earliest, latest int64) {
	idle := l.idleOf(r.attrs)
	earliest = max(r.expires-idle, r.attrs.born, r.attrs.auth)
	if r.attrs.until != 0 && r.expires >= r.attrs.until {
		return earliest, r.expires
	}
	return earliest, max(earliest, r.expires-idle+l.touchAfter)
}

// creation is the mark of the write that made the item; "" for one that PHP made.
func (r *record) creation() string { return r.marks[:min(markLen, len(r.marks))] }

// hasMark tells whether the save with that mark is one of those that r tells of.
func (r *record) hasMark(mark string) bool {
	for m := r.marks; len(m) >= markLen; m = m[markLen:] {
		if m[:markLen] == mark {
			return true
		}
	}
	return false
}

// keptMarks is how many last writes an item tells of, beside its creation.
const keptMarks = 3

// marksWith puts mark before the last writes' marks of r, of which it keeps two. The
// creation's stays first. An item without marks takes mark as its creation's.
func (r *record) marksWith(mark string) string {
	if r.marks == "" {
		return mark
	}
	var b strings.Builder
	b.Grow(4 * markLen)
	b.WriteString(r.creation())
	b.WriteString(mark)
	rest := r.marks[len(r.creation()):]
	for n := 1; n < keptMarks && len(rest) >= markLen; n++ {
		if rest[:markLen] != mark { // one mark for all attempts of a save
			b.WriteString(rest[:markLen])
		}
		rest = rest[markLen:]
	}
	return b.String()
}

// DynamoDB's limit for an item: 400 KB, names included (Developer Guide, "Quotas").
const maxItem = 400 << 10

// lockRoom is what a lock adds to an item, in bytes.
const lockRoom = len(attrLock) + (13+1)/2 + 1 + len(attrHolder) + markLen

// writeUnits is what DynamoDB bills for a write of that many bytes.
func writeUnits(size int) int { return max(1, (size+1023)/1024) }

// size gives the item's size by DynamoDB's rules: bytes of names and values. A number
// is a byte for two digits and one more; rounded up here.
func (r *record) size(names *Attributes) int {
	n := r.sizeWithoutData(names)
	if r.data != nil {
		n += len(names.Data) + len(r.data)
	}
	return n
}

func (r *record) sizeWithoutData(names *Attributes) int {
	n := len(names.ID) + len(r.key) + len(names.Expires) + numberSize(r.expires)
	n += optional(len(attrRev), r.rev) + optional(len(attrBorn), r.attrs.born) + optional(len(attrUntil), r.attrs.until)
	n += optional(len(attrAuth), r.attrs.auth) + optional(len(attrIdle), r.attrs.idle) + optional(len(attrLimit), r.attrs.limit)
	n += optional(len(attrLock), r.lock)
	if r.marks != "" {
		n += len(attrMarks) + len(r.marks)
	}
	if r.attrs.user != "" {
		n += len(names.User) + len(r.attrs.user)
	}
	if r.holder != "" {
		n += len(attrHolder) + len(r.holder)
	}
	if r.tombstone {
		n += len(attrMoved) + len(r.moved)
	}
	return n
}

func optional(name int, v int64) int {
	if v == 0 {
		return 0
	}
	return name + numberSize(v)
}

func numberSize(v int64) int {
	digits := 1
	for v >= 10 || v <= -10 {
		v /= 10
		digits++
	}
	return (digits+1)/2 + 1
}

// The attributes whose names no setting changes.
const (
	attrRev    = "rev"
	attrMarks  = "w"
	attrBorn   = "born"
	attrUntil  = "until"
	attrLimit  = "limit"
	attrAuth   = "auth"
	attrIdle   = "idle"
	attrLock   = "lock"
	attrHolder = "holder"
	attrMoved  = "moved"
)

// storeAsBinary tells whether data must be a B: DynamoDB's S is UTF-8.
func storeAsBinary(data []byte, always bool) bool { return always || !utf8.Valid(data) }

// seconds rounds d down to whole seconds, DynamoDB's unit of expiry: a session may end
// earlier than configured by less than one, never later.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// epoch gives t in epoch seconds, rounded down, and never 0 for a time that is set.
func epoch(t time.Time) int64 {
	return min(max(t.Unix(), 1), math.MaxInt64/4)
}

// timeOf is epoch's reverse: the zero Time for 0.
func timeOf(sec int64) time.Time {
	if sec == 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0)
}
