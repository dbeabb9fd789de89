package dynasession

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Record is a session's item as the protocol sees it. Times are epoch seconds and 0
// where the attribute is absent, but for lock, which is in milliseconds.
type Record struct {
	Key     string
	Meta   Meta
	Expires int64
	Data    []byte // as stored, sealed or not; nil: absent
	Binary  bool   // data is B, not S
	BadType   bool   // the data attribute is neither
	Rev     int64
	Marks   string // w: the creation's write mark, then those of the last three writes
	Lock    int64
	Holder  string

	Tombstone bool   // the session was renewed: moved names the item that it goes on under
	Moved     string // its key; "" when the attribute is not a string
}

// Meta are what a session says of itself beside its values.
type Meta struct {
	User  string
	Auth  int64 // when user signed in
	Born  int64
	Until int64 // absolute end
	Limit int64 // LimitTo's end, kept apart so that Remember cannot pass it
	Idle  int64 // seconds; only of a remembered session
}

// Rules are what Config says about how long sessions live, in seconds.
type Rules struct {
	Idle, Lifetime, TouchAfter int64
	NotBefore                  int64
	Foreign                    bool // others write items by rules of their own
}

// Live reports whether r is a session at now. expires alone never proves it: PHP moves
// it without looking at until.
func (l Rules) Live(r *Record, now int64) bool {
	switch a := &r.Meta; {
	case r.Tombstone, r.Expires <= now:
		return false
	case a.Until != 0 && a.Until <= now:
		return false
	case a.Idle == 0 && a.Born != 0 && a.Born+l.Lifetime <= now:
		return false
	case l.NotBefore != 0 && (a.Born == 0 || a.Born < l.NotBefore):
		return false
	}
	return true
}

// birthSkew is how far NotBefore may be ahead of a server's clock, in seconds, for it to make
// sessions that count.
const birthSkew = 60

// Birth gives when a session that is made now is born: not before NotBefore, which is rounded up,
// and may be another server's now.
func (l Rules) Birth(now int64) int64 {
	if l.NotBefore-now <= birthSkew {
		return max(now, l.NotBefore)
	}
	return now
}

// Newborn gives the attributes of a session that is made now.
func (l Rules) Newborn(now int64) Meta {
	born := l.Birth(now)
	return Meta{Born: born, Until: born + l.Lifetime}
}

// Stamped gives a with what an item that others made lacks: birth, and an absolute end.
func (l Rules) Stamped(a Meta, now int64) Meta {
	if a.Born == 0 {
		a.Born = now
	}
	if a.Until == 0 {
		a.Until = a.Born + l.Lifetime
	}
	return a
}

// Expiry returns the time at which a session with a, used at now, expires.
func (l Rules) Expiry(a Meta, now int64) int64 {
	return min(now+l.IdleOf(a), l.Absolute(a, now))
}

func (l Rules) IdleOf(a Meta) int64 {
	if a.Idle == 0 {
		return l.Idle
	}
	return a.Idle
}

// Absolute returns the end of a session with a, whatever its use. Lifetime may have been longer
// when until was stored.
func (l Rules) Absolute(a Meta, now int64) int64 {
	a = l.Stamped(a, now)
	if a.Idle == 0 {
		return min(a.Until, a.Born+l.Lifetime)
	}
	return a.Until
}

// TooFar reports whether the stored expiry of r is further away than a use could set it: IdleTimeout
// was longer, a clock ran ahead, or the value is in milliseconds. PHP's lifetime is its own, so what it
// may have stored never is.
func (l Rules) TooFar(r *Record, now int64) bool {
	latest := min(now+l.IdleOf(r.Meta), l.Stamped(r.Meta, now).Until)
	return !l.Foreign && r.Expires > latest+clockMargin
}

// Extension is an expiry that a write sets.
type Extension struct {
	Expires int64
	Forward bool  // the write must not move the stored expiry back
	Lowers  int64 // if forward, the one stored expiry that it may lower; 0 for none
}

// Extend returns the expiry that a use of r at now sets, when the session then has a. A server
// with a slow clock must not end a session that others have just extended, so it moves the expiry
// forward only. The expiry is lowered where it passes the absolute end, where it is too far away, and
// where the request itself has changed how long the session lasts.
func (l Rules) Extend(r *Record, a Meta, now int64) Extension {
	was, a := l.Stamped(r.Meta, now), l.Stamped(a, now)
	expires := l.Expiry(a, now)
	if a.Idle != was.Idle || a.Born != was.Born {
		return Extension{Expires: expires}
	}
	moved, end := a.Until != was.Until, l.Absolute(a, now)
	if l.TooFar(r, now) {
		return Extension{expires, !moved, r.Expires} // others may have lowered it already
	}
	return Extension{Expires: min(max(r.Expires, expires), end), Forward: !moved && r.Expires <= end}
}

// TouchDue reports whether the stored expiry is old enough to be written again, or too far away.
func (l Rules) TouchDue(r *Record, now int64) bool {
	if l.TooFar(r, now) {
		return true
	}
	e := l.Extend(r, r.Meta, now).Expires
	return e > r.Expires && e-r.Expires >= l.TouchAfter
}

// Fresh reports whether r is a tombstone that still tells where its session went.
func (r *Record) Fresh(now int64) bool { return r.Tombstone && r.Expires > now }

const (
	// clockMargin is how far servers' clocks may be apart, in seconds. Only beyond it an expiry that
	// a server would not set is lowered, and an expired item swept.
	clockMargin = 60
	// grace is how long a tombstone is kept, in seconds: requests of one page are under way for
	// seconds, and a browser that lost the response to its renewal can store nothing meanwhile but a
	// sign-in.
	grace = 30
)

// LastUsed is exact to TouchAfter. Where the expiry is cut by the absolute end, the
// last use can't be told from it, and latest gives the latest that it can have been.
func (l Rules) LastUsed(r *Record) (earliest, latest int64) {
	idle := l.IdleOf(r.Meta)
	earliest = max(r.Expires-idle, r.Meta.Born, r.Meta.Auth)
	if r.Meta.Until != 0 && r.Expires >= r.Meta.Until {
		return earliest, r.Expires
	}
	return earliest, max(earliest, r.Expires-idle+l.TouchAfter)
}

// Creation is the mark of the write that made the item; "" for one that PHP made.
func (r *Record) Creation() string { return r.Marks[:min(markLen, len(r.Marks))] }

// HasMark tells whether the save with that mark is one of those that r tells of.
func (r *Record) HasMark(mark string) bool {
	for m := r.Marks; len(m) >= markLen; m = m[markLen:] {
		if m[:markLen] == mark {
			return true
		}
	}
	return false
}

// keptMarks is how many last writes an item tells of, beside its creation.
const keptMarks = 3

// MarksWith puts mark before the last writes' marks of r, of which it keeps two. The
// creation's stays first. An item without marks takes mark as its creation's.
func (r *Record) MarksWith(mark string) string {
	if r.Marks == "" {
		return mark
	}
	var b strings.Builder
	b.Grow(4 * markLen)
	b.WriteString(r.Creation())
	b.WriteString(mark)
	rest := r.Marks[len(r.Creation()):]
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

// Size gives the item's Size by DynamoDB's rules: bytes of names and values. A number
// is a byte for two digits and one more; rounded up here.
func (r *Record) Size(names *Attributes) int {
	n := r.SizeWithoutData(names)
	if r.Data != nil {
		n += len(names.Data) + len(r.Data)
	}
	return n
}

func (r *Record) SizeWithoutData(names *Attributes) int {
	n := len(names.ID) + len(r.Key) + len(names.Expires) + numberSize(r.Expires)
	n += optional(len(attrRev), r.Rev) + optional(len(attrBorn), r.Meta.Born) + optional(len(attrUntil), r.Meta.Until)
	n += optional(len(attrAuth), r.Meta.Auth) + optional(len(attrIdle), r.Meta.Idle) + optional(len(attrLimit), r.Meta.Limit)
	n += optional(len(attrLock), r.Lock)
	if r.Marks != "" {
		n += len(attrMarks) + len(r.Marks)
	}
	if r.Meta.User != "" {
		n += len(names.User) + len(r.Meta.User)
	}
	if r.Holder != "" {
		n += len(attrHolder) + len(r.Holder)
	}
	if r.Tombstone {
		n += len(attrMoved) + len(r.Moved)
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
