package dynasession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dynasession/dynasession/internal/pause"
)

// maxTries bounds how often a save merges with what others have written and tries again,
// beside Config.Timeout.
const maxTries = 64

// maxUser is DynamoDB's limit for a key, in bytes: the user is the index's (Developer Guide,
// "Quotas", Partition key length).
const maxUser = 2048

// errUser is of a user that DynamoDB's strings cannot hold: the SDK would make another one of it.
var errUser = errors.New("dynasession: the user is not UTF-8")

// delivery is what a save wants the response to carry.
type delivery struct {
	cookie cookieChange
	id     string
	rev    int64
	maxAge int64 // seconds; 0: until the browser ends
}

type cookieChange int

const (
	cookieKeep cookieChange = iota
	cookieSet
	cookieClear
)

// save stores what sess has pending. When a new cookie cannot be delivered any more,
// it refuses what would need one, before it writes.
func (s *Store) save(ctx context.Context, sess *Session, headersSent bool) (delivery, error) {
	if r := sess.atRest(); r != nil && !s.rules.TouchDue(r, s.now().Unix()) {
		return delivery{}, nil
	}
	w := sess.begin()
	d, now, err := s.perform(ctx, &w, headersSent)
	sess.settle(&w, now)
	if now == nil && err == nil {
		sess.keptEmpty(w.version)
	}
	return d, err
}

// perform gives what is stored afterwards: nil when the changes are still pending, after an
// error, or since a session that is empty is not stored.
func (s *Store) perform(ctx context.Context, w *work, headersSent bool) (d delivery, now *stored, err error) {
	for i := range w.changes {
		if err := w.changes[i].err; err != nil {
			ref := ""
			if w.rec != nil {
				ref = s.keys.ref(w.rec.Key)
			}
			s.report(ctx, "save", ref, err)
			return d, nil, err
		}
	}
	if w.destroy {
		if w.victim != nil {
			if err := s.destroy(ctx, w.victim); err != nil {
				return d, nil, err
			}
		}
		w.destroy, w.victim = false, nil // done, also if what follows fails
		w.unlock()
		d.cookie = cookieClear
	}
	if w.signIn != nil && !utf8.ValidString(w.attrs.User) {
		return d, nil, errUser
	}
	if len(w.attrs.User) > maxUser {
		return d, nil, fmt.Errorf("%w: a user of %d bytes, the limit is %d", ErrTooLarge, len(w.attrs.User), maxUser)
	}
	ended := w.ended(s.rules, s.now().Unix())
	switch {
	case w.ghost != nil:
		if now, err = s.saveGhost(ctx, w, headersSent); now == nil {
			return d, nil, err
		}
	case w.rec == nil && (ended || len(w.vals.list) == 0 && w.attrs.User == ""):
		return d, nil, nil
	case w.rec == nil && w.attrs.Until <= s.now().Unix():
		return d, nil, fmt.Errorf("%w: before it was saved", ErrGone)
	case w.rec == nil:
		if headersSent {
			return d, nil, errHeadersSent
		}
		now, err = s.create(ctx, w)
	case ended:
		if err := s.destroy(ctx, w.rec); err != nil {
			return d, nil, err
		}
		w.unlock()
		return delivery{cookie: cookieClear}, &stored{}, nil
	case w.renew || w.remembers():
		if headersSent {
			return d, nil, errHeadersSent
		}
		now, err = s.write(ctx, w)
	case w.writes(headersSent):
		now, err = s.write(ctx, w)
	default:
		return d, s.keep(ctx, w), nil
	}
	if err != nil {
		return d, nil, err
	}
	w.unlock()
	if w.rec == nil || w.renew || w.remembers() || s.cfg.EventualReads {
		d = s.deliver(now)
	}
	return d, now, nil
}

// ended tells whether this request has ended the session: by LimitTo, or since Remember leaves it
// no time any more.
func (w *work) ended(l Rules, now int64) bool {
	if w.limit != 0 && w.limit <= now {
		return true
	}
	return w.remembers() && w.attrs.Until <= now && w.rec != nil && l.Live(w.rec, now)
}

// unlock says that the lock is given up, by whatever write.
func (w *work) unlock() {
	if w.lease != nil {
		w.lease.leave()
		w.lease = nil
	}
}

func (s *Store) deliver(now *stored) delivery {
	d := delivery{cookie: cookieSet, id: now.id}
	if s.cfg.EventualReads {
		d.rev = now.rec.Rev
	}
	if s.cfg.Cookie.Persist || now.rec.Meta.Idle != 0 {
		d.maxAge = max(1, now.rec.Meta.Until-s.now().Unix())
	}
	return d
}

// create puts a new session's item, under a new id.
func (s *Store) create(ctx context.Context, w *work) (_ *stored, err error) {
	var id string
	var r *Record
	before := w.repeats()
	again := before != nil && before.fresh != nil
	if again {
		id, r = before.id, before.fresh
	} else {
		id = newID()
		r = &Record{Key: s.keys.key(id), Rev: 1, Marks: newMark(), Meta: w.attrs}
		r.Expires = s.rules.Expiry(r.Meta, s.now().Unix())
	}
	ctx, op := s.start(ctx, "save", r.Key)
	defer func() { op.end(err) }()
	if !again {
		if err := s.encode(r, &w.vals); err != nil {
			return nil, err
		}
	}
	lost := false
	err = op.untilFree(ctx, func() error {
		err := s.table.create(ctx, &op.trace, r)
		lost = lost || op.Unanswered
		return err
	})
	refused, err := asRefusal(err)
	if err != nil {
		if lost {
			w.unsure = &unsure{version: w.version, doubt: noDoubt, fresh: r, id: id}
		}
		return nil, err
	}
	w.unsure = nil
	if refused != nil && (refused.item == nil || refused.item.Creation() != r.Marks) {
		return nil, fmt.Errorf("%w: the new id is taken", ErrConflict)
	}
	return &stored{r, id, w.vals}, nil
}

// encode fills r with the values.
func (s *Store) encode(r *Record, vals *values) error {
	if _, ok := s.cfg.Codec.(JSON); ok && len(vals.list) > 0 {
		return s.encodeJSON(r, vals.list)
	}
	data, err := vals.join(s.cfg.Codec)
	if err != nil {
		return fmt.Errorf("dynasession: %w", err)
	}
	return s.fill(r, data)
}

// scratch has room for bytes that nobody keeps.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// encodeJSON joins the values where nobody keeps them: most sessions are stored in another form.
func (s *Store) encodeJSON(r *Record, list []KeyValue) error {
	room := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	data, err := appendObject((*room)[:0], list)
	if err != nil {
		return fmt.Errorf("dynasession: %w", err)
	}
	*room = data
	err = s.fill(r, data)
	if len(r.Data) > 0 && &r.Data[0] == &data[0] { // stored as it is
		r.Data = bytes.Clone(data)
	}
	return err
}

// touchFor is how long it is remembered from which expiry a touch has moved a session. A page's
// requests run side by side, and all find the expiry due: one of them moves it.
const touchFor = 5 * time.Second

// touchRest is how long nothing is touched after a touch has failed. It is then tried by every request
// of every session, before the first byte of its answer.
const touchRest = 5 * time.Second

// touchPatience is which part of Config.Timeout a touch may take: the page waits for it.
const touchPatience = 5

// keep ends a request that changed nothing: the expiry is moved if that is due, and the lock given up.
// Nothing of it is the handler's, so its errors are logged and end nothing: the next request moves the
// expiry, and the lease ends by itself. A caller's deadline does not keep the lock from being given up.
func (s *Store) keep(ctx context.Context, w *work) *stored {
	now := s.now().Unix()
	var next *Record
	if s.rules.TouchDue(w.rec, now) && !s.touchesRest() {
		r := *w.rec
		r.Meta = s.rules.Stamped(r.Meta, now)
		r.Expires = s.rules.Extend(w.rec, r.Meta, now).Expires
		next = &r
	}
	touched := false
	switch {
	case w.lease != nil:
		touched = s.unlock(context.WithoutCancel(ctx), w, next, now)
		w.unlock()
	case next != nil && !s.touchedBeside(w.rec, next, now):
		touched = s.touch(ctx, w, next, now)
	}
	if touched {
		return &stored{next, w.id, w.vals}
	}
	return &stored{w.rec, w.id, w.vals}
}

// touchedBeside reports whether another request, that has loaded the same expiry, moves it. It may
// fail: that costs nothing as long as there is time for the next request.
func (s *Store) touchedBeside(r, next *Record, now int64) bool {
	first := s.touching.Note(r.Key, r.Expires)
	return !first && r.Expires-now > (next.Expires-now)/2
}

func (s *Store) touchesRest() bool { return s.now().UnixNano() < s.restUntil.Load() }

// restTouches lets nothing be touched for a while, and logs why.
func (s *Store) restTouches(ctx context.Context, key string, err error) {
	s.touching.Forget(key)
	until, now := s.restUntil.Load(), s.now()
	if now.UnixNano() < until || !s.restUntil.CompareAndSwap(until, now.Add(touchRest).UnixNano()) {
		return // another has
	}
	s.log(ctx).WarnContext(ctx, "dynasession: extending a session; others are left alone for a while", "session", s.keys.ref(key), "rest", touchRest, "error", err)
}

// touch moves the expiry to next's, with one call.
func (s *Store) touch(ctx context.Context, w *work, next *Record, now int64) bool {
	patient, cancel := context.WithTimeout(ctx, s.cfg.Timeout/touchPatience)
	defer cancel()
	timed, op := s.start(patient, "touch", w.rec.Key)
	refused, err := asRefusal(s.table.touch(timed, &op.trace, w.rec, next, now))
	op.end(err)
	if err != nil && ctx.Err() == nil { // else it was the caller's deadline
		s.restTouches(ctx, w.rec.Key, err)
	}
	return err == nil && refused == nil // else it was touched already, ended or destroyed: nothing to do
}

// unlock gives up the lock of w, and moves the expiry to next's, unless next is nil. It reports whether
// the expiry was moved.
func (s *Store) unlock(ctx context.Context, w *work, next *Record, now int64) bool {
	ctx, op := s.start(ctx, "release", w.rec.Key)
	if next != nil {
		refused, err := asRefusal(s.table.release(ctx, &op.trace, w.rec, next, w.lease, now))
		if err == nil && (refused == nil || !w.lease.holds(refused.item)) {
			op.end(nil)
			return refused == nil
		}
		if err != nil {
			s.restTouches(ctx, w.rec.Key, err)
		}
	}
	_, err := asRefusal(op.untilFree(ctx, func() error { return s.table.release(ctx, &op.trace, w.rec, nil, w.lease, now) }))
	op.end(err)
	if err != nil {
		s.log(ctx).WarnContext(ctx, "dynasession: unlocking a session", "session", s.keys.ref(w.rec.Key), "error", err)
	}
	return false
}

// write stores the changes of a session that has an item: onto it, or, renewed, in its place.
func (s *Store) write(ctx context.Context, w *work) (_ *stored, err error) {
	name := "save"
	if w.renew {
		name = "renew"
	}
	ctx, op := s.start(ctx, name, w.rec.Key)
	defer func() { op.end(err) }()
	a := attempt{
		store: s, work: w, op: op,
		mark: newMark(), creation: w.rec.Creation(),
		base: w.rec, vals: w.vals, doubt: noDoubt,
	}
	if before := w.repeats(); before != nil && before.mark != "" {
		a.mark, a.earlier, a.doubt, a.renewal, a.newID = before.mark, before.earlier, before.doubt, before.renewal, before.id
		a.lost = true
	} else if before := w.unsure; before != nil && before.mark != "" {
		a.earlier, a.doubt = append(slices.Clip(before.earlier), before.mark), before.doubt
	}
	defer a.leaveLane()
	for {
		now, err := a.try(ctx)
		if err == nil && now == nil {
			op.conflicts++
			now, err = a.prepare(ctx)
		}
		if err != nil || now != nil {
			a.remember(err)
			a.tell(now)
			return now, err
		}
	}
}

const noDoubt = -1

// attempt is a save, over all its tries.
type attempt struct {
	*work
	store    *Store
	op       *operation
	mark     string   // of all the tries
	earlier  []string // marks of unanswered saves, whose changes are among this one's
	creation string   // of the session that was loaded; "" for an item of PHP's
	base     *Record
	vals     values // base's, with the changes on top
	doubt    int64  // rev of the first try, of the earlier saves too, that ended without an answer
	lost     bool   // a try of this save did
	busy     error  // why the last try said nothing of the item; nil: it did
	renewal  *renewal
	newID    string
	pause    pause.Backoff
	leave    func() // the lane of those in this process that were refused; nil before
}

// prepare waits until another try is worth it.
func (a *attempt) prepare(ctx context.Context) (*stored, error) {
	if a.leave == nil {
		return a.enterLane(ctx)
	}
	if a.pause.Tries >= maxTries || a.pause.Wait(ctx) != nil {
		return nil, a.store.gaveUp(a.base.Key, a.pause.Tries, a.busy)
	}
	return nil, nil
}

// gaveUp is the error of a save of which busy is the last answer.
func (s *Store) gaveUp(key string, tries int, busy error) error {
	state := ErrConflict
	if errors.Is(busy, errThrottled) {
		state = ErrUnavailable
	}
	return fmt.Errorf("%w: session %s: gave up after %d tries", state, s.keys.ref(key), tries)
}

// remember notes, after an error, what a repetition of the save must know.
func (a *attempt) remember(err error) {
	switch {
	case err == nil:
		a.unsure = nil
	case a.op.Unanswered || a.lost:
		a.unsure = &unsure{version: a.version, mark: a.mark, earlier: a.earlier, doubt: a.doubt, renewal: a.renewal, id: a.newID}
	}
}

// enterLane waits for the others of this process that merge onto the item, and goes on from
// what the last of them has stored: that is no knowledge, since the condition tells whether
// it still holds, but spares the writes that would be refused.
func (a *attempt) enterLane(ctx context.Context) (*stored, error) {
	key := a.base.Key
	turn, leave := a.store.merges.Join(key)
	a.leave = leave
	select {
	case <-turn:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: session %s: %w", ErrConflict, a.store.keys.ref(key), ctx.Err())
	}
	// Under a lease, or with a renewal to repeat, what others have stored is no base.
	if a.store.cfg.Concurrency != Merge || a.lease != nil || a.renewal != nil {
		return nil, nil
	}
	if last := a.store.merges.Handed(key); last != nil && last.Rev > a.base.Rev && last.Creation() == a.base.Creation() {
		return a.rebase(last, a.store.now().Unix())
	}
	return nil, nil
}

func (a *attempt) tell(now *stored) {
	if a.leave != nil && now != nil && now.rec.Key == a.base.Key {
		a.store.merges.Hand(a.base.Key, now.rec)
	}
}

func (a *attempt) leaveLane() {
	if a.leave != nil {
		a.leave()
	}
}

// try sends the save once. It gives nil and nil when that was refused and is worth another.
func (a *attempt) try(ctx context.Context) (*stored, error) {
	s, now := a.store, a.store.now().Unix()
	attrs := a.pending.attrs(s.rules.Stamped(a.base.Meta, now), s.rules.Lifetime)
	// It would be stored, and never seen again. Of a base that has ended itself the condition may
	// tell that another has let it last for longer.
	end := s.rules.Extend(a.base, attrs, now)
	if end.Expires <= now && (s.rules.Live(a.base, now) || s.cfg.Concurrency == LastWriteWins && !a.renew) {
		return nil, fmt.Errorf("%w: session %s: its time is over", ErrGone, s.keys.ref(a.base.Key))
	}
	var next *Record
	var id string
	var err error
	if a.renew {
		next, id, err = a.tryRenew(ctx, attrs, end, now)
	} else {
		id = a.id
		next, err = a.trySave(ctx, attrs, end, now)
	}
	if a.op.Unanswered {
		a.lost = true
		if a.doubt == noDoubt && !a.renew {
			a.doubt = a.base.Rev
		}
	}
	if a.busy = nil; errors.Is(err, errBusy) || errors.Is(err, errThrottled) {
		a.busy = err
		return nil, nil
	}
	refused, err := asRefusal(err)
	if err != nil {
		return nil, s.unwritable(a.base.Key, err)
	}
	if refused == nil {
		return &stored{next, id, a.vals}, nil
	}
	if a.renew { // no try of it has taken effect: else the old item would not be there
		a.renewal, a.lost = nil, false
	}
	return a.rebase(refused.item, now)
}

// unwritable returns err, as an ErrCorrupt if it says that no write of a save can take effect.
func (s *Store) unwritable(key string, err error) error {
	if errors.Is(err, errUnwritable) {
		return corruptHere(s.keys.ref(key), err)
	}
	return err
}

func (a *attempt) trySave(ctx context.Context, attrs Meta, end Extension, now int64) (*Record, error) {
	s := a.store
	next := &Record{
		Key: a.base.Key, Meta: attrs, Expires: end.Expires,
		Rev: a.base.Rev + 1, Marks: a.base.MarksWith(a.mark), Lock: a.base.Lock, Holder: a.base.Holder,
	}
	if a.lease != nil {
		next.Lock, next.Holder = 0, ""
	}
	if err := s.encode(next, &a.vals); err != nil {
		return nil, err
	}
	how := saving{now: now, merge: s.cfg.Concurrency != LastWriteWins, end: end, lease: a.lease}
	return next, s.table.save(ctx, &a.op.trace, a.base, next, how)
}

func (a *attempt) tryRenew(ctx context.Context, attrs Meta, end Extension, now int64) (*Record, string, error) {
	s := a.store
	if a.renewal == nil { // else the same bytes with the same token
		a.newID = newID()
		fresh := &Record{
			Key: s.keys.key(a.newID), Meta: attrs, Expires: end.Expires,
			Rev: 1, Marks: a.mark,
		}
		if err := s.encode(fresh, &a.vals); err != nil {
			return nil, "", err
		}
		a.renewal = s.table.newRenewal(a.base, fresh, a.lease, now)
	}
	err := s.table.renew(ctx, &a.op.trace, a.renewal)
	return a.renewal.fresh, a.newID, err
}

// rebase puts the changes onto what another has written: section 3 of the protocol, whose
// order counts.
func (a *attempt) rebase(item *Record, now int64) (*stored, error) {
	s := a.store
	switch {
	case item != nil && item.HasMark(a.mark): // an earlier try took effect, and nobody said
		vals, err := s.values(item)
		return &stored{item, a.id, vals}, err
	case item != nil && slices.ContainsFunc(a.earlier, item.HasMark): // their changes must not count twice
		return nil, fmt.Errorf("%w: session %s: an unanswered save of it took effect", ErrConflict, s.keys.ref(a.base.Key))
	case item == nil || !s.rules.Live(item, now) || a.creation != "" && item.Creation() != a.creation:
		return nil, s.gone(a.base.Key)
	case a.lease != nil && !a.lease.holds(item):
		return nil, fmt.Errorf("%w: session %s", ErrLockLost, s.keys.ref(a.base.Key))
	case s.table.unmoved(item, a.base): // nobody has written it, and yet it is refused
		return nil, corruptHere(s.keys.ref(a.base.Key), errUnwritable)
	case s.cfg.Concurrency == LastWriteWins && !a.renew: // only its end differs
		a.base, a.creation = item, item.Creation()
		return nil, nil
	case a.doubt != noDoubt && item.Rev-a.doubt > keptMarks:
		return nil, fmt.Errorf("%w: session %s: an unanswered write may have been overwritten", ErrConflict, s.keys.ref(a.base.Key))
	}
	vals, err := s.values(item)
	if err != nil {
		return nil, err
	}
	if vals, err = a.onto(vals); err != nil {
		return nil, err
	}
	if a.creation == "" {
		a.creation = item.Creation()
	}
	a.base, a.vals = item, vals
	return nil, nil
}
