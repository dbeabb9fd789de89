package protocol

// Rules are what a Config says about how long sessions last, in seconds.
type Rules struct {
	Idle, Lifetime, TouchAfter int64
	NotBefore                  int64 // sessions born before are over; 0 for no limit
	Foreign                    bool  // PHP writes items too, by its own rules and without moving Rev
}

const (
	// LeaseFrom is the smallest end of a lease, in epoch milliseconds: March 1973. A lower lock is PHP's, a 1, which has
	// no end. The clock of a testing/synctest bubble begins in the year 2000.
	LeaseFrom = 100_000_000_000
	// LeaseSkew is how long after its end a lease is respected, in milliseconds: servers' clocks may be 2 s apart.
	LeaseSkew = 2000
	// endless is how a Record holds any lock without an end.
	endless = 1

	// ClockMargin is how far servers' clocks may be apart, in seconds. An expiry that a server would not set is lowered,
	// and an expired item swept, only beyond it.
	ClockMargin = 60
	// Grace is how long a tombstone is kept, in seconds. The requests of one page take seconds; and for as long as a
	// tombstone is there, a browser that lost the response to its renewal can store nothing but a sign-in.
	Grace = 30
	// birthSkew is how far NotBefore may be ahead of a server's clock, in seconds, for new sessions to be born then.
	birthSkew = 60
)

// Live reports whether r is a session at now. Expires alone does not prove it, since PHP moves it without looking at
// Until.
func (l Rules) Live(r *Record, now int64) bool {
	switch m := &r.Meta; {
	case r.Tombstone, r.Expires <= now:
		return false
	case m.Until != 0 && m.Until <= now:
		return false
	case m.Idle == 0 && m.Born != 0 && m.Born+l.Lifetime <= now:
		return false
	case l.NotBefore != 0 && (m.Born == 0 || m.Born < l.NotBefore):
		return false
	}
	return true
}

// Fresh reports whether r is a tombstone that still counts at now for whoever has no more than its id. One that is kept
// longer says when it was made.
func (r *Record) Fresh(now int64) bool {
	return r.Tombstone && r.Expires > now && (r.Meta.Born == 0 || r.Meta.Born+Grace > now)
}

// Birth returns when a session that is made now is born. It is not before NotBefore, which is rounded up, and may be
// another server's present.
func (l Rules) Birth(now int64) int64 {
	if l.NotBefore-now <= birthSkew {
		return max(now, l.NotBefore)
	}
	return now
}

// Newborn returns the Meta of a session that is made now.
func (l Rules) Newborn(now int64) Meta {
	born := l.Birth(now)
	return Meta{Born: born, Until: born + l.Lifetime}
}

// Stamped returns m with the birth and the absolute end that an item of PHP's lacks.
func (l Rules) Stamped(m Meta, now int64) Meta {
	if m.Born == 0 {
		m.Born = now
	}
	if m.Until == 0 {
		m.Until = m.Born + l.Lifetime
	}
	return m
}

// Expiry returns when a session with m that is used at now expires.
func (l Rules) Expiry(m Meta, now int64) int64 {
	return min(now+l.IdleOf(m), l.absolute(m, now))
}

// IdleOf returns how long a session with m lasts without use.
func (l Rules) IdleOf(m Meta) int64 {
	if m.Idle == 0 {
		return l.Idle
	}
	return m.Idle
}

// absolute returns when a session with m ends, whatever its use. Lifetime may have been longer when Until was stored.
func (l Rules) absolute(m Meta, now int64) int64 {
	m = l.Stamped(m, now)
	if m.Idle == 0 {
		return min(m.Until, m.Born+l.Lifetime)
	}
	return m.Until
}

// TooFar reports whether the stored expiry of r is further away than a use could set it: IdleTimeout was longer, a clock
// ran ahead, or the value is in milliseconds. It is never so with PHP, whose lifetime is its own.
func (l Rules) TooFar(r *Record, now int64) bool {
	latest := min(now+l.IdleOf(r.Meta), l.Stamped(r.Meta, now).Until)
	return !l.Foreign && r.Expires > latest+ClockMargin
}

// An Extension is an expiry that a write sets.
type Extension struct {
	Expires int64
	Forward bool  // the write is refused if the stored expiry is later
	Lowers  int64 // with Forward: a stored expiry of exactly this value may be lowered all the same; 0 for none
}

// Extend returns the expiry that a use of r at now sets, when the session then has m. A server with a slow clock must not
// end a session that others have just extended, so it moves the expiry forward only. It lowers an expiry that passes the
// absolute end or is too far away, and where the request itself has changed how long the session lasts.
func (l Rules) Extend(r *Record, m Meta, now int64) Extension {
	was, m := l.Stamped(r.Meta, now), l.Stamped(m, now)
	expires := l.Expiry(m, now)
	if m.Idle != was.Idle || m.Born != was.Born {
		return Extension{Expires: expires}
	}
	moved, end := m.Until != was.Until, l.absolute(m, now)
	if l.TooFar(r, now) { // another request may have lowered it already
		return Extension{expires, !moved, r.Expires}
	}
	return Extension{Expires: min(max(r.Expires, expires), end), Forward: !moved && r.Expires <= end}
}

// TouchDue reports whether a request that only reads should move the expiry of r: it is old enough, or too far away.
func (l Rules) TouchDue(r *Record, now int64) bool {
	if l.TooFar(r, now) {
		return true
	}
	e := l.Extend(r, r.Meta, now).Expires
	return e > r.Expires && e-r.Expires >= l.TouchAfter
}

// Touched returns r as a request that only reads leaves it.
func (l Rules) Touched(r *Record, now int64) *Record {
	next := *r
	next.Meta = l.Stamped(r.Meta, now)
	next.Expires = l.Extend(r, next.Meta, now).Expires
	return &next
}

// LastUsed returns between which times r was last used. It is exact to TouchAfter; if the absolute end cuts the expiry,
// the expiry does not tell the last use, and latest is the latest time that it can have been.
func (l Rules) LastUsed(r *Record) (earliest, latest int64) {
	idle := l.IdleOf(r.Meta)
	earliest = max(r.Expires-idle, r.Meta.Born, r.Meta.Auth)
	if r.Meta.Until != 0 && r.Expires >= r.Meta.Until {
		return earliest, r.Expires
	}
	return earliest, max(earliest, r.Expires-idle+l.TouchAfter)
}

// LockIsEndless reports whether r has a lock without an end, as PHP writes it.
func (r *Record) LockIsEndless() bool { return r.Lock != 0 && r.Lock < LeaseFrom }

// IsLocked reports whether a lock of r counts at now, in milliseconds.
func (r *Record) IsLocked(now int64) bool {
	return r.LockIsEndless() || r.Lock > now-LeaseSkew
}
