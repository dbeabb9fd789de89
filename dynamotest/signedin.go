package dynamotest

import (
	"context"
	"net/http"
)

// A Session is what SignedIn needs of a *dynasession.Session.
type Session interface {
	SetUser(user string)
	Set(key string, v any)
	Save(ctx context.Context) error
	Cookie() *http.Cookie
	Close() error
}

// SignedIn stores a session on which user is signed in, with the given values, and returns its cookie, for the requests of a
// test. start is the method Start of a dynasession.Store:
//
//	r.AddCookie(dynamotest.SignedIn(t, store.Start, "alice", nil))
//
// With an empty user, nobody is signed in. An error fails the test.
func SignedIn[S Session](t interface {
	TB
	Fatalf(format string, args ...any)
}, start func(ctx context.Context, values ...string) (S, error), user string, values map[string]any) *http.Cookie {
	t.Helper()
	ctx := context.Background()
	sess, err := start(ctx)
	if err != nil {
		t.Fatalf("dynamotest: starting a session: %v", err)
		return nil
	}
	if user != "" {
		sess.SetUser(user)
	}
	for key, v := range values {
		sess.Set(key, v)
	}
	if err := sess.Save(ctx); err != nil {
		t.Fatalf("dynamotest: saving a session: %v", err)
		return nil
	}
	_ = sess.Close() // it is saved
	return sess.Cookie()
}
