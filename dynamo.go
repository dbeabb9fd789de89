package dynasession

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/protocol"
)

// operation is one verb at work: the deadline, the cost and the event of its calls to DynamoDB.
type operation struct {
	store     *Store
	caller    context.Context // the caller's, with what Config.Before has added
	cancel    context.CancelFunc
	name      string
	key       string
	begin     time.Time
	stats     protocol.Stats
	conflicts int
}

// start begins an operation under Config.Timeout. The caller must call end.
func (s *Store) start(ctx context.Context, name, key string) (context.Context, *operation) {
	op := s.startMany(ctx, name)
	op.key = key
	ctx, op.cancel = context.WithTimeout(op.caller, s.cfg.Timeout)
	return ctx, op
}

// startMany begins an operation of many calls, each of which has its own Timeout: see oneCall.
func (s *Store) startMany(ctx context.Context, name string) *operation {
	op := &operation{store: s, caller: s.before(ctx, name), name: name, cancel: func() {}}
	if s.cfg.Observer != nil {
		op.begin = s.now()
	}
	return op
}

// before returns the context of an operation.
func (s *Store) before(ctx context.Context, op string) context.Context {
	if s.cfg.Before == nil {
		return ctx
	}
	return s.cfg.Before(ctx, op)
}

// oneCall returns a context for one of an operation's many calls, which ends after Config.Timeout.
func (s *Store) oneCall(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.cfg.Timeout)
}

// end ends the operation, and sends its event.
func (op *operation) end(err error) {
	op.cancel()
	s := op.store
	if s.cfg.Observer == nil {
		return
	}
	e := Event{
		Op: op.name, Start: op.begin, Duration: s.now().Sub(op.begin), Err: err,
		ReadUnits: op.stats.ReadUnits, WriteUnits: op.stats.WriteUnits, Conflicts: op.conflicts,
	}
	if op.key != "" {
		e.Ref = s.keys.ref(op.key)
	}
	s.cfg.Observer(op.caller, e)
}

// get reads an item; nil for none.
func (op *operation) get(ctx context.Context, key string, consistent bool) (*protocol.Record, error) {
	r, err := op.store.table.Get(ctx, &op.stats, key, consistent)
	return r, explain(err)
}

// call makes a call.
func (op *operation) call(ctx context.Context, w protocol.Write) (protocol.Outcome, error) {
	out, err := op.store.table.Send(ctx, &op.stats, w)
	return out, explain(err)
}

// callOnce makes a write that is not worth a repetition: a transaction on its item is an error.
func (op *operation) callOnce(ctx context.Context, w protocol.Write) (protocol.Outcome, error) {
	out, err := op.call(ctx, w)
	if err == nil && out.Busy {
		err = errBusy
	}
	return out, err
}

// retryBusy makes a write, and repeats it while DynamoDB reports a transaction on its item. op.stats.Unanswered then
// reports whether any of the tries was left unanswered.
func (op *operation) retryBusy(ctx context.Context, w protocol.Write) (protocol.Outcome, error) {
	unanswered := false
	defer func() { op.stats.Unanswered = op.stats.Unanswered || unanswered }()
	for wait := (pause.Backoff{}); ; {
		out, err := op.call(ctx, w)
		if err != nil || !out.Busy {
			return out, err
		}
		unanswered = unanswered || op.stats.Unanswered
		op.conflicts++
		if wait.Wait(ctx) != nil {
			return out, unavailable(op.name, errBusy)
		}
	}
}

var (
	errBusy = errors.New("dynasession: another transaction is under way")
	// errUnwritable is about an item with an attribute that is not as this package writes it, so that no write
	// of a save can take effect.
	errUnwritable = errors.New("an attribute of the item has a type or value that this package does not write")
)

// explain returns an error of package protocol as one of this package's.
func explain(err error) error {
	var e *protocol.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case protocol.Unavailable:
		return fmt.Errorf("%w: %w", ErrUnavailable, e)
	case protocol.Credentials:
		return fmt.Errorf("%w: %w", ErrCredentials, e)
	case protocol.NoTable, protocol.OtherKeys:
		return fmt.Errorf("%w: %w", ErrTable, e)
	case protocol.TooLarge:
		return fmt.Errorf("%w: %w", ErrTooLarge, e)
	case protocol.Unwritable:
		return fmt.Errorf("%w: %w", errUnwritable, e)
	}
	return fmt.Errorf("dynasession: %w", e)
}

func unavailable(op string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, op, err)
}

func isUnwritable(err error) bool { return errors.Is(err, errUnwritable) }

// An Event describes one operation, for metrics and traces.
type Event struct {
	// Op is "load", "save", "touch" (also of UpdateTimestamp), "renew", "destroy", "release" (of a lock), "late
	// save" (one that was lost because the headers were sent), "bind" and "refresh" (of [Config.DeviceBound]), or an
	// operation of Store: "read", "write", "sweep", "user sessions", "destroy user", "all sessions".
	Op string
	// Ref names the session as [Session.Ref] does. It is "" if there is no session, or many.
	Ref      string
	Start    time.Time
	Duration time.Duration // retries and waiting included
	// ReadUnits and WriteUnits are capacity units as DynamoDB counted them. DynamoDB bills refused writes too,
	// but does not say how much.
	ReadUnits, WriteUnits float64
	// Conflicts counts the writes that were refused because another came first.
	Conflicts int
	// Err is the error of the operation, or nil.
	Err error
}
