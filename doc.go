// Package dynasession keeps web sessions in Amazon DynamoDB.
//
// A [Store] wraps a DynamoDB client and has the verbs of PHP's SessionHandlerInterface.
// [Store.Middleware] wraps an [http.Handler] and gives each request its [Session]:
//
//	store, err := dynasession.FromEnv(ctx) // or New(NewClient(cfg), Config{})
//	...
//	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
//		sess, err := dynasession.Load(r.Context())
//		if err != nil {
//			return // the middleware answers
//		}
//		sess.SetUser("alice")
//		http.Redirect(w, r, "/", http.StatusSeeOther)
//	})
//	http.ListenAndServe(":8080", store.Middleware(mux))
//
// # What it promises
//
// Nothing is lost. What a handler changes is in the table before the response's first byte
// says so, or the client gets an error. Requests that change different keys of one session
// at the same time all keep their changes. A failed read is an error, never an empty
// session. A logout is never undone by a request that was still running.
//
// Nobody gets in. An id that this store did not make is never adopted. What has expired is
// never served, also in the days before DynamoDB's TTL deletes it. The table holds hashes of
// ids, from which no cookie can be made.
//
// Fewest calls. A request that does not use its session costs nothing. One that reads it
// costs one read, one that changes it one write more. Keeping a session alive costs a write
// only now and then (Config.TouchAfter).
//
// # What is atomic
//
// A save is: all of a request's changes are stored, or none. It is one conditional write;
// [Session.Renew] and [Session.SetUser] are one transaction, which puts the item under the new id and,
// for 30 s, a note of it under the old one: a logout with the old cookie follows it, and what a request
// with the old cookie changes is refused ([ErrGone]). With Config.ForeignWriters it deletes the old one. When another request has written first, the changes are put onto what
// it wrote, key by key, and tried again ([Merge]). Of two requests that set the same key, the
// later save counts; to lose neither, use [Update], whose function runs again on the newer
// value. Of two that [Pop] the same value, one gets [ErrConflict]. A request whose session has
// ended meanwhile gets [ErrGone]. Only [Session.Destroy] followed by Set takes two writes, the
// delete first.
//
// # What expires when
//
// A session ends IdleTimeout after its last use, at most TouchAfter earlier; and Lifetime
// after it was made, whatever its use. [Session.Remember] sets another end for one session,
// [Session.LimitTo] an earlier one. Config.NotBefore ends all that are older. Expiry is
// compared by the second, with this server's clock: keep it within a second of true time, as
// any NTP does. Servers may disagree about a session for up to twice that. Sweep leaves items
// alone for 60 s after their expiry, and an acquired lock for 2 s after its lease's end.
//
// # What it needs around it
//
// The table: see [Store.CreateTable]. TTL on the expiry attribute, else dead items pile up.
// HTTPS, since the cookie is Secure (some browsers make an exception for http://localhost).
// Protection against requests that other sites forge: [http.CrossOriginProtection].
// One clock, and one Config for all servers that share a table and a name.
//
// # Compatibility of stored items
//
// Items that a version of this package has written are read by all later versions of the same
// major version. The default attributes are those of the AWS SDK for PHP's session handler,
// whose items are sessions like any other.
package dynasession
