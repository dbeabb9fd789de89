// Package dynasession keeps web sessions in Amazon DynamoDB.
//
// A [Store] wraps a DynamoDB client and has the methods of PHP's SessionHandlerInterface. [Store.Middleware] wraps an
// [http.Handler] and gives each request its [Session]:
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
// Nothing is lost. The changes of a handler are in the table before the first byte of the response says so, or the
// client gets an error. If requests change different keys of one session at the same time, all changes are kept. A
// failed read is an error, never an empty session. A request that was still running does not undo a logout.
//
// Nobody gets in. The store never adopts an id that it did not make. It never serves a session that has expired, even
// in the days before DynamoDB's TTL deletes it. The table holds hashes of ids, from which no cookie can be made.
//
// Few calls. A request that does not use its session makes no call. One that reads it makes one read, and one that
// changes it one more write. Keeping a session alive costs a write only now and then (Config.TouchAfter).
//
// # What is atomic
//
// A save is atomic: all changes of a request are stored, or none. It is one conditional write. [Session.Renew] and
// [Session.SetUser] are one transaction, which puts the item under the new id and leaves a note of it under the old one
// for 30 s. A logout with the old cookie follows that note, and a change with the old cookie is refused ([ErrGone]).
// With Config.ForeignWriters, the transaction deletes the old item.
//
// If another request has written first, the changes are applied to what it wrote, key by key, and tried again
// ([Merge]). If two requests set the same key, the later save wins; to lose neither change, use [Update], whose function
// runs again on the newer value. If two requests [Pop] the same value, one of them gets [ErrConflict]. A request whose
// session has ended meanwhile gets [ErrGone]. Only [Session.Destroy] followed by Set takes two writes, of which the
// delete is the first.
//
// # What expires when
//
// A session ends IdleTimeout after its last use, at most TouchAfter earlier; and Lifetime after its creation, whether or
// not it is used. [Session.Remember] sets another end for one session, and [Session.LimitTo] an earlier one.
// Config.NotBefore ends all older sessions. The expiry is compared with this server's clock, to the second. Keep the
// clock within a second of true time, as any NTP does; two servers may then disagree about a session for up to two
// seconds. Sweep leaves items alone for 60 s after their expiry. A lock is respected for 2 s after the end of its lease.
//
// # What it needs around it
//
// A table: see [Store.CreateTable]. TTL on the expiry attribute, or expired items pile up. HTTPS, since the cookie is
// Secure (some browsers make an exception for http://localhost). Protection against requests that other sites forge:
// [http.CrossOriginProtection]. Accurate clocks, and one Config for all servers that share a table and a name.
//
// # Compatibility of stored items
//
// All later versions of the same major version read the items that a version of this package has written. The default
// attributes are those of the session handler of the AWS SDK for PHP, whose items are sessions like any other.
package dynasession
