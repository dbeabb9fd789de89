package dynasession

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession/internal/adapterhook"
	"github.com/dynasession/dynasession/internal/keyed"
	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/protocol"
	"github.com/dynasession/dynasession/internal/seal"
	"github.com/dynasession/dynasession/internal/testhook"
)

// SaveHandler is the Go form of PHP's SessionHandlerInterface
// (https://www.php.net/manual/en/class.sessionhandlerinterface.php). What PHP's open gets as path and name are
// Config.Table and Config.Name. [Store] implements it.
type SaveHandler interface {
	Open(ctx context.Context) error
	Close() error
	Read(ctx context.Context, id string) ([]byte, error)
	Write(ctx context.Context, id string, data []byte) error
	Destroy(ctx context.Context, id string) error
	GC(ctx context.Context, maxLifetime time.Duration) (deleted int, err error)
}

var _ SaveHandler = (*Store)(nil)

// A Store keeps sessions in a DynamoDB table. [New] and [FromEnv] return one. It has no goroutines of its own, and is
// safe for concurrent use. A program needs one Store.
type Store struct {
	cfg       Config
	client    *dynamodb.Client // for the table itself
	table     *protocol.Table
	keys      keyspace
	rules     protocol.Rules
	sealer    seal.Sealer
	cookie    cookieMaker
	locks     keyed.Queue[lockHint]         // by key: the requests that wait for its lock
	contended keyed.Memory                  // the keys whose lock another process held a moment ago
	merges    keyed.Queue[*protocol.Record] // by key: the saves that were refused, and the item that the last one stored
	touching  keyed.Memory                  // by key: the expiry that this process is moving

	restUntil atomic.Int64 // epoch nanoseconds: nothing is touched before
	unlocked  sync.Once    // logs that PHP locks, and this store does not
	insecure  sync.Once    // that browsers may drop the cookie
	namesake  sync.Once    // that another store uses the same cookie
	now       func() time.Time
}

func init() {
	testhook.SetClock = func(store any, now func() time.Time) { store.(*Store).now = now }
	testhook.GhostUntil = func(sess any) time.Time {
		s := sess.(*Session)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ghost == nil {
			return time.Time{}
		}
		return timeOf(s.ghost.Expires)
	}
	testhook.ForgetNoMiddleware = func() { saidNoMiddleware.Store(false) }
	adapterhook.Answer = func(store any, w http.ResponseWriter, r *http.Request, err error) {
		s := store.(*Store)
		if s.cfg.ErrorHandler != nil {
			s.cfg.ErrorHandler(w, r, err)
			return
		}
		s.answer(w, r, "loading or saving", err)
	}
	adapterhook.StartAs = func(store any, ctx context.Context, id string) any {
		s := store.(*Store)
		sess := s.newSession()
		sess.newID, sess.saver = id, &direct{use: use{store: s}, ctx: context.WithoutCancel(ctx)}
		return sess
	}
}

// New returns a Store that uses client, with a copy of cfg. It does no I/O. Its error names everything that is wrong
// with cfg, and a client without a region.
func New(client *dynamodb.Client, cfg Config) (*Store, error) {
	cfg, err := cfg.complete()
	switch {
	case client == nil:
		err = errors.Join(errors.New("dynasession: New: the client is nil"), err)
	case client.Options().Region == "":
		err = errors.Join(errors.New("dynasession: New: the client has no region: set AWS_REGION, a region in the AWS profile, or config.WithRegion"), err)
	}
	if err != nil {
		return nil, err
	}
	table := protocol.NewTable(client, cfg.Table, protocol.Columns(cfg.Attributes), cfg.Observer != nil)
	s := &Store{
		cfg:    cfg,
		client: table.Client(),
		table:  table,
		keys:   newKeyspace(&cfg),
		rules: protocol.Rules{
			Idle:       seconds(cfg.IdleTimeout),
			Lifetime:   seconds(cfg.Lifetime),
			TouchAfter: seconds(cfg.TouchAfter),
			NotBefore:  notBefore(cfg.NotBefore),
			Foreign:    cfg.ForeignWriters,
		},
		sealer: seal.Sealer{
			Keys:     cfg.EncryptionKeys,
			Compress: !cfg.NoCompression,
			Bare:     cfg.ForeignWriters && cfg.NoCompression && len(cfg.EncryptionKeys) == 0,
		},
		cookie:    newCookieMaker(&cfg),
		contended: keyed.Memory{Keep: contendedFor},
		touching:  keyed.Memory{Keep: touchFor},
		now:       time.Now,
	}
	s.cfg.EncryptionKeys = nil // the sealer has them
	return s, nil
}

// FromEnv returns a Store with the AWS settings of the SDK's own chain (AWS_REGION, AWS_PROFILE,
// AWS_ENDPOINT_URL_DYNAMODB, shared files, roles and so on), a client of [NewClient], and the Config of the
// DYNASESSION_* environment variables ([ConfigFromEnv]).
func FromEnv(ctx context.Context) (*Store, error) {
	cfg, err := ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	aws, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("dynasession: AWS settings: %w", err)
	}
	return New(NewClient(aws), cfg)
}

// Format prints the names of the table and the store for every verb: no verb prints keys.
func (s *Store) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "dynasession.Store(%s, %s)", s.cfg.Table, s.cfg.Name)
}

// LogValue returns the names of the table and the store: no log shows keys.
func (s *Store) LogValue() slog.Value {
	return slog.GroupValue(slog.String("table", s.cfg.Table), slog.String("name", s.cfg.Name))
}

// Close returns nil. There is nothing to close: a Store holds no connection, file or goroutine of its own, and the
// client belongs to the caller. Close is there for [SaveHandler].
func (s *Store) Close() error { return nil }

// CreateID returns a new session id of 256 random bits, in letters and digits. It reserves nothing: ids of that size
// do not collide. PHP calls this create_sid.
func (s *Store) CreateID() string { return newID() }

// ValidateID reports whether there is a live session under id. For an id of the wrong form it returns false without
// asking DynamoDB. Its errors are those of Read.
func (s *Store) ValidateID(ctx context.Context, id string) (bool, error) {
	if !s.keys.valid(id) {
		return false, nil
	}
	_, err := s.Read(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Read returns the data of a live session: the bytes that the codec made, or none for an empty session. It takes no
// lock and extends nothing.
//
// Errors: [ErrNotFound] if there is no session, or it has expired; [ErrNotFound] and [ErrInvalidID] if id has the
// wrong form; [ErrCorrupt], [ErrUnavailable], [ErrCredentials], [ErrTable].
func (s *Store) Read(ctx context.Context, id string) (data []byte, err error) {
	key, err := s.keyOf(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	ctx, op := s.start(ctx, "read", key)
	defer func() { op.end(err) }()
	r, err := s.getConsistently(ctx, op, key) // also with EventualReads: no revision tells what is too old
	if err != nil {
		return nil, err
	}
	if r == nil || r.Tombstone {
		return nil, s.notFound(key)
	}
	return s.open(r)
}

// Write stores data, the bytes of a codec, under id, whether or not there is a session, and extends the idle time:
// PHP's write. It takes no lock and merges nothing, and it makes a session again that was destroyed; only the saves
// of a [Session] refuse to. Requests that are running under [Merge] merge with it.
//
// Errors: [ErrInvalidID], [ErrTooLarge], [ErrConflict] if others were faster each time, [ErrUnavailable],
// [ErrCredentials], [ErrTable].
func (s *Store) Write(ctx context.Context, id string, data []byte) (err error) {
	key, err := s.keyOf(id)
	if err != nil {
		return err
	}
	ctx, op := s.start(ctx, "write", key)
	defer func() { op.end(err) }()

	now := s.now().Unix()
	r := &protocol.Record{Key: key, Rev: 1, Meta: s.rules.Newborn(now)}
	r.Expires = s.rules.Expiry(r.Meta, now)
	if err := s.fill(r, data); err != nil {
		return err
	}
	first := protocol.Extension{Expires: r.Expires, Forward: true}
	var seen *protocol.Record // the live item of the last refusal
	idle, end := int64(0), first
	for wait := (pause.Backoff{}); wait.Tries < maxTries; {
		out, err := op.retryBusy(ctx, s.rules.Overwrite(r, end, idle, now))
		if err != nil || out.Done() {
			return s.unwritable(key, err)
		}
		if old := out.Item; old != nil && s.rules.Live(old, now) {
			if seen != nil && s.rules.SameAs(old, seen) {
				return corruptHere(s.keys.ref(key), errUnwritable)
			}
			// It ends at another time than a new session would.
			seen, end, idle = old, s.rules.Extend(old, old.Meta, now), old.Meta.Idle
		} else {
			seen, idle, end = nil, 0, first
			done, err := s.replace(ctx, op, r, now)
			if err != nil || done {
				return err
			}
		}
		op.conflicts++
		if err := wait.Wait(ctx); err != nil {
			break
		}
	}
	return fmt.Errorf("%w: session %s", ErrConflict, s.keys.ref(key))
}

// replace puts r where no live session is. It reports whether it has.
func (s *Store) replace(ctx context.Context, op *operation, r *protocol.Record, now int64) (done bool, err error) {
	if r.Marks == "" {
		r.Marks = protocol.NewMark()
	}
	out, err := op.retryBusy(ctx, s.rules.Replace(r, now))
	return out.Done() || out.Item != nil && out.Item.Creation() == r.Marks, err
}

// Destroy deletes the session, even if another request has locked it. If the session was renewed within the last 30
// seconds, Destroy deletes the renewed session. It is no error if there is no session. Errors: [ErrInvalidID],
// [ErrConflict], [ErrUnavailable], [ErrCredentials], [ErrTable].
func (s *Store) Destroy(ctx context.Context, id string) error {
	key, err := s.keyOf(id)
	if err != nil {
		return err
	}
	return s.follow(ctx, key, "", false)
}

// destroy ends the session that r was loaded from, under whatever id it goes on.
func (s *Store) destroy(ctx context.Context, r *protocol.Record) error {
	if r.Tombstone {
		return s.follow(ctx, r.Key, "", true)
	}
	return s.follow(ctx, r.Key, r.Creation(), true)
}

// maxSteps is how many tombstones a logout follows.
const maxSteps = 8

// follow deletes the item of key and, if that is a tombstone, the session that the tombstone names. creation is the
// mark of the item to delete; "" deletes any. loaded says that the caller has loaded the session, or its tombstone,
// under this key: then a tombstone counts however old it is.
func (s *Store) follow(ctx context.Context, key, creation string, loaded bool) (err error) {
	ctx, op := s.start(ctx, "destroy", key)
	defer func() { op.end(err) }()
	for step := 0; ; step++ {
		out, err := op.retryBusy(ctx, s.rules.Destroy(key, creation))
		if err != nil || out.Done() {
			return err
		}
		switch item := out.Item; {
		case item == nil:
			return fmt.Errorf("%w: session %s: a delete was refused without the item that refused it", ErrUnavailable, s.keys.ref(key))
		case !item.Tombstone: // of another session: what was loaded is over
			return nil
		case !loaded && step == 0 && !item.Fresh(s.now().Unix()):
			return nil
		case !s.keys.owns(item.Moved):
			return corruptHere(s.keys.ref(key), errUnwritable)
		case step == maxSteps:
			return fmt.Errorf("%w: session %s: it is renewed all the time", ErrConflict, s.keys.ref(key))
		default:
			op.conflicts++
			key, creation = item.Moved, ""
		}
	}
}

// UpdateTimestamp extends the idle time of a live session, whatever TouchAfter says. It creates nothing. Errors:
// [ErrNotFound] if there is no session; [ErrNotFound] and [ErrInvalidID] if id has the wrong form; [ErrConflict] if other
// requests were faster each time; [ErrCorrupt] if an attribute of the item has a wrong type; [ErrUnavailable],
// [ErrCredentials], [ErrTable]. PHP has it in SessionUpdateTimestampHandlerInterface.
func (s *Store) UpdateTimestamp(ctx context.Context, id string) (err error) {
	key, err := s.keyOf(id)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	ctx, op := s.start(ctx, "touch", key)
	defer func() { op.end(err) }()

	now := s.now().Unix()
	loaded, expires := int64(0), now+s.rules.Idle
	var seen *protocol.Record
	for wait := (pause.Backoff{}); wait.Tries < maxTries; {
		out, err := op.retryBusy(ctx, s.rules.ExtendLive(key, loaded, expires, now))
		if err != nil || out.Done() {
			return err
		}
		old := out.Item
		if old == nil || !s.rules.Live(old, now) {
			return s.notFound(key)
		}
		if seen != nil && s.rules.SameAs(old, seen) {
			return corruptHere(s.keys.ref(key), errUnwritable)
		}
		e := s.rules.Extend(old, old.Meta, now).Expires
		if e <= old.Expires && !s.rules.TooFar(old, now) {
			return nil // another was faster, or it is as long as it can be
		}
		// Its own idle time, or its absolute end, makes another expiry.
		again := e == expires && loaded != 0
		if seen, loaded, expires = old, old.Expires, e; !again {
			continue
		}
		if err := wait.Wait(ctx); err != nil {
			break
		}
	}
	return fmt.Errorf("%w: session %s", ErrConflict, s.keys.ref(key))
}

func (s *Store) keyOf(id string) (string, error) {
	if !s.keys.valid(id) {
		return "", ErrInvalidID
	}
	return s.keys.key(id), nil
}

func (s *Store) notFound(key string) error {
	return fmt.Errorf("%w: %s", ErrNotFound, s.keys.ref(key))
}
