package dynasession

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/dynasession/dynasession/internal/protocol"
)

// checkout is what one save takes on: the changes of a session, and what they are changes of.
type checkout struct {
	pending
	keys  keyspace
	rec   *protocol.Record // nil for a session without an item
	ghost *protocol.Record // the tombstone that the cookie names; nil for none
	id    string
	vals  values        // with the changes on top
	meta  protocol.Meta // likewise
	lease *lease
	proof string // of the device
	newID string // the id for a new session; "" for a random one

	unproven bool // see Session

	version int      // of the session
	unacked *unacked // the save before this one, if nobody knows what became of it
}

// unacked is a save whose last attempt got no answer and may have taken effect. Saving the same changes again reuses its
// mark, or its transaction, so that they count once.
type unacked struct {
	version  int      // of the session, when it was sent
	mark     string   // of a save
	earlier  []string // the marks of unanswered saves before it, whose changes it has too
	firstRev int64    // see attempt.firstUnacked
	renewal  *renewal
	fresh    *protocol.Record // of a creation
	ghost    *ghostSignIn
	id       string // the new one, of renewals, creations and ghosts
}

// repeated returns the unanswered save that c repeats; nil for none.
func (c *checkout) repeated() *unacked {
	if c.unacked == nil || c.unacked.version != c.version {
		return nil
	}
	return c.unacked
}

// result is what a save has left in the table.
type result struct {
	rec  *protocol.Record // nil for nothing
	id   string
	vals values
}

// ref returns the name of the session that c is a checkout of; "" if it has no item.
func (c *checkout) ref() string {
	switch {
	case c.ghost != nil:
		return c.keys.ref(c.ghost.Key)
	case c.rec != nil:
		return c.keys.ref(c.rec.Key)
	}
	return ""
}

// encodingError returns the error of the first value that did not encode.
func (c *checkout) encodingError() error {
	for i := range c.changes {
		if err := c.changes[i].err; err != nil {
			return err
		}
	}
	return nil
}

// step is what a save has to do.
type step int

const (
	stepNothing step = iota
	stepCreate       // put a new item
	stepWrite        // write the changes to the item, or to a new one in its place
	stepKeep         // leave the item as it is, but for its expiry and lock
	stepEnd          // delete the item
	stepGhost        // sign in with a tombstone's cookie
)

// maxUser is DynamoDB's limit for a key, in bytes: the user is the index's (Developer Guide, "Quotas", Partition key
// length).
const maxUser = 2048

// errUser is about a user that DynamoDB's strings cannot hold: the SDK would change it.
var errUser = errors.New("dynasession: the user is not UTF-8")

// plan returns what a save of c at now has to do. It asks nobody and changes nothing. headersSent says that no new cookie
// can be delivered: then plan refuses what would need one.
func (c *checkout) plan(l protocol.Rules, now int64, headersSent bool) (step, error) {
	if c.signIn != nil && !utf8.ValidString(c.meta.User) {
		return stepNothing, errUser
	}
	if len(c.meta.User) > maxUser {
		return stepNothing, fmt.Errorf("%w: a user of %d bytes, the limit is %d", ErrTooLarge, len(c.meta.User), maxUser)
	}
	switch {
	case c.ghost != nil:
		return c.planGhost(l, now, headersSent)
	case c.rec == nil:
		return c.planNew(l, now, headersSent)
	case c.ended(l, now):
		return stepEnd, nil
	case c.needsCookie() && headersSent:
		return stepNothing, errHeadersSent
	case c.needsCookie() || c.writes(headersSent):
		return stepWrite, nil
	}
	return stepKeep, nil
}

func (c *checkout) planNew(l protocol.Rules, now int64, headersSent bool) (step, error) {
	switch {
	case c.ended(l, now) || len(c.vals.list) == 0 && c.meta.User == "": // an empty session is not stored
		return stepNothing, nil
	case c.meta.Until <= now:
		return stepNothing, fmt.Errorf("%w: before it was saved", ErrGone)
	case headersSent:
		return stepNothing, errHeadersSent
	}
	return stepCreate, nil
}

// planGhost is plan for a ghost, which may do nothing but sign in: see ghostSignIn.
func (c *checkout) planGhost(l protocol.Rules, now int64, headersSent bool) (step, error) {
	switch {
	case !c.any() && c.remember == nil:
		return stepNothing, nil
	case c.signIn == nil || c.signIn.user == "":
		return stepNothing, fmt.Errorf("%w: session %s was renewed", ErrGone, c.ref())
	case c.ended(l, now) || c.meta.Until <= now:
		return stepNothing, fmt.Errorf("%w: before it was saved", ErrGone)
	case headersSent:
		return stepNothing, errHeadersSent
	}
	return stepGhost, nil
}

// needsCookie reports whether the browser needs another cookie for the session that is there.
func (c *checkout) needsCookie() bool { return c.renew || c.remembers() }

// ended reports whether this request has ended the session: by LimitTo, or because Remember leaves it no time.
func (c *checkout) ended(l protocol.Rules, now int64) bool {
	if c.limit != 0 && c.limit <= now {
		return true
	}
	return c.remembers() && c.meta.Until <= now && c.rec != nil && l.Live(c.rec, now)
}

// unlock notes that the lock is given up, by whatever write.
func (c *checkout) unlock() {
	if c.lease != nil {
		c.lease.leave()
		c.lease = nil
	}
}
