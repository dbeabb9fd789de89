package dynasession

import (
	"errors"
	"fmt"
)

// The states that a caller can tell apart with [errors.Is]. Every error of this
// package that stands for one of them wraps it, and where AWS's own error is the
// cause, that one is wrapped too and is reached with [errors.As]. No error text
// holds a session id or session data; [Session.Ref] names the session instead.
var (
	// ErrNoMiddleware: Load was called with a context that did not come through [Store.Middleware], or
	// with that of a request that became an HTTP/2 connection: its streams need a Middleware inside.
	// A fault of the program. The first one is logged, since a handler that just returns answers with
	// a blank page.
	ErrNoMiddleware = errors.New("dynasession: the context did not come through Store.Middleware")

	// ErrNotFound: there is no live session under that id. It never existed, was
	// destroyed, or has expired, whether or not its item is still in the table.
	ErrNotFound = errors.New("dynasession: no such session")

	// ErrNoKey: the session has no value under that key.
	ErrNoKey = errors.New("dynasession: no such key")

	// ErrGone: the session was destroyed, renewed or has expired while the request
	// ran. Nothing was saved, and nothing was brought back.
	ErrGone = errors.New("dynasession: the session ended meanwhile")

	// ErrConflict: another request changed the session in a way that this one's
	// changes cannot be merged with: it took the value that this one popped, or
	// kept winning every try. Nothing was saved; or an earlier try was, to which no
	// answer came, and nobody can tell any more.
	ErrConflict = errors.New("dynasession: another request changed the session")

	// ErrLocked: under [Lock], another request held the session, or others before this one
	// waited for it, for the whole of Config.LockWait or until the deadline of the context.
	// Nothing was read.
	ErrLocked = errors.New("dynasession: the session is locked by another request")

	// ErrLockLost: under [Lock], this request no longer holds the session's lock. It held the session
	// for longer than Config.LockLease, and another request has taken it over; or PHP, which does not
	// know leases, has removed the lock. Nothing was saved.
	ErrLockLost = errors.New("dynasession: the session's lock is another's, or was removed")

	// ErrTooLarge: the item would pass DynamoDB's limit of 400 KB (Amazon DynamoDB
	// Developer Guide, "Quotas", Item size). Nothing of it was saved; a Destroy before it is done.
	ErrTooLarge = errors.New("dynasession: the session is too large for one item")

	// ErrInvalidID: the id is not of the form that this store makes or accepts.
	// Nothing was sent.
	ErrInvalidID = errors.New("dynasession: not a session id")

	// ErrCorrupt: the stored data does not open or decode. The item stays as it is.
	ErrCorrupt = errors.New("dynasession: stored session data cannot be read")

	// ErrTable: the table is missing, or is not what Config says. The text tells
	// what to do.
	ErrTable = errors.New("dynasession: the table is not usable")

	// ErrCredentials: AWS's credentials are missing, have expired or are refused, or their policy does
	// not allow the call. A credential provider that fails counts too; one that does not answer within
	// Config.Timeout is ErrUnavailable. The text has AWS's own words.
	ErrCredentials = errors.New("dynasession: AWS refuses the credentials, or there are none")

	// ErrUnavailable: DynamoDB did not answer within Config.Timeout, throttled, or
	// failed, after the SDK's retries. Trying again later may help. If it was the
	// answer to a write that got lost, the write may be done, whole and once; another
	// [Session.Save] of the same changes finds out.
	ErrUnavailable = errors.New("dynasession: DynamoDB is not available")
)

// errHeadersSent is returned by a save that would have to set a cookie after the response's headers were sent.
// Nothing was saved.
var errHeadersSent = errors.New("dynasession: the response's headers are sent: its new cookie cannot be delivered")

// tooLarge returns ErrTooLarge with a size and a limit in bytes.
func tooLarge(size, limit int) error {
	return fmt.Errorf("%w: %d bytes, the limit is %d (400 KB)", ErrTooLarge, size, limit)
}

// corrupt returns ErrCorrupt with a session and a cause. The cause must not hold session data.
func corrupt(ref string, cause error) error {
	return fmt.Errorf("%w: session %s: %w", ErrCorrupt, ref, cause)
}

// corruptHere is corrupt for what another server may be able to use, or what may be repaired. The browser keeps its
// cookie.
func corruptHere(ref string, cause error) error { return &unusable{corrupt(ref, cause)} }

// unusable is an ErrCorrupt that does not end the session.
type unusable struct{ error }

func (e *unusable) Unwrap() error { return e.error }
