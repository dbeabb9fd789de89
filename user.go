package dynasession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/protocol"
)

// An Info is one of a user's sessions: "your devices".
type Info struct {
	// Ref names the session without opening it; compare it with Session.Ref.
	Ref string
	// User is who is signed in.
	User string
	// Created is zero for a session that PHP made. LastUsed is exact to TouchAfter. It is told by
	// Expires, so in the last IdleTimeout before the absolute end it is that much before the end,
	// however late the use; of a remembered session it is the time of Remember, or before, where
	// LimitTo ends it.
	Created, AuthTime, LastUsed, Expires time.Time

	decode func(key string, v any) error // a func, so that printing an Info prints no data
}

// Decode decodes the value of key, a device label, say, into what v points to. It gives
// [ErrNoKey] when there is none, [ErrCorrupt] when the stored data cannot be read, or the
// codec's error.
func (i Info) Decode(key string, v any) error {
	if i.decode == nil {
		return noKey(key)
	}
	return i.decode(key, v)
}

// UserSessions lists the live sessions on which user is signed in, the last used first. It
// needs Config.UserIndex: without one, or with an empty user, it is an error. The index
// follows the table by a moment, usually well under a second: a session that was signed in
// just now can be missing. What is listed is read strongly.
// Errors: [ErrTable], [ErrUnavailable].
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

// eachOf calls f for the items that the index shows for user, page by page, but for those whose keys are
// seen, to which it adds them. Each call has a Timeout of its own, since there may be many.
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
	open := sync.OnceValues(func() (values, error) { return s.values(r) })
	used, _ := s.rules.LastUsed(r)
	return Info{
		Ref: s.keys.ref(r.Key), User: r.Meta.User,
		Created: timeOf(r.Meta.Born), AuthTime: timeOf(r.Meta.Auth),
		LastUsed: timeOf(used), Expires: timeOf(r.Expires),
		decode: func(key string, v any) error {
			vals, err := open()
			if err != nil {
				return err
			}
			raw, ok := vals.get(key)
			if !ok {
				return noKey(key)
			}
			return decode(s.cfg.Codec, key, raw, v)
		},
	}
}

// userPause is how long DestroyUser gives the index to follow the table.
const userPause = time.Second

// DestroyUser ends the live sessions on which user is signed in, but for those that keep
// keeps; a nil keep keeps none. It tells how many it ended. Requests that are running on
// them do not bring them back.
//
// Since the index follows the table by a moment, it asks again until two answers in a row
// show nothing new, a second apart, and so takes two to three seconds. A sign-in less than
// the index's lag before the last answer can be missed. It needs Config.UserIndex. With a
// request's context it stops when the client goes away: context.WithoutCancel prevents that.
// Errors: [ErrTable], [ErrUnavailable]; what was ended before counts.
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

// destroyPass ends what the index shows and seen has not. fresh reports whether there was any.
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
