package dynasession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/protocol"
)

// An Info describes a session, for a list of "your devices", for instance. It holds nothing that opens the session.
// UserSessions and All return it; the zero value describes no session.
type Info struct {
	// Ref names the session without opening it. Compare it with Session.Ref.
	Ref string
	// User is who is signed in.
	User string
	// Created is zero for a session that PHP made. LastUsed is exact to TouchAfter. It is worked out from
	// Expires, so in the last IdleTimeout before the absolute end it is IdleTimeout before that end, however
	// late the session was used. For a remembered session it is the time of Remember, or earlier if LimitTo ends
	// the session.
	Created, AuthTime, LastUsed, Expires time.Time

	key, creation string                 // of its item
	open          func() (values, error) // a func, so that printing an Info prints no data
	codec         Codec
}

// Decode decodes the value of key, a device label for instance, into what v points to. It returns [ErrNoKey] if there
// is no value, [ErrCorrupt] if the stored data cannot be read, or the codec's error.
func (i Info) Decode(key string, v any) error {
	if i.open == nil {
		return noKey(key)
	}
	vals, err := i.open()
	if err != nil {
		return err
	}
	raw, ok := vals.get(key)
	if !ok {
		return noKey(key)
	}
	return decode(i.codec, key, raw, v)
}

// Keys returns the keys that have a value, sorted, without those of flash messages. It returns nil if the stored data cannot
// be read; Decode returns why.
func (i Info) Keys() []string {
	if i.open == nil {
		return nil
	}
	vals, err := i.open()
	if err != nil {
		return nil
	}
	return vals.keys()
}

// UserSessions returns the live sessions on which user is signed in, the last used first. It needs Config.UserIndex;
// without one, or with an empty user, it returns an error. The index follows the table by a moment, usually well
// under a second, so a session that was signed in just now can be missing. The sessions in the list are read
// consistently.
//
// Errors: [ErrTable], [ErrUnavailable], [ErrCredentials].
func (s *Store) UserSessions(ctx context.Context, user string) (_ []Info, err error) {
	op := s.startMany(ctx, "user sessions")
	defer func() { op.end(err) }()
	var infos []Info
	err = s.eachOf(op, user, nil, func(r *protocol.Record, live bool) error {
		if live {
			infos = append(infos, s.info(r))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(infos, func(a, b Info) int {
		return cmp.Or(b.LastUsed.Compare(a.LastUsed), b.Created.Compare(a.Created), cmp.Compare(a.Ref, b.Ref))
	})
	return infos, nil
}

// eachOf calls f for the items that the index shows for user, page by page, except those whose keys are in seen, to
// which it adds the others. Each call to DynamoDB has its own Timeout, since there may be many.
func (s *Store) eachOf(op *operation, user string, seen map[string]bool, f func(r *protocol.Record, live bool) error) error {
	switch {
	case s.cfg.UserIndex == "":
		return fmt.Errorf("%w: Config.UserIndex is empty: a user's sessions are found by an index", ErrTable)
	case user == "":
		return errors.New("dynasession: the user is empty")
	case !utf8.ValidString(user):
		return errUser
	}
	for from := protocol.Cursor(nil); ; {
		call, cancel := s.oneCall(op.caller)
		keys, next, err := s.table.OfUser(call, &op.stats, s.cfg.UserIndex, user, from)
		cancel()
		if err != nil {
			return explain(err)
		}
		keys = slices.DeleteFunc(keys, func(key string) bool { return !s.keys.owns(key) || seen[key] })
		for some := range slices.Chunk(keys, protocol.MaxBatch) {
			call, cancel := s.oneCall(op.caller)
			records, err := s.table.Batch(call, &op.stats, some)
			cancel()
			if err != nil {
				return explain(err)
			}
			now := s.now().Unix()
			for _, r := range records {
				if r.Meta.User != user {
					continue
				}
				if err := f(r, s.rules.Live(r, now)); err != nil {
					return err
				}
			}
			for _, key := range some {
				if seen != nil {
					seen[key] = true
				}
			}
		}
		if from = next; len(from) == 0 {
			return nil
		}
	}
}

// info decodes the values when they are asked for: listing sessions costs little then, however large
// they are.
func (s *Store) info(r *protocol.Record) Info {
	used, _ := s.rules.LastUsed(r)
	return Info{
		Ref: s.keys.ref(r.Key), User: r.Meta.User, key: r.Key, creation: r.Creation(),
		Created: timeOf(r.Meta.Born), AuthTime: timeOf(r.Meta.Auth),
		LastUsed: timeOf(used), Expires: timeOf(r.Expires),
		open: sync.OnceValues(func() (values, error) { return s.values(r) }), codec: s.cfg.Codec,
	}
}

// All returns an iterator over every live session of this store, in no order. It reads the whole table, page by page, and
// holds one page in memory. The reads are eventually consistent, which costs half: a session that was stored or ended a
// moment ago may be missing or still be there.
//
// If DynamoDB throttles a call or cannot be reached, All repeats the call for 12 times Config.Timeout. An error is the last
// value of the iteration, beside an empty Info: [ErrUnavailable], [ErrCredentials], [ErrTable], or the error of ctx.
func (s *Store) All(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		op := s.startMany(ctx, "all sessions")
		sw := &sweep{store: s, began: s.now()}
		var err error
		defer func() {
			op.stats.ReadUnits = sw.stats.ReadUnits
			op.end(err)
		}()
		for at := protocol.Cursor(nil); ; {
			var page protocol.Page
			now := s.now().Unix()
			err = sw.call(op.caller, func(ctx context.Context, stats *protocol.Stats) error {
				ctx, cancel := s.oneCall(ctx)
				defer cancel()
				page, err = s.table.ScanLive(ctx, stats, at, now)
				return err
			})
			if err != nil {
				err = fmt.Errorf("dynasession: All: %w", err)
				yield(Info{}, err)
				return
			}
			for _, r := range page.Found {
				if s.keys.owns(r.Key) && s.rules.Live(r, now) && !yield(s.info(r), nil) {
					return
				}
			}
			if at = page.Next; len(at) == 0 {
				return
			}
		}
	}
}

// End ends a session that UserSessions or All has returned, as the sign-out of that browser would: requests that are running
// on it do not bring it back, and if it was renewed since, End ends the renewed session. It does nothing if the session is
// over, or if another user has signed in on it since.
//
// Errors: [ErrConflict], [ErrUnavailable], [ErrCredentials], [ErrTable], or one for an Info of no session of this store.
func (s *Store) End(ctx context.Context, i Info) (err error) {
	if i.key == "" || !s.keys.owns(i.key) {
		return errors.New("dynasession: End: the Info describes no session of this store")
	}
	ctx, op := s.start(ctx, "destroy", i.key)
	defer func() { op.end(err) }()
	w := s.rules.Destroy(i.key, i.creation)
	for range maxSteps + 1 {
		out, err := op.retryBusy(ctx, w)
		if err != nil || out.Done() {
			return err
		}
		item := out.Item
		if item == nil || !item.Tombstone || !s.keys.owns(item.Moved) {
			return nil
		}
		op.conflicts++
		if w = protocol.DeleteOf(item.Moved, i.User); i.User == "" {
			w = s.rules.Destroy(item.Moved, "")
		}
	}
	return fmt.Errorf("%w: session %s: it is renewed all the time", ErrConflict, i.Ref)
}

// userPause is how long DestroyUser waits for the index to follow the table.
const userPause = time.Second

// DestroyUser ends the sessions on which user is signed in, except those for which keep returns true; a nil keep
// keeps none. It returns how many it has ended. Requests that are running on them do not bring them back.
//
// Since the index follows the table by a moment, DestroyUser asks again until two answers in a row show nothing new,
// a second apart, and so takes two to three seconds. It can miss a sign-in within the lag of the index before the
// last answer. It needs Config.UserIndex. With the context of a request, it stops when the client goes away;
// context.WithoutCancel prevents that.
//
// Errors: [ErrTable], [ErrUnavailable], [ErrCredentials]. The sessions that were ended before an error are counted.
func (s *Store) DestroyUser(ctx context.Context, user string, keep func(Info) bool) (ended int, err error) {
	seen := map[string]bool{}
	for redundant := 0; redundant < 2; {
		n, fresh, err := s.destroyPass(ctx, user, keep, seen)
		ended += n
		if err != nil {
			return ended, err
		}
		if redundant++; fresh {
			redundant = 0
		}
		if redundant == 2 {
			break
		}
		if err := pause.For(ctx, userPause+rand.N(userPause/4)); err != nil {
			return ended, fmt.Errorf("dynasession: DestroyUser: %w", err)
		}
	}
	return ended, nil
}

// destroyPass ends the sessions that the index shows and seen does not have. fresh reports whether there were any.
func (s *Store) destroyPass(ctx context.Context, user string, keep func(Info) bool, seen map[string]bool) (ended int, fresh bool, err error) {
	op := s.startMany(ctx, "destroy user")
	defer func() { op.end(err) }()
	before := len(seen)
	err = s.eachOf(op, user, seen, func(r *protocol.Record, live bool) error {
		if live && keep != nil && keep(s.info(r)) {
			return nil
		}
		call, cancel := s.oneCall(op.caller)
		defer cancel()
		out, err := op.retryBusy(call, protocol.DeleteOf(r.Key, user))
		if err == nil && out.Done() && live {
			ended++
		}
		return err
	})
	return ended, len(seen) > before, err
}
