package dynasession

import (
	"errors"
	"fmt"
)

// The errors that a caller can distinguish with [errors.Is]. An error of this package that is one of them wraps it.
// If the cause is an error of AWS's, the error wraps that too, and [errors.As] reaches it. No error message contains
// a session id or session data; [Session.Ref] names the session instead.
var (
	// ErrNoMiddleware is returned by Load if its context did not come through [Store.Middleware], or is that of
	// a request that became an HTTP/2 connection, whose streams need a Middleware inside. It is a fault of the
	// program. The first one is logged, since a handler that simply returns answers with a blank page.
	ErrNoMiddleware = errors.New("dynasession: the context did not come through Store.Middleware")

	// ErrNotFound means that there is no live session under the id. It never existed, was destroyed, or has
	// expired, whether or not its item is still in the table.
	ErrNotFound = errors.New("dynasession: no such session")

	// ErrNoKey means that the session has no value under the key.
	ErrNoKey = errors.New("dynasession: no such key")

	// ErrGone means that the session was destroyed or renewed, or has expired, while the request ran. Nothing
	// was saved, and nothing was brought back.
	ErrGone = errors.New("dynasession: the session ended meanwhile")

	// ErrConflict means that another request has changed the session in a way that this request's changes cannot
	// be merged with: it has taken the value that this request popped, or was faster at every try. Nothing was
	// saved, unless an earlier try was saved whose answer was lost.
	ErrConflict = errors.New("dynasession: another request changed the session")

	// ErrLocked means that, under [Lock], another request held the session, or others waited for it before this
	// request, for the whole of Config.LockWait or until the deadline of the context. Nothing was read.
	ErrLocked = errors.New("dynasession: the session is locked by another request")

	// ErrLockLost means that, under [Lock], this request no longer holds the session's lock. It held the lock
	// for longer than Config.LockLease, and another request has taken it; or PHP, which does not know leases,
	// has removed it. Nothing was saved.
	ErrLockLost = errors.New("dynasession: the session's lock is another's, or was removed")

	// ErrTooLarge means that the item would pass DynamoDB's limit of 400 KB (Amazon DynamoDB Developer Guide,
	// "Quotas", Item size). Nothing was saved, except that a session
	// that the request had destroyed before was ended.
	ErrTooLarge = errors.New("dynasession: the session is too large for one item")

	// ErrInvalidID means that the id does not have the form of the ids that this store makes or accepts. Nothing
	// was sent.
	ErrInvalidID = errors.New("dynasession: not a session id")

	// ErrCorrupt means that the stored data does not open or decode. The item stays as it is.
	ErrCorrupt = errors.New("dynasession: stored session data cannot be read")

	// ErrTable means that the table is missing, or is not as Config says. The message says what to do.
	ErrTable = errors.New("dynasession: the table is not usable")

	// ErrCredentials means that AWS's credentials are missing, have expired or are refused, that their policy
	// does not allow the call, or that the credential provider has failed. If the provider does not answer
	// within Config.Timeout, the error is ErrCredentials with [NewClient], and ErrUnavailable with the SDK's own
	// retryer, which hides what it has waited for. The message contains AWS's own.
	ErrCredentials = errors.New("dynasession: AWS refuses the credentials, or there are none")

	// ErrUnavailable means that DynamoDB did not answer within Config.Timeout, throttled, or failed, after the
	// SDK's retries. Another try later may succeed. If the lost answer was that of a write, the write may be
	// done, whole and once; another [Session.Save] of the same changes finds out.
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

// Elsewhere reports whether another server may be able to read the session. The browser then keeps its cookie. Adapters
// look for this method.
func (*unusable) Elsewhere() bool { return true }
