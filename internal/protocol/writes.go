package protocol

import (
	"crypto/rand"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The writes, as section 2 of README.md has them. Each has one constructor here. TestWrites compares both.
//
//	Create            a new session
//	Save              the changes of a session (Merge, LastWriteWins, or with a lease given up: Lock)
//	Touch             a later expiry
//	Acquire           takes the lock and reads the session
//	LimitLock         an end for PHP's lock
//	Release           gives up the lock
//	ReleaseTouching   gives up the lock and moves the expiry
//	Renew             the session under a new id, and a tombstone under the old one
//	GhostSignIn       a sign-in with the cookie of a tombstone
//	Destroy           ends a session
//	DeleteSeen        sweeps what has expired, or is unused
//	LimitStub         an end for the lock of a PHP request that died before it wrote
//	DeleteStub        sweeps what that request left
//	DeleteOf          ends a session of a user
//	Overwrite         Store.Write onto a live session
//	Replace           Store.Write where there is none
//	Extend            Store.UpdateTimestamp

// The clauses of conditions.
const (
	absent      = "attribute_not_exists(#i)"
	unexpired   = "#e > :now" // false, too, for an item without an expiry
	notEnded    = "(attribute_not_exists(#u) OR #u > :now)"
	withinEnd   = "(attribute_not_exists(#u) OR #u >= :e)" // the new expiry does not pass the absolute end
	withinLimit = "(attribute_not_exists(#m) OR #m >= :u)" // the new absolute end does not pass LimitTo's
	notEarlier  = "#e <= :e"
	later       = "#e < :e"
	asLoaded    = "#e = :loaded"

	sameSession = "begins_with(#w, :c)"       // not one made again under this id
	unmarked    = "attribute_not_exists(#w)"  // still PHP's
	noTombstone = "attribute_not_exists(#mv)" // the session was not renewed
	sameRev     = "#r = :r"
	noRev       = "attribute_not_exists(#r)"
	sameData    = "#d = :d0"
	noData      = "attribute_not_exists(#d)"

	sameLock   = "#l = :end" // PHP's write removes the lock and leaves the holder
	sameHolder = "#h = :me"
	lockFree   = "(attribute_not_exists(#l) OR #l BETWEEN :from AND :dead)"
	noLockEnd  = "attribute_exists(#l) AND NOT #l >= :from" // PHP's lock, a 1, and any that is no number
	// stub is what PHP leaves of a request that took the lock of a new id and died.
	stub = "attribute_exists(#l) AND attribute_not_exists(#e) AND attribute_not_exists(#d)"
)

type operation string

const (
	opPut      operation = "PutItem"
	opUpdate   operation = "UpdateItem"
	opDelete   operation = "DeleteItem"
	opTransact operation = "TransactWriteItems"
)

// A Write is a conditional write. It is made by a function of this package, sent by [Table.Send], and may be sent again.
type Write struct {
	op               operation
	key              string
	item             *Record // of a PutItem
	set, remove, add []string
	conditions       []string
	values           map[string]types.AttributeValue

	returns types.ReturnValue // of an UpdateItem
	once    bool              // the SDK must not repeat it
	billed  bool              // its units count also if the table does not ask for them

	parts []Write // of a TransactWriteItems
	token string  // with which DynamoDB recognizes a repetition of the transaction
}

func put(r *Record, conditions ...string) Write {
	return Write{op: opPut, key: r.Key, item: r, conditions: conditions}
}

func update(key string, set ...string) Write {
	// A save, the longest, has this many clauses.
	return Write{op: opUpdate, key: key, set: append(make([]string, 0, 10), set...), conditions: make([]string, 0, 8)}
}

func remove(key string, conditions ...string) Write {
	return Write{op: opDelete, key: key, conditions: conditions}
}

func (w *Write) bind(name string, v types.AttributeValue) {
	if w.values == nil {
		w.values = make(map[string]types.AttributeValue, 8)
	}
	w.values[name] = v
}

func (w *Write) number(name string, v int64) { w.bind(name, numberValue(v)) }
func (w *Write) text(name, v string)         { w.bind(name, textValue(v)) }
func (w *Write) only(conditions ...string)   { w.conditions = append(w.conditions, conditions...) }

// expression returns the update expression; "" for none.
func (w *Write) expression() string {
	var b strings.Builder
	b.Grow(128)
	list := func(word string, clauses []string) {
		for i, clause := range clauses {
			switch {
			case i > 0:
				b.WriteString(", ")
			case b.Len() > 0:
				b.WriteByte(' ')
				b.WriteString(word)
			default:
				b.WriteString(word)
			}
			b.WriteString(clause)
		}
	}
	list("SET ", w.set)
	list("REMOVE ", w.remove)
	list("ADD ", w.add)
	return b.String()
}

// condition returns the condition expression; "" for none.
func (w *Write) condition() string { return strings.Join(w.conditions, " AND ") }

// A Lease is a lock as a process has taken it. Holder is made for every acquisition.
type Lease struct {
	Key    string
	End    int64 // epoch milliseconds
	Holder string
}

// Holds reports whether r is locked by l. Holder means something only beside the lock that it was written with.
func (l *Lease) Holds(r *Record) bool {
	return r != nil && r.Lock == l.End && r.Holder == l.Holder
}

// onlyLocked asks for the lock that l has taken.
func (w *Write) onlyLocked(l *Lease) {
	w.only(sameLock, sameHolder)
	w.number(":end", l.End)
	w.text(":me", l.Holder)
}

func (w *Write) onlyUnexpired(base *Record, now int64) {
	w.only(unexpired)
	w.number(":now", now)
	if base.Meta.Until != 0 && base.Meta.Until <= now { // it is over, although PHP has moved its expiry
		w.only(notEnded)
	}
}

// onlySame asks for the session that was loaded, not one that was made again under its id. An item that was loaded without
// a mark has nothing to compare: strict asks that it still has none.
func (w *Write) onlySame(base *Record, strict bool) {
	switch {
	case base.Marks != "":
		w.only(sameSession)
		w.text(":c", base.Creation())
	case strict:
		w.only(unmarked)
	}
}

// onlyUnchanged asks that nobody has written the session's data. Writers that do not move Rev are found by comparing the
// data. The data alone does not do, since a change of user leaves it as it was.
func (w *Write) onlyUnchanged(base *Record, foreign bool) {
	if base.Rev != 0 {
		w.only(sameRev)
		w.number(":r", base.Rev)
	} else {
		w.only(noRev)
	}
	switch {
	case !foreign && base.Rev != 0:
	case base.Data == nil:
		w.only(noData)
	default:
		w.only(sameData)
		w.bind(":d0", dataValue(base))
	}
}

// onlyLive asks in DynamoDB's words what Rules.Live asks in Go's.
func (w *Write) onlyLive(l Rules, now int64) { w.only(w.live(l, now)) }

func (w *Write) live(l Rules, now int64) string {
	w.number(":now", now)
	w.number(":oldest", now-l.Lifetime)
	live := []string{noTombstone, unexpired, notEnded, "(attribute_exists(#n) OR attribute_not_exists(#b) OR #b > :oldest)"}
	if l.NotBefore != 0 {
		live = append(live, "#b >= :notbefore")
		w.number(":notbefore", l.NotBefore)
	}
	return strings.Join(live, " AND ")
}

// extend sets the expiry, and keeps it from moving back where it must not.
func (w *Write) extend(e Extension) {
	w.set = append(w.set, "#e = :e")
	w.number(":e", e.Expires)
	switch {
	case !e.Forward:
	case e.Lowers == 0:
		w.only(notEarlier)
	default:
		w.only("(" + notEarlier + " OR " + asLoaded + ")")
		w.number(":loaded", e.Lowers)
	}
}

// move sets the expiry of a session that is only used: forward, or back from loaded, if that is still there.
func (w *Write) move(loaded, expires int64) {
	w.set = append(w.set, "#e = :e")
	w.number(":e", expires)
	if expires >= loaded {
		w.only(later)
	} else {
		w.only(asLoaded)
		w.number(":loaded", loaded)
	}
	w.only(withinEnd)
}

// stamp sets the birth and the absolute end that an item of PHP's lacks, and the absolute end that a request has changed.
// It reports whether it sets one that a request has asked for.
func (w *Write) stamp(base, next *Record) (ends bool) {
	if base.Meta.Born == 0 {
		w.set = append(w.set, "#b = if_not_exists(#b, :b)")
		w.number(":b", next.Meta.Born)
	}
	if base.Meta.Until == next.Meta.Until {
		return false
	}
	w.number(":u", next.Meta.Until)
	if base.Meta.Until == 0 && next.Meta.Limit == 0 && next.Meta.Idle == 0 {
		w.set = append(w.set, "#u = if_not_exists(#u, :u)")
		return false
	}
	w.set = append(w.set, "#u = :u")
	return true
}

// setText sets an attribute if it has changed, or removes it if it is now "".
func (w *Write) setText(name, value, was, is string) {
	switch is {
	case was:
	case "":
		w.remove = append(w.remove, name)
	default:
		w.set = append(w.set, name+" = "+value)
		w.text(value, is)
	}
}

// setNumber sets an attribute if it has changed, or removes it if it is now 0.
func (w *Write) setNumber(name, value string, was, is int64) {
	switch is {
	case was:
	case 0:
		w.remove = append(w.remove, name)
	default:
		w.set = append(w.set, name+" = "+value)
		w.number(value, is)
	}
}

func (w *Write) setData(r *Record) {
	if r.Data == nil {
		w.remove = append(w.remove, "#d")
		return
	}
	w.set = append(w.set, "#d = :d")
	w.bind(":d", dataValue(r))
}

// Create puts an item that must not be there yet.
func Create(r *Record) Write { return put(r, absent) }

// A Save is what [Rules.Save] is to do.
type Save struct {
	Base, Next *Record
	End        Extension // Next.Expires, and how it may move the stored one
	Now        int64
	Merge      bool   // it must not pass over what others have written
	Lease      *Lease // is given up by the same write; nil for none
	ReturnRev  bool   // the Outcome's Item has Rev, which others may have moved without Merge
}

// Save turns the item of Base into Next.
func (l Rules) Save(s Save) Write {
	base, next := s.Base, s.Next
	w := update(base.Key)
	if s.Lease != nil {
		w.onlyLocked(s.Lease)
		w.remove = append(w.remove, "#l", "#h")
	}
	w.onlyUnexpired(base, s.Now)
	w.onlySame(base, s.Merge)
	w.extend(s.End)
	w.set = append(w.set, "#w = :w")
	w.text(":w", next.Marks)
	w.setData(next)
	ends := w.stamp(base, next)
	w.setText("#us", ":us", base.Meta.User, next.Meta.User)
	w.setNumber("#a", ":a", base.Meta.Auth, next.Meta.Auth)
	w.setNumber("#n", ":n", base.Meta.Idle, next.Meta.Idle)
	w.setNumber("#m", ":m", base.Meta.Limit, next.Meta.Limit)
	if s.Merge {
		w.set = append(w.set, "#r = :r1")
		w.number(":r1", next.Rev)
		w.onlyUnchanged(base, l.Foreign)
		return w
	}
	w.add = append(w.add, "#r :one")
	w.number(":one", 1)
	if !ends {
		w.only(withinEnd)
	} else {
		w.only(withinLimit)
		if base.Marks == "" { // otherwise the mark refuses a tombstone
			w.only(noTombstone)
		}
	}
	if s.ReturnRev {
		w.returns = types.ReturnValueUpdatedNew
	}
	return w
}

// Touch moves the expiry of base to next's, never past an end that was set meanwhile. The SDK does not repeat it.
func Touch(base, next *Record, now int64) Write {
	w := touch(base, next, now)
	w.onlySame(base, false)
	return w
}

func touch(base, next *Record, now int64) Write {
	w := update(base.Key)
	w.once = true
	w.onlyUnexpired(base, now)
	w.move(base.Expires, next.Expires)
	w.stamp(base, next)
	return w
}

// Acquire takes the lock of a live session with l and reads the session. now is in seconds; a lease that ended before
// dead, in milliseconds, is free.
func Acquire(l *Lease, now, dead int64) Write {
	w := update(l.Key, "#l = :end", "#h = :me")
	w.number(":end", l.End)
	w.text(":me", l.Holder)
	w.number(":now", now)
	w.number(":from", LeaseFrom)
	w.number(":dead", dead)
	w.only(unexpired, noTombstone, lockFree)
	w.returns = types.ReturnValueAllNew
	return w
}

// LimitLock sets an end on a lock that has none. PHP writes such locks, and may have died.
func LimitLock(key string, end, now int64) Write {
	w := update(key, "#l = :end", "#h = :me")
	w.number(":end", end)
	w.text(":me", "foreign")
	w.number(":from", LeaseFrom)
	w.number(":now", now)
	w.only(noLockEnd, unexpired)
	return w
}

// Release gives up a lock.
func Release(l *Lease) Write {
	w := update(l.Key)
	w.remove = append(w.remove, "#l", "#h")
	w.onlyLocked(l)
	return w
}

// ReleaseTouching gives up a lock and moves the expiry, in one write. The lock takes the place of Touch's condition that the
// item is the same session.
func ReleaseTouching(l *Lease, base, next *Record, now int64) Write {
	w := touch(base, next, now)
	w.remove = append(w.remove, "#l", "#h")
	w.onlyLocked(l)
	return w
}

// Destroy deletes the item of a session, whoever has locked it: the item that the write with mark creation made, or, if
// creation is "", any that is no tombstone. It may be repeated. If it is refused by a tombstone, the session goes on under
// another key.
func (l Rules) Destroy(key, creation string) Write {
	switch {
	case l.Foreign: // there are no tombstones
		return remove(key)
	case creation == "":
		return remove(key, noTombstone)
	}
	w := remove(key, "("+absent+" OR "+sameSession+")")
	w.text(":c", creation)
	return w
}

// DeleteSeen deletes an item that is as a sweep saw it, with an expiry before cut. Every touch and save moves the expiry,
// so one comparison covers all writers. unused asks, too, that nobody has saved it.
func DeleteSeen(seen *Record, cut int64, unused bool) Write {
	w := remove(seen.Key, "#e = :seen", "#e < :cut")
	w.billed = true
	w.number(":seen", seen.Expires)
	w.number(":cut", cut)
	switch {
	case !unused:
	case seen.Rev == 0:
		w.only(noRev)
	default:
		w.only(sameRev)
		w.number(":r", seen.Rev)
	}
	return w
}

// LimitStub sets an end on the lock of a stub: an item of a key and a lock, which a PHP request leaves that locks a new id
// and dies.
func LimitStub(key string, end int64) Write {
	w := update(key, "#l = :end")
	w.billed = true
	w.number(":end", end)
	w.number(":from", LeaseFrom)
	w.only(noLockEnd, stub)
	return w
}

// DeleteStub deletes a stub that is as a sweep saw it.
func DeleteStub(seen *Record) Write {
	w := remove(seen.Key, "#l = :l", stub)
	w.billed = true
	w.number(":l", seen.Lock)
	return w
}

// DeleteOf deletes an item that is user's. The index lags, and another user may have signed in on that session.
func DeleteOf(key, user string) Write {
	w := remove(key, "#us = :user")
	w.text(":user", user)
	return w
}

// Overwrite replaces the data of a live session, whoever wrote it. It leaves the marks, so that requests that are running
// merge with it. idle is the Meta.Idle that end was made with.
func (l Rules) Overwrite(r *Record, end Extension, idle, now int64) Write {
	w := update(r.Key)
	w.setData(r)
	w.add = append(w.add, "#r :one")
	w.number(":one", 1)
	w.onlyLive(l, now)
	w.extend(end)
	if end.Forward {
		w.only(withinEnd)
	}
	if idle == 0 {
		w.only("attribute_not_exists(#n)")
	} else {
		w.only("#n = :n")
		w.number(":n", idle)
	}
	return w
}

// Replace puts an item where no live session is.
func (l Rules) Replace(r *Record, now int64) Write {
	w := put(r)
	w.only("(" + absent + " OR NOT (" + w.live(l, now) + "))")
	return w
}

// ExtendLive is Touch for a caller that knows nothing of the item but its expiry, or 0 for not even that.
func (l Rules) ExtendLive(key string, loaded, expires, now int64) Write {
	w := update(key)
	w.onlyLive(l, now)
	w.move(loaded, expires)
	return w
}

func transaction(parts ...Write) Write {
	return Write{op: opTransact, parts: parts, token: rand.Text()}
}

// Tombstone returns the item that a renewal leaves under the old key. A request that comes with the old id learns from it
// that the session was renewed, and a logout, where it went on.
func Tombstone(key string, fresh *Record, now int64) *Record {
	return &Record{
		Key: key, Expires: now + Grace, Marks: fresh.Creation(),
		Meta:      Meta{Until: 1}, // versions that know no tombstones take it for an ended session
		Tombstone: true, Moved: fresh.Key,
	}
}

// Renew puts fresh, and a tombstone in the place of old. The tombstone of a device-bound session is kept for as long as
// the session may last: the device may come back with the old id, and prove its key. lease is given up with old; nil for
// none.
func (l Rules) Renew(old, fresh *Record, bound bool, lease *Lease, now int64) Write {
	tombstone := Tombstone(old.Key, fresh, now)
	if bound {
		tombstone.Expires, tombstone.Meta.Born = max(tombstone.Expires, fresh.Expires), now
	}
	gone := put(tombstone)
	if l.Foreign { // PHP would write onto a tombstone
		gone = remove(old.Key)
	}
	if lease != nil {
		gone.onlyLocked(lease)
	}
	gone.onlyUnexpired(old, now)
	gone.onlySame(old, true)
	gone.onlyUnchanged(old, l.Foreign)
	return transaction(Create(fresh), gone)
}

// GhostSignIn puts fresh, makes the tombstone name it, and, with replaces, puts another tombstone in the place of the
// session that the tombstone has named, if nobody has changed that one.
func GhostSignIn(tombstone, named string, replaces bool, fresh *Record, now int64) Write {
	moves := update(tombstone, "#mv = :new")
	moves.only("#mv = :y")
	moves.text(":new", fresh.Key)
	moves.text(":y", named)
	if !replaces {
		return transaction(Create(fresh), moves)
	}
	unused := put(Tombstone(named, fresh, now), "#r = :one", noTombstone)
	unused.number(":one", 1)
	return transaction(Create(fresh), moves, unused)
}

// ErrTaken is returned by Renewed if the new id of a renewal has another item.
var ErrTaken = errors.New("the new id is taken")

// Renewed returns the outcome of a renewal to fresh for the old item: refused, with that item, or done. A renewal whose
// answer was lost is done. It returns ErrTaken if another item has the new id.
func Renewed(out Outcome, fresh *Record) (Outcome, error) {
	if !out.Refused {
		return out, nil
	}
	ours := func(r *Record) bool { return r != nil && r.Creation() == fresh.Creation() }
	created, replaced := out.Parts[0], out.Parts[1]
	switch {
	case created.Refused && ours(created.Item):
		return Outcome{}, nil
	case created.Refused:
		return Outcome{}, ErrTaken
	case ours(replaced.Item) && replaced.Item.Tombstone: // what it made has ended since
		return Outcome{}, nil
	}
	return replaced, nil
}
