package stage

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynasession/dynasession"
)

// Grace is how long a tombstone stays.
const Grace = 30 * time.Second

// A Lineage is a session that was renewed. The browser of its scene has the newest cookie.
type Lineage struct {
	*Scene
	IDs []string // oldest first; the last one is in use
}

// NewLineage returns a lineage whose session is renewed by a request to each of paths.
func NewLineage(t *testing.T, b *Backend, cfg dynasession.Config, paths ...string) *Lineage {
	t.Helper()
	l := &Lineage{Scene: NewScene(t, b, cfg)}
	l.AddPaths()
	l.IDs = []string{l.ID()}
	for _, path := range paths {
		l.RenewBy(path)
	}
	return l
}

// RenewBy requests a path that renews the session.
func (l *Lineage) RenewBy(path string) {
	l.T.Helper()
	l.OK(path)
	l.IDs = append(l.IDs, l.ID())
}

// With returns a browser that has the cookie of the nth id.
func (l *Lineage) With(n int) *Browser { return BrowserWithID(l.T, l.Handler, l.IDs[n]) }

// Key returns the key of the nth id.
func (l *Lineage) Key(n int) string { return KeyOf(l.IDs[n]) }

// AddPaths adds the paths that tests of renewals need.
func (sc *Scene) AddPaths() {
	add := func(path string, f func(s *Session)) {
		sc.Paths[path] = func(s *Session, w http.ResponseWriter, _ *http.Request) {
			if inside := sc.Inside; inside != nil {
				sc.Inside = nil
				inside()
			}
			f(s)
			Write(w, "done")
		}
	}
	add("/delete", func(s *Session) { s.Delete("absent") })
	add("/flash", func(s *Session) { s.AddFlash("hello") })
	add("/remember", func(s *Session) { s.Remember(time.Hour) })
	add("/sign-out", func(s *Session) { s.SetUser("") })
	add("/limit-past", func(s *Session) { s.LimitTo(time.Now().Add(-time.Hour)) })
	add("/restart", func(s *Session) { s.Destroy(); s.Set("mine", true) })
	add("/login-and-more", func(s *Session) { s.Set("before", 1); s.SetUser("carol"); s.Set("after", 2) })
	add("/takes", func(s *Session) {
		_, popped := dynasession.Pop[string](s, "token")
		flashes := dynasession.Flashes[string](s)
		assert.False(sc.T, popped)
		assert.Empty(sc.T, flashes)
	})
	sc.Paths["/state"] = func(s *Session, w http.ResponseWriter, _ *http.Request) {
		n, has := dynasession.Get[int](s, "n")
		Write(w, fmt.Sprintf("%v user=%s id=%s ref=%s new=%v n=%d %v %v %v",
			s.Keys(), s.User(), s.ID(), s.Ref(), s.IsNew(), n, has, s.Has("token"), s.AuthTime().IsZero()))
	}
	sc.Paths["/late-login"] = func(s *Session, w http.ResponseWriter, r *http.Request) {
		Write(w, "begun")
		_ = http.NewResponseController(w).Flush()
		s.SetUser("late")
		sc.Mu.Lock()
		sc.Errs = append(sc.Errs, s.Save(r.Context()))
		sc.Mu.Unlock()
	}
}

// Conflict asserts that the response to path is 409 Conflict and sets no cookie.
func (l *Lineage) Conflict(br *Browser, path string) {
	l.T.Helper()
	w := br.Get(path)
	l.Failed(w, http.StatusConflict, dynasession.ErrGone)
	assert.Empty(l.T, Cookies(w), path)
}

// Live asserts that there is one session, and that it is the user's.
func (l *Lineage) Live(user string) {
	l.T.Helper()
	assert.Equal(l.T, user, Attr(l.Item(), "user"))
}

// Nobody asserts that there is no session.
func (l *Lineage) Nobody() {
	l.T.Helper()
	assert.Empty(l.T, Items(l.T, l.B, l.Table))
}

// LoadCall returns the operation that loads a session under a policy.
func LoadCall(policy dynasession.Concurrency) string {
	if policy == dynasession.Lock {
		return "UpdateItem"
	}
	return "GetItem"
}
